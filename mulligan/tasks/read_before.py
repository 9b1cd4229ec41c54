"""Images that were read before: decoded once, then mapped from the user's cache while nothing of the source changes.

An entry of the cache is a folder named by what was read and how. Its `collection.json`, written last, makes it whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from jaxtyping import Int64, UInt8

from mulligan import schema
from mulligan.errors import MulliganError
from mulligan.files import replace_file
from mulligan.places import cache_folder
from mulligan.tasks.collection import Collection
from mulligan.tasks.streaming import HELD_SHARE, StreamedImages, rows_of

VERSION = 1  # of what is kept, and of what images are read to
SLOW_SECONDS = 3.0  # of reading, from which its result is kept
MOST_BYTES = 64 * 2**30  # of all entries
DISK_SHARE = 0.5  # of what is free, that one entry may take
DOCUMENT, ARRAYS = "collection.json", "arrays.npz"


@dataclass(frozen=True)
class Entry:
    """What is kept of a collection beside its arrays: the file of its pixels, if they do not lie in the source so."""

    pixels: str | None
    channels: int
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    unlabelled: str


@dataclass(frozen=True)
class Shelf:
    """The place of one source in the cache.

    Attributes:
      folder: of its entry.
      memory: bytes that images may take in memory, as `Source.memory`.
    """

    folder: Path
    memory: int

    @staticmethod
    def of(identity: str, memory: int) -> Shelf | None:
        """The place for what `identity` describes; None where the user has no cache."""
        cache = cache_folder()
        name = hashlib.sha256(f"{VERSION} {identity}".encode(errors="surrogatepass")).hexdigest()[:32]
        return None if cache is None else Shelf(cache / "images" / name, memory)

    def array(self, shape: tuple[int, ...]) -> np.memmap | None:
        """A new array of bytes on the disk, for pixels that are too many for memory; None where it has no room."""
        wanted = int(np.prod(shape, dtype=float))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if wanted > DISK_SHARE * shutil.disk_usage(self.folder).free or wanted > MOST_BYTES:
                return None
            # A name that no other process uses: two may read the same images at the same time.
            path = self.folder / f"{uuid4().hex}.npy"
            return np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        except OSError:
            return None

    def read(self, read: Callable[[], Collection]) -> Collection:
        """What was kept, or what `read` gives, which is kept where that took long."""
        entry, began = self._entry(), time.monotonic()
        if entry is not None and (kept := self._kept(entry, read)):
            return kept
        collection = read()
        collection = replace(collection, known=collection.digests)
        if time.monotonic() - began >= SLOW_SECONDS:
            with suppress(OSError, MulliganError):  # the next reading is slow again
                self._keep(collection)
        return collection

    def _entry(self) -> Entry | None:
        try:
            document = json.loads((self.folder / DOCUMENT).read_text())
            os.utime(self.folder / DOCUMENT)
            return schema.read(Entry, document, DOCUMENT)
        except (OSError, ValueError, MulliganError):
            return None

    def _kept(self, entry: Entry, read: Callable[[], Collection]) -> Collection | None:
        try:
            with np.load(self.folder / ARRAYS, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            if entry.pixels is None:
                return replace(read(), known=found["digests"])
            images = mapped(self.folder / entry.pixels, found["rows"], entry.channels, self.memory)
        except (OSError, ValueError, KeyError):
            return None
        labels, split, groups = (found.get(name) for name in ("labels", "split", "groups"))
        known, unlabelled = found["digests"], entry.unlabelled
        return Collection(
            images, labels, split, entry.classes, entry.notes, groups=groups, unlabelled=unlabelled, known=known
        )

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
        names = ("labels", "split", "groups")
        arrays = {name: array for name in names if (array := getattr(collection, name)) is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ARRAYS).open("wb") as file:
            np.savez(file, rows=rows, digests=collection.digests, **arrays)
        entry = Entry(pixels, channels, collection.classes, collection.notes, collection.unlabelled)
        replace_file(self.folder / DOCUMENT, json.dumps(entry.__dict__).encode())
        _make_room(self.folder.parent)


def mapped(
    path: Path, rows: Int64[np.ndarray, " n"], channels: int, memory: int
) -> UInt8[np.ndarray, "n h w c"] | StreamedImages:
    """Images that lie in an `.npy` of bytes: as an array, or where they are too many for `memory`, drawn from it."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    n, h, w, _ = images.shape
    if len(rows) * h * w * channels > memory // HELD_SHARE:
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
