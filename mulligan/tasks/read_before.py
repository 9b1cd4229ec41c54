"""Images that were read before: decoded once, then mapped from the user's cache while nothing of the source changes.

An entry of the cache is a folder named by what was read and how. Its `collection.json`, written last, makes it whole.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from jaxtyping import Int64, UInt8

from mulligan import schema
from mulligan.errors import MulliganError
from mulligan.files import replace_file, reserve
from mulligan.places import cache_folder
from mulligan.tasks.collection import Collection
from mulligan.tasks.stored import BROKEN
from mulligan.tasks.streaming import StreamedImages, rows_of

VERSION = 2  # of what is kept, and of what images are read to
SLOW_SECONDS = 3.0  # of reading, from which its result is kept
MOST_BYTES = 64 * 2**30  # of all entries
DISK_SHARE = 0.5  # of what is free, that one entry may take
LEFT_SECONDS = 24 * 3600.0  # age from which an array that no entry names was left by a process that was killed
DOCUMENT, ARRAYS = "collection.json", "arrays.npz"


@dataclass(frozen=True)
class Entry:
    """What is kept of a collection beside its arrays.

    Attributes:
      pixels: their file in the entry; None where they lie in the source just so.
      streamed: whether they were too many for memory when they were read. That is never decided anew: how images are
        drawn is part of what a run that is resumed repeats.
      channels, classes, notes, unlabelled: of the collection.
    """

    pixels: str | None
    streamed: bool
    channels: int
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    unlabelled: str


@dataclass(frozen=True)
class Shelf:
    """The place of one source in the cache.

    Attributes:
      folder: of its entry.
      made: arrays that were begun in it and are in no entry yet.
    """

    folder: Path
    made: list[Path] = field(default_factory=list)

    @staticmethod
    def of(identity: str) -> Shelf | None:
        """The place for what `identity` describes; None where the user has no cache."""
        cache = cache_folder()
        name = hashlib.sha256(f"{VERSION} {identity}".encode(errors="surrogatepass")).hexdigest()[:32]
        return None if cache is None else Shelf(cache / "images" / name)

    def array(self, shape: tuple[int, ...]) -> np.memmap | None:
        """A new array of bytes on the disk, for pixels that are too many for memory; None where it has no room."""
        wanted = int(np.prod(shape, dtype=float))
        # A name that no other process uses: two may read the same images at the same time.
        path = self.folder / f"{uuid4().hex}.npy"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if wanted > DISK_SHARE * shutil.disk_usage(self.folder).free or wanted > MOST_BYTES:
                return None
            self.made.append(path)
            array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            with path.open("r+b") as file:
                reserve(file.fileno(), path.stat().st_size)
            return array
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def read(self, read: Callable[[], Collection]) -> Collection:
        """What was kept, or what `read` gives, which is kept where that took long or wrote pixels here."""
        entry, began = self._entry(), time.monotonic()
        if entry is not None and (kept := self._kept(entry, read)):
            return kept
        try:
            collection = read()
            collection = replace(collection, known=collection.digests)
            worth = self.made or time.monotonic() - began >= SLOW_SECONDS
            # Another process may have kept the same meanwhile: its entry stays.
            if worth and (entry is not None or self._entry() is None):
                with suppress(OSError, MulliganError):  # the next reading is slow again
                    self._keep(collection)
        except BaseException:
            self._drop()
            raise
        if isinstance(collection.images, StreamedImages):
            # They may be drawn from an array that is in no entry, until this process ends.
            for path in self.made:
                atexit.register(path.unlink, missing_ok=True)
        else:
            self._drop()
        return collection

    def _drop(self) -> None:
        """Removes the arrays that were begun and not kept."""
        while self.made:
            with suppress(OSError):
                self.made.pop().unlink(missing_ok=True)

    def _entry(self) -> Entry | None:
        try:
            document = json.loads((self.folder / DOCUMENT).read_text())
            with suppress(OSError):  # a cache that is only read, such as one that several users share
                os.utime(self.folder / DOCUMENT)
            return schema.read(Entry, document, DOCUMENT)
        except (OSError, ValueError, MulliganError):
            return None

    def _kept(self, entry: Entry, read: Callable[[], Collection]) -> Collection | None:
        found = read_arrays(self.folder / ARRAYS)
        if not {"digests", "rows"} <= found.keys():
            return None
        if entry.pixels is None:
            return replace(read(), known=found["digests"])
        try:
            images = mapped(self.folder / entry.pixels, found["rows"], entry.channels, entry.streamed)
        except (*BROKEN, ValueError):
            return None
        told = Collection(images, classes=entry.classes, notes=entry.notes, unlabelled=entry.unlabelled)
        return told.with_arrays(found)

    def _keep(self, collection: Collection) -> None:
        """Writes an entry, its document last, and lets the oldest ones go where there are too many.

        Raises:
          OSError: the disk is full.
          MulliganError: as well.
        """
        images = collection.images
        n, _, _, channels = images.shape
        rows = images.indices if isinstance(images, StreamedImages) else np.arange(n)
        if isinstance(images, StreamedImages):
            path = images.read.args[0] if images.at_once else None  # pyright: ignore[reportFunctionMemberAccess]
        elif isinstance(images.base, np.memmap):
            path = images.base.filename
        elif (store := self.array(images.shape)) is not None:
            store[:] = images
            store.flush()
            path = store.filename
        else:
            path = None
        if path is None:
            return  # decoding is what takes the time, and there is no room for what comes of it
        # Of what lies in the source just so, the digests are all that is kept.
        pixels = Path(str(path)).name if Path(str(path)).parent == self.folder else None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_arrays(self.folder / ARRAYS, {"rows": rows, **collection.arrays()})
        streamed, classes, notes = isinstance(images, StreamedImages), collection.classes, collection.notes
        entry = Entry(pixels, streamed, channels, classes, notes, collection.unlabelled)
        replace_file(self.folder / DOCUMENT, json.dumps(entry.__dict__).encode())
        self.made[:] = [path for path in self.made if path.name != pixels]
        for other in self.folder.glob("*.npy"):
            if other.name != pixels and time.time() - other.stat().st_mtime > LEFT_SECONDS:
                other.unlink()
        _make_room(self.folder.parent)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts named arrays into an `.npz`, whole or not at all.

    Raises:
      MulliganError: it cannot be written.
    """
    content = io.BytesIO()
    np.savez(content, **arrays)  # pyright: ignore[reportArgumentType]
    replace_file(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` put there; none where the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (*BROKEN, ValueError, KeyError):
        return {}


def mapped(
    path: Path, rows: Int64[np.ndarray, " n"], channels: int, streamed: bool
) -> UInt8[np.ndarray, "n h w c"] | StreamedImages:
    """Images that lie in an `.npy` of bytes: as an array, or where they are to be `streamed`, drawn from it."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    n, h, w, _ = images.shape
    if streamed:
        return StreamedImages((h, w, channels), partial(rows_with_channels, str(path), channels), rows, at_once=True)
    whole = np.asarray(images) if len(rows) == n else np.asarray(images[rows])
    return whole if channels == whole.shape[3] else np.ascontiguousarray(whole[..., :channels])


def rows_with_channels(path: str, channels: int, rows: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k h w c"]:
    """No closure, which could not be sent to another process."""
    return np.ascontiguousarray(rows_of(path, rows)[..., :channels])


def _make_room(images: Path) -> None:
    """Removes what was not used for longest, until the entries take no more than `MOST_BYTES`."""
    folders = [folder for folder in images.iterdir() if folder.is_dir()]
    used = {
        folder: (folder / DOCUMENT if (folder / DOCUMENT).exists() else folder).stat().st_mtime for folder in folders
    }
    size = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    for folder in sorted(folders, key=used.__getitem__)[:-1]:
        if sum(size.values()) <= MOST_BYTES:
            return
        shutil.rmtree(folder, ignore_errors=True)
        del size[folder]
