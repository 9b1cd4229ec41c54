"""Reads a task from anything: arrays, files, folders, archives, built-in names, the Hugging Face hub."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike
from PIL import Image

from mulligan.errors import MulliganError, UsageError, printable
from mulligan.tasks.archives import SUFFIXES as ARCHIVES
from mulligan.tasks.archives import are_shards, list_file, open_shards
from mulligan.tasks.builtin import BUILTIN, names
from mulligan.tasks.catalogues import is_catalogued, read_catalogue
from mulligan.tasks.collection import Collection
from mulligan.tasks.formats import FORMATS, IMAGE_FILES, format_among, format_of
from mulligan.tasks.framing import Frame, Request, choose_frame, parse_colour, resample
from mulligan.tasks.huggingface import HUB_NAME, HUB_PREFIX, read_hub
from mulligan.tasks.image_files import read_image_files
from mulligan.tasks.near_copies import NEAR, near_groups
from mulligan.tasks.pack import ARRAYS, DOCUMENT
from mulligan.tasks.python_objects import read_object
from mulligan.tasks.read_before import Shelf, mapped
from mulligan.tasks.source import Source
from mulligan.tasks.stored import Listing, identity, list_folder, one_file
from mulligan.tasks.streaming import StreamedImages
from mulligan.tasks.task import Task, make_task

MEMORY = 4 * 2**30  # bytes that images may take in memory
BLOCK = 1024  # images of a stream that are resampled at a time
COMPRESSED = (".gz", ".bz2", ".xz")  # how the names of files end that are so


def read_task(
    source: Any,
    *,
    size: int | tuple[int, int] | None = None,
    labels: bool | ArrayLike = False,
    background: str | Sequence[int] | None = None,
    fit: str | None = None,
    groups: str | ArrayLike | None = None,
    seed: int = 0,
    memory: int = MEMORY,
) -> Task:
    """Reads images from `source` and splits them.

    Args:
      source: a folder (nested folders are classes), zip or tar of images; `.npz`, `.npy`; MNIST idx files;
        CIFAR-10 python batches; parquet with encoded images; the name of a built-in task; `hf:owner/name`,
        `keras:name` or `tfds:name`, a data set that these libraries know; or what `tasks.python_objects` takes:
        arrays, lists, pairs with labels, data sets. A path that exists wins over a name.
      size: side of the square images that come out, 8 to 256, or height and width; None keeps arrays as they are, and
        for files see `mulligan.tasks.framing.choose_frame`.
      labels: keep the labels, for a class-conditional generator; or the labels themselves, one for each image.
      background: colour behind transparent pixels and around padded images: a name, `#rrggbb`, or three numbers; None
        for white, or another where drawings could not be seen on it.
      fit: how another aspect ratio is fitted: "crop" to the centre, or "pad"; None chooses by the images.
      groups: what the split keeps together: "near" for images that look nearly alike, "folder" for those of one folder,
        the name of a column of a table or of an array of an `.npz`; or a number for each image.
      seed: of the random split, where the source brings none.
      memory: bytes that images may take in memory. With more than a quarter of it in decoded pixels, image files and
        `.npy` files stream: the device holds what is held, and whatever is read beside it needs room.

    Raises:
      UsageError: no such source, or an option out of range.
      MulliganError: the source cannot be read, or holds nothing to learn from.

    Example:
      >>> task = read_task("digits", size=16)
      >>> task.shape, task.counts
      ((16, 16, 1), {'train': 1439, 'validation': 179, 'test': 179})
    """
    asked = not (labels is False or labels is None)
    given = None if isinstance(labels, bool | np.bool_ | None) else labels
    request = Request(size, fit, parse_colour(background))
    name, collection = read_collection(source, request, groups, given, memory)
    if asked and collection.labels is None:
        unlabelled = f" to use: {collection.unlabelled.rstrip('.')}."
        mend = (
            ": put the images of each class into a folder of their own, or an array 'labels' beside 'images' in an "
            ".npz, or name the classes in a labels.csv; or train without classes."
        )
        raise UsageError(f"{name} has no labels{unlabelled if collection.unlabelled else mend}")
    return make_task(name, collection, labels=asked, seed=seed)


def read_collection(
    source: Any,
    request: Request,
    groups: str | ArrayLike | None = None,
    labels: ArrayLike | None = None,
    memory: int = MEMORY,
) -> tuple[str, Collection]:
    """The images of a source before they are split, and its name.

    Args:
      source, groups, memory: as `read_task` takes them.
      request: the shape asked for.
      labels: one for each image; None for those that the source has.

    Raises:
      UsageError: as `read_task` does.
      MulliganError: as well.
    """
    named = groups if isinstance(groups, str) and groups != NEAR else None
    name, collection = _read(source, request, memory, labels, named)
    return name, _grouped(collection, groups, name)


def _grouped(collection: Collection, groups: Any, name: str) -> Collection:
    """The collection with the groups that were asked for."""
    if groups is None:
        return collection
    if isinstance(groups, str) and groups != NEAR:
        if collection.groups is None:
            raise UsageError(
                f"{name} tells nothing of groups called {groups!r}: say near, folder, or a column or array."
            )
        numbers, said = collection.groups, f"by {groups}"
    elif isinstance(groups, str):
        numbers, said = near_groups(collection.images), "by how nearly they look alike"
    else:
        numbers, said = np.unique(np.asarray(groups), return_inverse=True)[1], "as given"
        if numbers.shape != (collection.images.shape[0],):
            raise UsageError(
                f"there are {collection.images.shape[0]:,} images but {len(numbers):,} groups: give one each."
            )
    sizes = np.bincount(numbers)
    note = f"split by {np.count_nonzero(sizes):,} groups {said}, the largest of {sizes.max():,} images."
    return replace(collection, groups=numbers, notes=(*collection.notes, note))


def _read(
    source: Any, request: Request, memory: int, labels: ArrayLike | None, groups: str | None
) -> tuple[str, Collection]:
    if not isinstance(source, str | os.PathLike):
        return "array", resized(read_object(source, request, memory, labels, groups), request)
    path = Path(source)
    if not str(source).strip():
        raise UsageError("no data was named: give a folder, an archive, a file, or the name of a built-in task.")
    if os.path.isdir(path):  # unlike pathlib's, no error for a name that no file system takes
        found = _read_shelved(path, Source(list_folder(path), str(source), request, memory, groups), _read_folder)
        return printable(path.resolve().name), _without(labels, found)
    if os.path.exists(path):
        formats = tuple(suffix for form in FORMATS.values() for suffix in form.suffixes)
        name, suffixes = path.name, COMPRESSED + ARCHIVES + formats
        while name.lower().endswith(suffixes):
            name = name.rpartition(".")[0]
        return printable(name), _read_file(path, request, memory, labels, groups)
    name = str(source).removeprefix(HUB_PREFIX)
    return printable(name), _without(labels, resized(_read_named(str(source), request, memory), request))


def _read_shelved(path: Path, source: Source, read: Callable[[Source], Collection]) -> Collection:
    """Reads the files at `path`, or what is kept of them from another time, in the size asked for."""
    shelf = None
    if source.labels is None:
        asked = (str(path.resolve()), version("mulligan"), source.request, source.groups, source.memory)
        with suppress(OSError):  # a file that goes while it is looked at is told of by whoever reads it
            shelf = Shelf.of(f"{asked} {identity(source.listing)}")
    if shelf is None:
        return resized(read(source), source.request)
    return shelf.read(lambda: resized(read(replace(source, shelf=shelf)), source.request, shelf))


def _read_named(name: str, request: Request, memory: int) -> Collection:
    family, _, member = name.partition("/")
    if family in BUILTIN and (not member or member in BUILTIN[family].members):
        return BUILTIN[family].draw(member or None)
    if is_catalogued(name):
        return read_catalogue(name)
    if name.startswith(HUB_PREFIX) and HUB_NAME.fullmatch(name.removeprefix(HUB_PREFIX)):
        return read_image_files(read_hub(name.removeprefix(HUB_PREFIX)), request, memory, name)
    missing = f"there is no file or folder {name!r}, and no built-in task of that name"
    near = difflib.get_close_matches(name, names(), n=1)
    if near:
        raise UsageError(f"{missing}; did you mean {near[0]!r}?")
    hub = f"; for a data set of the Hugging Face hub, say hf:{name}" if HUB_NAME.fullmatch(name) else ""
    raise UsageError(f"{missing} (there are {', '.join(BUILTIN)}){hub}.")


def _without(labels: ArrayLike | None, collection: Collection) -> Collection:
    if labels is not None:
        raise UsageError("labels as a list go with images in an array or list, whose order is known: say labels=True.")
    return collection


def _read_file(path: Path, request: Request, memory: int, labels: ArrayLike | None, groups: str | None) -> Collection:
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder: give one that holds images.")
    try:
        path.open("rb").close()  # so that a file without rights is told of alike in every format
    except OSError as error:
        raise MulliganError(f"{path} cannot be read: {error.strerror}.") from error
    source = Source(Listing([one_file(path)]), str(path), request, memory, groups, labels, path)
    form = format_of(path.name)
    read = _read_archive if form is IMAGE_FILES else form.read
    if form.beside:
        beside = form.beside(path.name, [other.name for other in path.parent.iterdir()])
        files = [one_file(path.parent / name) for name in sorted({path.name, *beside})]
        source = replace(source, listing=Listing(files))
    found = _read_shelved(path, source, read)
    return found if form.takes_labels else _without(labels, found)


def _read_folder(source: Source) -> Collection:
    """The files of a folder, or of the archives in it where there is nothing else."""
    form = format_among(source.listing.files)
    if form is IMAGE_FILES and are_shards(source.listing.files):
        source = replace(source, listing=open_shards(source.listing, source.memory))
        form = format_among(source.listing.files)
    return form.read(source)


def _read_archive(source: Source) -> Collection:
    """A file that is of no format by its name: an archive, known by its content, or an image."""
    assert source.path is not None
    listing = list_file(source.path, source.memory)
    if {DOCUMENT, ARRAYS} <= {file.name.rpartition("/")[2] for file in listing.files}:
        raise MulliganError(f"{source.path} is a pack in an archive: unpack it, and give the folder.")
    return format_among(listing.files).read(replace(source, listing=listing))


def resized(collection: Collection, request: Request, shelf: Shelf | None = None) -> Collection:
    """Arrays of another size than the one asked for, resampled; where they stream, onto the shelf, if it has room."""
    images = collection.images
    if request.size is None or not images.shape[0]:
        return collection
    frame, notes = choose_frame(np.full((images.shape[0], 2), images.shape[2:0:-1]), request)
    if images.shape[1:3] == (frame.height, frame.width):
        return collection
    if isinstance(images, StreamedImages):
        side = (frame.height, frame.width, images.shape[3])
        read = partial(_one_row, images.read) if images.at_once else images.read
        placed = StreamedImages(side, partial(_placed, read, frame, side), images.indices)
        # They stream even where they would fit now: whether they do must not depend on the room of the cache.
        store = None if shelf is None else shelf.array(placed.shape)
        if store is not None:
            for start in range(0, len(store), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(store)))
                store[rows] = placed.take(rows)
            store.flush()
            placed = mapped(Path(str(store.filename)), np.arange(len(store)), side[2], streamed=True)
    else:
        placed = resample(images, frame)
    return replace(collection, images=placed, notes=(*collection.notes, *notes), known=None)


def _one_row(read: Callable[[np.ndarray], UInt8[np.ndarray, "k h w c"]], index: int) -> UInt8[np.ndarray, "h w c"]:
    return read(np.array([index]))[0]


def _placed(
    read: Callable[[int], UInt8[np.ndarray, "h w c"]], frame: Frame, side: tuple[int, int, int], index: int
) -> UInt8[np.ndarray, "h2 w2 c"]:
    """No closure, which could not be sent to another process."""
    image = read(index)
    placed = frame.place(Image.fromarray(image[..., 0] if side[2] == 1 else image))
    return np.asarray(placed.convert("L" if side[2] == 1 else "RGB")).reshape(side)
