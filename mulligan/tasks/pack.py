"""Packs: a folder of images as they were read, in ArrayRecord files, from which any of them is drawn by its index.

For sets that are too many to decode again and too large for the cache: pixels are compressed without loss, and opening
a pack looks at none of them. `pack.json`, written last, makes it whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from mulligan import schema
from mulligan.errors import MulliganError, optional_import
from mulligan.files import make_folder, replace_file
from mulligan.tasks.collection import Collection
from mulligan.tasks.read_before import read_arrays, write_arrays
from mulligan.tasks.source import Source
from mulligan.tasks.streaming import StreamedImages

DOCUMENT, ARRAYS, SUFFIX = "pack.json", "pack.npz", ".array_record"
SHARD = 2**14  # images of a file
BLOCK = 256  # images read and written at a time
ROWS = "group_size:1,zstd:1"  # each image by itself, so that any is read alone


@dataclass(frozen=True)
class Pack:
    """What `pack.json` holds.

    Attributes:
      images: their number.
      side: `(h, w, c)` of each.
      shards: files that they lie in, `SHARD` in each but the last.
      classes: names of the labels.
      notes: one-line sentences on how they were read.
      unlabelled: where there are no labels, why.
    """

    images: int
    side: list[int]
    shards: list[str]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    unlabelled: str


def refuse_pack(out: Path) -> None:
    """Refuses to pack into `out` what could not be packed whatever it is, before long reading.

    Raises:
      MulliganError: the folder holds a whole pack; or the library is missing.
    """
    _library()
    if os.path.exists(out / DOCUMENT):  # unlike pathlib's, no error for a folder without rights
        raise MulliganError(f"{out} holds a pack already: name another folder, or remove this one.")


def write_pack(collection: Collection, out: Path, progress: Callable[[int, int], None] = lambda done, n: None) -> Pack:
    """Writes a collection as a pack; one that was interrupted goes on where it stopped.

    Args:
      collection: what was read.
      out: a new folder, or that of an unfinished pack of the same images.
      progress: called with the number of images that are written, and that of all.

    Raises:
      MulliganError: the folder holds another pack, or cannot be written; or the library is missing.
    """
    refuse_pack(out)
    writer = _library().ArrayRecordWriter
    make_folder(out)
    images, arrays = collection.images, collection.arrays()
    n, *side = images.shape
    found = read_arrays(out / ARRAYS).get("digests")
    if found is not None and not np.array_equal(found, arrays["digests"]):
        raise MulliganError(f"{out} holds a pack of other images: name another folder, or remove this one.")
    # First: by its digests an unfinished pack is known again.
    write_arrays(out / ARRAYS, arrays)
    starts = range(0, n, SHARD)
    shards = [f"images-{number:05d}-of-{len(starts):05d}{SUFFIX}" for number in range(len(starts))]
    for shard, start in zip(shards, starts, strict=True):
        try:
            if not (out / shard).exists():
                unfinished = out / f".{shard}"
                file = writer(str(unfinished), ROWS)
                for first in range(start, min(start + SHARD, n), BLOCK):
                    rows = np.arange(first, min(first + BLOCK, start + SHARD, n))
                    for image in images[rows] if isinstance(images, np.ndarray) else images.take(rows):
                        file.write(image.tobytes())
                file.close()
                unfinished.rename(out / shard)
        except (OSError, ValueError, RuntimeError) as error:  # the last two are the library's
            raise MulliganError(f"cannot write {out / shard}: {error}.") from error
        progress(min(start + SHARD, n), n)
    side = [int(each) for each in side]
    pack = Pack(n, side, shards, collection.classes, collection.notes, collection.unlabelled)
    replace_file(out / DOCUMENT, json.dumps(pack.__dict__).encode())
    return pack


def read_pack(source: Source) -> Collection:
    """The images of a pack, none of which is looked at before it is drawn.

    Raises:
      MulliganError: it is damaged or unfinished, or the library is missing.
    """
    root = Path(source.where) if source.path is None else source.path.parent
    _library()
    try:
        pack = schema.read(Pack, json.loads((root / DOCUMENT).read_text()), DOCUMENT)
    except (OSError, ValueError) as error:
        raise MulliganError(f"{root / DOCUMENT} cannot be read: {error}.") from error
    arrays, missing = read_arrays(root / ARRAYS), [shard for shard in pack.shards if not (root / shard).is_file()]
    if missing or len(arrays.get("digests", ())) != pack.images:
        raise MulliganError(f"the pack in {root} is not whole: {(missing or [ARRAYS])[0]} is missing or damaged.")
    paths = tuple(str((root / shard).resolve()) for shard in pack.shards)
    height, width, channels = pack.side
    side = (height, width, channels)
    images = StreamedImages(side, partial(_records, paths, side), np.arange(pack.images), at_once=True)
    told = Collection(images, classes=pack.classes, notes=pack.notes, unlabelled=pack.unlabelled)
    return told.with_arrays(arrays)


def _records(
    paths: tuple[str, ...], side: tuple[int, int, int], rows: Int64[np.ndarray, " k"]
) -> UInt8[np.ndarray, "k h w c"]:
    """No closure, which could not be sent to another process.

    Raises:
      MulliganError: a file of the pack can no longer be read.
    """
    images = np.empty((len(rows), *side), np.uint8)
    for number in np.unique(rows // SHARD).tolist():
        slots = np.flatnonzero(rows // SHARD == number)
        try:
            found = _reader(paths[number]).read((rows[slots] % SHARD).tolist())
            for slot, record in zip(slots.tolist(), found, strict=True):
                images[slot] = np.frombuffer(record, np.uint8).reshape(side)
        except Exception as error:  # whatever the library raises
            raise MulliganError(f"{paths[number]} cannot be read: {error}.") from error
    return images


@lru_cache(maxsize=256)
def _reader(path: str) -> Any:
    return _library().ArrayRecordReader(path, "readahead_buffer_size:0,max_parallelism:0")


def _library() -> Any:
    with optional_import("array_record", "packing images, or reading a pack", "pack"):
        from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]
    return array_record_module
