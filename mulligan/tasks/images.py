"""Reads a task from anything: arrays, files, folders, archives, built-in names, the Hugging Face hub."""

from __future__ import annotations

import difflib
import os
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.arrays import collect, read_npy, read_npz
from mulligan.tasks.builtin import BUILTIN, names
from mulligan.tasks.catalogues import is_catalogued, read_catalogue
from mulligan.tasks.cifar import is_cifar, read_cifar
from mulligan.tasks.collection import Collection
from mulligan.tasks.framing import WHITE, Colour, Request, choose_frame, resample
from mulligan.tasks.huggingface import HUB_NAME, HUB_PREFIX, is_parquet, read_hub, read_parquet
from mulligan.tasks.idx import is_idx, read_idx, siblings
from mulligan.tasks.image_files import by_folder, read_image_files
from mulligan.tasks.stored import StoredFile, list_folder, list_tar, list_zip, one_file
from mulligan.tasks.task import Task, make_task

MEMORY = 4 * 2**30  # bytes of decoded pixels above which image files stream
ARRAY_FILES: dict[str, Callable[[Path, int, Colour], Collection]] = {".npy": read_npy, ".npz": read_npz}
SUFFIXES = (".gz", ".bz2", ".xz", ".tar", ".tgz", ".zip", ".npz", ".npy", ".parquet", ".idx3-ubyte")


def read_task(
    source: str | os.PathLike[str] | ArrayLike,
    *,
    size: int | None = None,
    labels: bool = False,
    background: Colour = WHITE,
    fit: str | None = None,
    seed: int = 0,
    memory: int = MEMORY,
) -> Task:
    """Reads images from `source` and splits them.

    Args:
      source: a folder (nested folders are classes), zip or tar of images; `.npz`, `.npy`; MNIST idx files;
        CIFAR-10 python batches; parquet with encoded images; an array; the name of a built-in task; or
        `hf:owner/name`, `keras:name` or `tfds:name`, a data set that these libraries know. A path that
        exists wins over a name.
      size: side of the square images that come out, 8 to 256; None keeps arrays as they are, and for files
        see `mulligan.tasks.framing.choose_frame`.
      labels: keep the labels, for a class-conditional generator.
      background: colour behind transparent pixels and around padded images.
      fit: how another aspect ratio is fitted: "crop" to the centre, or "pad"; None chooses by the images.
      seed: of the random split, where the source brings none.
      memory: bytes of decoded pixels above which image files stream.

    Raises:
      UsageError: no such source, or an option out of range.
      MulliganError: the source cannot be read, or holds nothing to learn from.

    Example:
      >>> task = read_task("digits", size=16)
      >>> task.shape, task.counts
      ((16, 16, 1), {'train': 1439, 'validation': 179, 'test': 179})
    """
    request = Request(size, fit, background)
    name, collection = _read(source, request, memory)
    if labels and collection.labels is None:
        raise UsageError(
            f"{name} has no labels: put the images of each class into a folder of their own, or an integer "
            "array 'labels' beside 'images' in an .npz; or leave --labels out."
        )
    return make_task(name, resized(collection, request), labels=labels, seed=seed)


def _read(source: Any, request: Request, memory: int) -> tuple[str, Collection]:
    if not isinstance(source, str | os.PathLike):
        return "array", collect(np.asarray(source), background=request.background)
    path = Path(source)
    if os.path.isdir(path):  # unlike pathlib's, no error for a name that no file system takes
        return path.resolve().name, _read_files(list_folder(path), request, memory, str(source))
    if os.path.exists(path):
        return _stem(path), _read_file(path, request, memory)
    name = str(source)
    family, _, member = name.partition("/")
    if family in BUILTIN and (not member or member in BUILTIN[family].members):
        return name, BUILTIN[family].draw(member or None)
    if is_catalogued(name):
        return name, read_catalogue(name)
    if name.startswith(HUB_PREFIX) and HUB_NAME.fullmatch(name.removeprefix(HUB_PREFIX)):
        hub_name = name.removeprefix(HUB_PREFIX)
        return hub_name, read_image_files(read_hub(hub_name), request, memory, name)
    raise UsageError(_no_such_source(name))


def _read_file(path: Path, request: Request, memory: int) -> Collection:
    where = str(path)
    _refuse_unreadable(path)
    if path.suffix in ARRAY_FILES:
        return ARRAY_FILES[path.suffix](path, memory, request.background)
    if is_idx(path.name):
        beside = siblings(path.name, [other.name for other in path.parent.iterdir()])
        return read_idx([one_file(path.parent / name) for name in sorted({path.name, *beside})])
    if zipfile.is_zipfile(path):
        return _read_files(list_zip(path), request, memory, where)
    if tarfile.is_tarfile(path):
        return _read_files(list_tar(path, memory), request, memory, where)
    return _read_files([one_file(path)], request, memory, where)


def _refuse_unreadable(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder: give one that holds images.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise MulliganError(f"{path} cannot be read: {error.strerror}.") from error


def _read_files(files: Sequence[StoredFile], request: Request, memory: int, where: str) -> Collection:
    """Arrays in a known format when there are any among the files, else image files."""
    for belongs, read in ((is_idx, read_idx), (is_cifar, read_cifar)):
        if any(belongs(file.name) for file in files):
            return read(files)
    if any(is_parquet(file.name) for file in files):
        return read_image_files(read_parquet(files), request, memory, where)
    return read_image_files(by_folder(files), request, memory, where)


def resized(collection: Collection, request: Request) -> Collection:
    """Arrays of another size than the one asked for, resampled."""
    images = collection.images
    if request.size is None or not isinstance(images, np.ndarray) or not len(images):
        return collection
    frame, notes = choose_frame(np.full((len(images), 2), images.shape[2:0:-1]), request)
    return replace(collection, images=resample(images, frame), notes=(*collection.notes, *notes))


def _stem(path: Path) -> str:
    """The file's name without the suffixes of archives and arrays."""
    name = path.name
    while name.endswith(SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def _no_such_source(name: str) -> str:
    missing = f"there is no file or folder {name!r}, and no built-in task of that name"
    near = difflib.get_close_matches(name, names(), n=1)
    if near:
        return f"{missing}; did you mean {near[0]!r}?"
    hub = f"; for a data set of the Hugging Face hub, say hf:{name}" if HUB_NAME.fullmatch(name) else ""
    return f"{missing} (there are {', '.join(BUILTIN)}){hub}."
