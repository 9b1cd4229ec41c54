"""Arrays to a collection: any layout and dtype that can be told without guessing, `.npy` and `.npz`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.framing import WHITE, Colour
from mulligan.tasks.splits import count_sentence


def collect(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    split: np.ndarray | None = None,
    classes: tuple[str, ...] | None = None,
    background: Colour = WHITE,
) -> Collection:
    """A collection of an array of images.

    Args:
      images: `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` with 1, 3 or 4 channels. uint8; other integers and
        booleans that fit; 16-bit; floats, all in [0, 1] or all in [-1, 1]. A fourth channel is opacity.
      labels: integers `[n]`.
      split: codes `[n]`: 0 train, 1 test, 2 validation.
      classes: names, indexed by the labels.
      background: colour behind transparent pixels.

    Raises:
      MulliganError: what the images mean cannot be told, they are not finite, or lengths differ.

    Example:
      >>> collect(np.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8)).images.dtype
      dtype('uint8')
    """
    arranged, layout_notes = _arranged(images)
    scaled, scale_notes = _scaled(arranged)
    opaque, alpha_notes = _composited(scaled, background)
    numbered, names = (None, None) if labels is None else number_classes(labels, len(opaque), classes)
    if split is not None and (split.shape != (len(opaque),) or not np.issubdtype(split.dtype, np.integer)):
        raise MulliganError(
            f"there are {len(opaque):,} images but a 'split' of {split.dtype} {list(split.shape)}: give a code each."
        )
    notes = (*layout_notes, *scale_notes, *alpha_notes)
    return Collection(np.ascontiguousarray(opaque), numbered, split, names, notes)


def read_npy(path: Path, memory: int, background: Colour) -> Collection:
    """Reads one array of images; never unpickles."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        _refuse_large(path, images.nbytes, memory)
        return collect(np.asarray(images), background=background)
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, error) from error


def read_npz(path: Path, memory: int, background: Colour) -> Collection:
    """Reads `images` of an `.npz`, and `labels`, `split` and `label_names` where they are there.

    An archive with a single array needs no names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_large(path, sum(entry.file_size for entry in archive.infolist()), memory)
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            key = names[0] if len(names) == 1 else "images"
            if key not in names:
                raise MulliganError(f"{path} holds {', '.join(names) or 'nothing'}, but no array called 'images'.")
            labels, split, classes = (arrays.get(name) for name in ("labels", "split", "label_names"))
            images = arrays[key]
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return collect(images, labels, split, None if classes is None else tuple(map(str, classes)), background)


def _refuse_large(path: Path, size: int, memory: int) -> None:
    if size > memory:
        raise MulliganError(
            f"{path} holds {size:,} bytes, more than the {memory:,} allowed in memory: save the images "
            "as files in a folder, which streams."
        )


def _unreadable(path: Path, error: Exception) -> MulliganError:
    if "allow_pickle" in str(error) or "Python objects" in str(error):  # numpy's words, loading and mapping
        return MulliganError(f"{path} holds Python objects, which are never loaded: save an array of numbers instead.")
    return MulliganError(f"{path} cannot be read as numpy arrays: {error}.")


def _arranged(images: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `[n, h, w, c]`, whichever of the known layouts it has."""
    channels = (1, 3, 4)
    if images.ndim == 3:
        return images[..., None], ()
    if images.ndim == 4 and images.shape[3] in channels:
        return images, ()
    if images.ndim == 4 and images.shape[1] in channels:
        return images.transpose(0, 2, 3, 1), ("the channels came first and were moved last.",)
    raise MulliganError(
        f"images have the shape {list(images.shape)}; they must be [n, h, w] or [n, h, w, c] with 1, 3 or 4 channels."
    )


def _scaled(images: np.ndarray) -> tuple[UInt8[np.ndarray, "n h w c"], tuple[str, ...]]:
    """As uint8 in [0, 255], with a sentence when the values were changed."""
    if images.dtype == np.uint8 or not images.size:
        return images.astype(np.uint8, copy=False), ()
    if images.dtype == bool:
        return images * np.uint8(255), ("booleans became 0 and 255.",)
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise MulliganError(f"images are {images.dtype}; they must be numbers: uint8, or floats in [0, 1] or [-1, 1].")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise MulliganError("images hold values that are not finite (NaN or infinity): clean them first.")
    if np.issubdtype(images.dtype, np.floating):
        return _scaled_floats(images, float(low), float(high))
    if low >= 0 and high <= 255:
        return images.astype(np.uint8), ()
    if low >= 0 and high <= 65535:
        return np.round(images / 257.0).astype(np.uint8), ("16-bit values were scaled to 8 bits.",)
    raise MulliganError(f"images are {images.dtype} from {low} to {high}; integers must lie in 0..255, or 0..65535.")


def _scaled_floats(images: np.ndarray, low: float, high: float) -> tuple[UInt8[np.ndarray, "n h w c"], tuple[str, ...]]:
    if low >= 0 and high <= 1:
        return np.round(images * 255.0).astype(np.uint8), ("floats in [0, 1] became 0..255.",)
    if low >= -1 and high <= 1:
        return np.round((images + 1.0) * 127.5).astype(np.uint8), ("floats in [-1, 1] became 0..255.",)
    raise MulliganError(
        f"images are floats from {low:g} to {high:g}; they must lie in [0, 1] or [-1, 1], or be made uint8."
    )


def _composited(
    images: UInt8[np.ndarray, "n h w c"], background: Colour
) -> tuple[UInt8[np.ndarray, "n h w c2"], tuple[str, ...]]:
    """Without opacity: `colour * alpha + background * (1 - alpha)`."""
    if images.shape[3] != 4:
        return images, ()
    alpha = images[..., 3:] / np.float32(255)
    blended = images[..., :3] * alpha + np.array(background, np.float32) * (1 - alpha)
    counted = count_sentence(len(images), "image")
    return np.round(blended).astype(np.uint8), (f"{counted} with opacity placed on the colour {background}.",)
