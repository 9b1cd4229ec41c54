"""MNIST's own format: idx files, gzipped or not (LeCun, http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.arrays import collect
from mulligan.tasks.collection import Collection
from mulligan.tasks.source import Source
from mulligan.tasks.splits import TEST, TRAIN
from mulligan.tasks.stored import StoredFile, UnreadableError, refuse_bomb

NAME = re.compile(r"[-.]idx[1-4]-ubyte(\.gz)?$")
PART = re.compile(r"train|t10k|test")
UNSIGNED_BYTE = 8


def is_idx(name: str) -> bool:
    """Whether a file is called like one, as `train-images-idx3-ubyte.gz`."""
    return NAME.search(name) is not None


def siblings(name: str, others: Sequence[str]) -> list[str]:
    """The files that belong to the one called `name`: its labels, and the other parts of its data set.

    Example:
      >>> siblings("train-images-idx3-ubyte", ["t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "a.txt"])
      ['t10k-images-idx3-ubyte', 'train-labels-idx1-ubyte']
    """
    return [other for other in others if is_idx(other) and _data_set(other) == _data_set(name)]


def _data_set(name: str) -> str:
    return re.sub(r"idx\d", "idx", PART.sub("", name).replace("labels", "images"))


def read_idx(source: Source) -> Collection:
    """Reads all parts found, with the labels beside them; `t10k` or `test` in a name makes the test split.

    Raises:
      MulliganError: a file is damaged, the parts differ in size, or there are labels alone.
    """
    named = {file.name: file for file in source.listing.files if is_idx(file.name)}
    parts = [name for name in sorted(named) if "labels" not in name and "idx1" not in name]
    if not parts:
        raise MulliganError(f"{next(iter(named))} holds labels, and the images that belong to it are not beside it.")
    images = [_parse(named[name]) for name in parts]
    if len({part.shape[1:] for part in images}) > 1:
        raise MulliganError(f"the idx files {', '.join(parts)} hold images of different sizes: give one of the files.")
    label_names = [name.replace("images", "labels").replace("idx3", "idx1") for name in parts]
    labels = [_parse(named[name]) for name in label_names if name in named]
    splits = [TEST if "t10k" in name or "test" in name else TRAIN for name in parts]
    codes = [np.full(len(part), split) for part, split in zip(images, splits, strict=True)]
    return collect(
        np.concatenate(images),
        np.concatenate(labels).astype(np.int32) if len(labels) == len(parts) else None,
        np.concatenate(codes) if TRAIN in splits else None,
    )


def _parse(file: StoredFile) -> UInt8[np.ndarray, "..."]:
    """Two zero bytes, a type code, the number of dimensions, each as a big-endian int32, the values."""
    try:
        content = file.read()
        if content.startswith(b"\x1f\x8b"):
            packed, most = len(content), 128 * len(content) + 2**21  # more than `refuse_bomb` lets pass
            with gzip.open(io.BytesIO(content)) as stream:
                content = stream.read(most)
            refuse_bomb(file.name, file.name, len(content), packed)
        zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
        if zeros or kind != UNSIGNED_BYTE:
            raise MulliganError(f"{file.name} is no idx file of unsigned bytes.")
        shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    except (UnreadableError, struct.error, OSError, EOFError, zlib.error) as error:
        raise MulliganError(f"{file.name} cannot be read as an idx file: {error}.") from error
    values = content[4 + 4 * dimensions :]
    if len(values) != math.prod(shape):
        raise MulliganError(
            f"{file.name} is damaged: its header promises {math.prod(shape):,} bytes, not {len(values):,}."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)
