"""Arrays to a collection: any layout and dtype that can be told without guessing, `.npy` and `.npz`."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import ArrayLike

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.decode import DEEP, FLAT, depth, visible
from mulligan.tasks.framing import WHITE, Colour, choose_ground
from mulligan.tasks.layout import SPLIT_WORDS
from mulligan.tasks.named_arrays import pick
from mulligan.tasks.source import Source
from mulligan.tasks.splits import count_sentence
from mulligan.tasks.stored import MOST_RATIO
from mulligan.tasks.streaming import HELD_SHARE, STREAMED, StreamedImages, forget, rows_of

BLOCK = 2**24  # bytes that are converted at a time
LOOKED_AT = 1000  # images with opacity by which a ground is chosen
CHECKED = 2**28  # bytes of images up to which those of one colour are counted
LARGE = 2**26  # bytes from which an .npz that unpacks to a hundred times its size is refused: labels may well do so
Convert = Callable[[np.ndarray], UInt8[np.ndarray, "n h w c"]]


def collect(
    images: np.ndarray,
    labels: ArrayLike | None = None,
    split: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    background: Colour | None = None,
    *,
    groups: ArrayLike | None = None,
    drawn_from: Path | None = None,
) -> Collection:
    """A collection of an array of images.

    Args:
      images: `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` with 1, 3 or 4 channels. uint8; other integers and
        booleans that fit; 16-bit; floats, all in [0, 1] or all in [-1, 1]. A fourth channel is opacity.
      labels: `[n]` integers or text; where they do not fit, `unlabelled` says so.
      split: codes `[n]`: 0 train, 1 test, 2 validation; or their names.
      classes: names, indexed by the labels.
      background: colour behind transparent pixels; None for one on which they can be seen.
      groups: `[n]` numbers or text; images of one group come into one split.
      drawn_from: the `.npy` file of the array, from which the images are to be drawn; None to hold them in memory.

    Raises:
      MulliganError: what the images mean cannot be told, they are not finite, or lengths differ.

    Example:
      >>> collect(np.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8)).images.dtype
      dtype('uint8')
    """
    arranged, notes = _arranged(images)
    scale, scale_notes = _scale(arranged)
    ground, ground_notes = _ground(arranged, scale, background)
    notes += (*scale_notes, *ground_notes)
    convert = partial(_composited, scale, ground) if arranged.shape[3] == 4 else scale
    n, h, w = arranged.shape[:3]
    channels = min(arranged.shape[3], 3)
    if drawn_from is not None:
        pixels = StreamedImages((h, w, channels), partial(_rows, str(drawn_from), convert), np.arange(n), at_once=True)
        notes += (STREAMED,)
    elif convert is _as_bytes and arranged.dtype == np.uint8:
        pixels = np.ascontiguousarray(arranged)  # no copy of what lies so already: a mapped file stays one
    else:
        pixels = np.empty((n, h, w, channels), np.uint8)
        for block in _blocks(arranged):
            pixels[block] = convert(arranged[block])
    # It reads all pixels again, so not of very many.
    if isinstance(pixels, np.ndarray) and 0 < pixels.nbytes <= CHECKED:
        flat = int((np.ptp(pixels.reshape(n, -1, channels), axis=1) <= FLAT).all(axis=1).sum())
        notes += (f"{count_sentence(flat, 'image')} of one colour, with nothing to be seen.",) if flat else ()

    # Labels that do not fit are told, and stop only a run that asks for them.
    numbered, names, unlabelled = None, None, ""
    if labels is not None:
        try:
            numbered, names = number_classes(labels, n, classes)
        except MulliganError as error:
            unlabelled = str(error)
            notes += (f"labels left out: {unlabelled}",)
    if groups is not None:
        given = np.asarray(groups)
        if given.shape != (n,) or given.dtype.kind not in "biuUS":
            found = f"groups of {given.dtype} {list(given.shape)}"
            raise MulliganError(f"there are {n:,} images but {found}: give one each.")
        groups = np.unique(given, return_inverse=True)[1]
    return Collection(pixels, numbered, _codes(split, n), names, notes, groups=groups, unlabelled=unlabelled)


def _rows(path: str, convert: Convert, rows: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k h w c"]:
    """No closure, which could not be sent to another process."""
    return convert(_arranged(rows_of(path, rows))[0])


def _codes(split: np.ndarray | None, n: int) -> np.ndarray | None:
    if split is None:
        return None
    split = np.asarray(split)
    if split.dtype.kind == "U" and set(map(str.lower, split.ravel().tolist())) <= set(SPLIT_WORDS):
        split = np.array([SPLIT_WORDS[name.lower()] for name in split.ravel().tolist()]).reshape(split.shape)
    if split.shape != (n,) or not np.issubdtype(split.dtype, np.integer):
        raise MulliganError(
            f"there are {n:,} images but a 'split' of {split.dtype} {list(split.shape)}: give a code each."
        )
    return split


def read_npy(source: Source) -> Collection:
    """Reads one array of images; never unpickles. One of more than a share of `memory` stays in its file.

    Raises:
      MulliganError: no array of numbers, or none that can be images.
    """
    path = _path(source)
    forget()
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, OverflowError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(images, np.ndarray):  # a zip or so, by its content
        raise MulliganError(f"{path} is no single array: is it an .npz, and should be called so?")
    ground = source.request.background
    streams = math.prod(images.shape) > source.memory // HELD_SHARE  # a byte a number, whatever they are now
    return collect(np.asarray(images), source.labels, background=ground, drawn_from=path if streams else None)


def read_npz(source: Source) -> Collection:
    """Reads the images of an `.npz`, and labels, split and names of classes where they are there.

    They are told by the names of the arrays (`mulligan.tasks.named_arrays`).

    Raises:
      MulliganError: damaged, larger than allowed in memory, or without an array of images.
    """
    path = _path(source)
    try:
        # The sizes come first: what is loaded before they are known is in memory already.
        with zipfile.ZipFile(path) as archive:
            _refuse_large(path, archive, source.memory)
        with np.load(path, allow_pickle=False) as arrays:
            found = pick(arrays, str(path), source.groups)  # an array is read when it is looked up
    except (ValueError, OSError, EOFError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return collect(
        found.images,
        found.labels if source.labels is None else source.labels,
        found.split,
        found.classes,
        source.request.background,
        groups=found.groups,
    )


def _path(source: Source) -> Path:
    """Of the array's own file, which is mapped into memory."""
    assert source.path is not None, "arrays are read where they are given by themselves"
    return source.path


def _refuse_large(path: Path, archive: zipfile.ZipFile, memory: int) -> None:
    """Refuses what is larger than allowed by its entries, or by the headers of its arrays, before it is read."""
    size = 0
    for entry in archive.infolist():
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
        # An array's own header may claim more than its entry, and so many bytes are reserved for it.
        size += max(entry.file_size, int(np.prod(shape, dtype=float)) * dtype.itemsize)
    if size > memory:
        raise MulliganError(
            f"{path} holds {size:,} bytes, more than the {memory:,} allowed in memory: save the images as an .npy, "
            "which is drawn from where it is."
        )
    packed = path.stat().st_size
    if size > LARGE and size > MOST_RATIO * packed:
        raise MulliganError(
            f"{path} is refused: it unpacks to {size // packed:,} times its size, as only a decompression bomb does; "
            "if you trust it, save it uncompressed."
        )


def _unreadable(path: Path, error: Exception) -> MulliganError:
    if "allow_pickle" in str(error) or "Python objects" in str(error):  # numpy's words, loading and mapping
        return MulliganError(f"{path} holds Python objects, which are never loaded: save an array of numbers instead.")
    return MulliganError(f"{path} cannot be read as numpy arrays: {error}.")


def _arranged(images: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `[n, h, w, c]`, whichever of the known layouts it has; a view."""
    channels = (1, 3, 4)
    if images.ndim == 3:
        return images[..., None], ()
    # Where both the second and the last axis could be channels, the last is: most libraries write it so.
    if images.ndim == 4 and images.shape[3] in channels:
        return images, ()
    if images.ndim == 4 and images.shape[1] in channels:
        return images.transpose(0, 2, 3, 1), ("the channels came first and were moved last.",)
    raise MulliganError(
        f"images have the shape {list(images.shape)}; they must be [n, h, w] or [n, h, w, c] with 1, 3 or 4 channels."
    )


def _blocks(images: np.ndarray) -> Iterator[slice]:
    rows = max(1, BLOCK // max(images[:1].nbytes, 1))
    return (slice(start, start + rows) for start in range(0, len(images), rows))


def _scale(images: np.ndarray) -> tuple[Convert, tuple[str, ...]]:
    """What takes a block of the images to uint8 in [0, 255], with a sentence when that changes the values."""
    if images.dtype == np.uint8 or not images.size:
        return _as_bytes, ()
    if images.dtype == bool:
        return partial(_linear, 0.0, 255.0), ("booleans became 0 and 255.",)
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise MulliganError(f"images are {images.dtype}; they must be numbers: uint8, or floats in [0, 1] or [-1, 1].")
    # Block by block, since a mapped file may be larger than the memory. A NaN passes through minima and maxima.
    ends = [(images[block].min(), images[block].max()) for block in _blocks(images)]
    low, high = np.min([end[0] for end in ends]), np.max([end[1] for end in ends])
    if not (np.isfinite(low) and np.isfinite(high)):
        raise MulliganError("images hold values that are not finite (NaN or infinity): clean them first.")
    if np.issubdtype(images.dtype, np.floating):
        if not -1 <= low <= high <= 1:
            raise MulliganError(
                f"images are floats from {low:g} to {high:g}; they must lie in [0, 1] or [-1, 1], or be made uint8."
            )
        shift, factor = (0.0, 255.0) if low >= 0 else (1.0, 127.5)
        note = f"floats in [{'0' if low >= 0 else '-1'}, 1] became 0..255."
    else:
        if low < 0 or high > DEEP:
            raise MulliganError(
                f"images are {images.dtype} from {low} to {high}; integers must lie in 0..255, or 0..65535."
            )
        most = depth(int(high))
        if most == 255:
            return _as_bytes, ()
        shift, factor = 0.0, 255 / most
        note = "16-bit values were scaled to 8 bits."
        if most < DEEP:
            note = f"values of 16 bits hold {most.bit_length()} bits only: level {most:,} is taken for white."
    return partial(_linear, shift, factor), (note,)


def _as_bytes(images: np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    return images.astype(np.uint8, copy=False)


def _linear(shift: float, factor: float, images: np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    return np.round((images + shift) * factor).astype(np.uint8)


def _ground(images: np.ndarray, scale: Convert, background: Colour | None) -> tuple[Colour, tuple[str, ...]]:
    """The colour behind images with opacity, and a sentence on it."""
    if images.shape[3] != 4:
        return WHITE, ()
    some = scale(images[:: max(len(images) // LOOKED_AT, 1)])
    seen = [shares for image in some if (shares := visible(image)) is not None]
    ground, vanished = choose_ground(seen)
    counted = count_sentence(len(images), "image")
    if background is not None or not vanished or ground == WHITE:
        ground = background or WHITE
        return ground, (f"{counted} with opacity placed on the colour {ground}.",)
    reason = f"on white, {vanished:,} of {len(seen):,} could not be seen"
    return ground, (f"{counted} with opacity placed on the colour {ground}: {reason}.",)


def _composited(scale: Convert, ground: Colour, images: np.ndarray) -> UInt8[np.ndarray, "n h w 3"]:
    """Without opacity: `colour * alpha + ground * (1 - alpha)`."""
    levels = scale(images)
    alpha = levels[..., 3:] / np.float32(255)
    return np.round(levels[..., :3] * alpha + np.array(ground, np.float32) * (1 - alpha)).astype(np.uint8)


def from_mapping(
    arrays: Mapping[str, Any],
    where: str,
    background: Colour | None,
    groups: str | None = None,
    labels: ArrayLike | None = None,
) -> Collection:
    """A collection of named arrays, as an `.npz` holds them.

    Raises:
      MulliganError: nothing or several things could be the images, or what they mean cannot be told.
    """
    found = pick(arrays, where, groups)
    return collect(
        found.images,
        found.labels if labels is None else labels,
        found.split,
        found.classes,
        background,
        groups=found.groups,
    )
