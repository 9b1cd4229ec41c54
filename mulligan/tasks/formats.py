"""The formats in which images come: each is a function that reads it, and one line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mulligan.tasks.arrays import read_npy, read_npz
from mulligan.tasks.cifar import is_cifar, read_cifar
from mulligan.tasks.collection import Collection
from mulligan.tasks.huggingface import SUFFIX as PARQUET
from mulligan.tasks.huggingface import read_parquet
from mulligan.tasks.idx import is_idx, read_idx, siblings
from mulligan.tasks.image_files import read_listing
from mulligan.tasks.pack import ARRAYS as PACKED_ARRAYS
from mulligan.tasks.pack import DOCUMENT as PACKED
from mulligan.tasks.pack import SUFFIX as PACKED_IMAGES
from mulligan.tasks.pack import read_pack
from mulligan.tasks.source import Source
from mulligan.tasks.stored import StoredFile


class DataFormat(NamedTuple):
    """How files of one format are told and read.

    Attributes:
      belongs: whether a file of this name is of the format.
      read: the images of a source that holds such files; files of other formats in it are left alone.
      suffixes: of its files, which are no part of a task's name.
      alone: whether it is read only where such a file is given by itself, not from a folder or archive.
      takes_labels: whether its images have an order that the caller can know, so that labels can be given with them.
      needs: whether a file of this name is one of those without which, beside it, a folder is not of the format.
      beside: `beside(name, others)`: the files in its folder that belong to one given by itself, where there are any.
    """

    belongs: Callable[[str], bool]
    read: Callable[[Source], Collection]
    suffixes: tuple[str, ...] = ()
    alone: bool = False
    takes_labels: bool = False
    needs: Callable[[str], bool] = lambda name: True
    beside: Callable[[str, Sequence[str]], Sequence[str]] | None = None


def ends_in(suffix: str) -> Callable[[str], bool]:
    """Whether a name ends in the suffix, in capitals or not."""
    return lambda name: name.lower().endswith(suffix)


FORMATS = {
    # Other programs write files called pack.json too.
    "pack": DataFormat(
        lambda name: name == PACKED, read_pack, needs=lambda name: name == PACKED_ARRAYS or name.endswith(PACKED_IMAGES)
    ),
    "npy": DataFormat(ends_in(".npy"), read_npy, (".npy",), alone=True, takes_labels=True),
    "npz": DataFormat(ends_in(".npz"), read_npz, (".npz",), alone=True, takes_labels=True),
    "idx": DataFormat(is_idx, read_idx, (".idx3-ubyte",), beside=siblings),
    "CIFAR-10": DataFormat(is_cifar, read_cifar),
    "parquet": DataFormat(ends_in(PARQUET), read_parquet, (PARQUET,)),
}
IMAGE_FILES = DataFormat(lambda name: True, read_listing)  # what is of no other format is an image, or skipped


def format_of(name: str) -> DataFormat:
    """The format of a file that is given by itself."""
    return next((form for form in FORMATS.values() if form.belongs(name)), IMAGE_FILES)


def format_among(files: Sequence[StoredFile]) -> DataFormat:
    """The format of the files of a folder or archive: the first in `FORMATS` that any of them is of."""
    names = [file.name for file in files]
    inside = [form for form in FORMATS.values() if not form.alone and any(map(form.needs, names))]
    return next((form for form in inside if any(map(form.belongs, names))), IMAGE_FILES)
