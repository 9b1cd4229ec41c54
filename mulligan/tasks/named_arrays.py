"""Which of several named arrays are images, labels and splits: by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mulligan.errors import MulliganError
from mulligan.tasks.layout import SPLIT_WORDS
from mulligan.tasks.splits import TRAIN

IMAGE_WORDS = {"images", "image", "imgs", "img", "x", "data", "pixels", "samples", "pictures", "frames"}
LABEL_WORDS = {"labels", "label", "y", "targets", "target", "classes", "class"}
NAME_KEYS = ("label_names", "class_names", "classes_names", "target_names", "names", "classes")


class Picked(NamedTuple):
    """The arrays of a data set, its parts one after the other."""

    images: np.ndarray
    labels: np.ndarray | None
    split: np.ndarray | None
    classes: tuple[str, ...] | None
    groups: np.ndarray | None


def pick(arrays: Mapping[str, Any], where: str, groups: str | None = None) -> Picked:
    """Picks images, labels, split and class names out of named arrays.

    `images`, `labels`, `split` and `label_names`; or others that people use, with the parts in the names: `x_train`,
    `y_train`, `x_test`; or `train_images`, `val_images`. Where no name helps, the only array with the shape of images
    is the images, and the only integers of their number the labels.

    Args:
      arrays: name to array, or to what becomes one.
      where: the source, for messages.
      groups: name of the array of groups.

    Raises:
      MulliganError: nothing or several things could be the images.

    Example:
      >>> found = pick({"x_train": np.zeros((5, 8, 8)), "x_test": np.ones((2, 8, 8))}, "a dict")
      >>> found.images.shape, found.split.tolist()
      ((7, 8, 8), [0, 0, 0, 0, 0, 1, 1])
    """
    meanings = {name: _meaning(name) for name in arrays}
    parts = {code: name for name, (kind, code) in meanings.items() if kind == "image" and code is not None}
    plain = [name for name, (kind, code) in meanings.items() if kind == "image" and code is None]
    grouped = None
    if groups is not None:
        if groups not in arrays:
            raise MulliganError(f"{where} has no array {groups!r} of groups; it holds {', '.join(arrays)}.")
        grouped = np.asarray(arrays[groups])
    classes = next((_names(arrays[name]) for name in NAME_KEYS if name in arrays and _names(arrays[name])), None)
    if TRAIN in parts and not plain:
        labels = {code: name for name, (kind, code) in meanings.items() if kind == "label" and code is not None}
        return _joined(arrays, parts, labels, classes, grouped, where)
    image = _images(arrays, plain, where)
    images = np.asarray(arrays[image])
    labels = _labels(arrays, meanings, image, len(images))
    split = np.asarray(arrays["split"]) if "split" in arrays else None
    return Picked(images, labels, split, classes, grouped)


def _meaning(name: str) -> tuple[str | None, int | None]:
    """What a name says of an array: `image` or `label`, and its split."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    # xtrain is x and train.
    words = [part for word in words for part in ((word[0], word[1:]) if word[1:] in SPLIT_WORDS else (word,))]
    codes = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    rest = [word for word in words if word not in SPLIT_WORDS]
    kind = "image" if rest and set(rest) <= IMAGE_WORDS else "label" if rest and set(rest) <= LABEL_WORDS else None
    return kind, codes[0] if len(codes) == 1 else None


def _images(arrays: Mapping[str, Any], named: list[str], where: str) -> str:
    """The name of the images."""
    if "images" in arrays:
        return "images"
    if len(arrays) == 1:
        return next(iter(arrays))
    shaped = [name for name in arrays if np.ndim(np.asarray(arrays[name])) in (3, 4)]
    fitting = [name for name in named if name in shaped] or shaped
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(f"{name} {list(np.shape(np.asarray(arrays[name])))}" for name in arrays) or "nothing"
    several = f"several could be the images ({', '.join(fitting)})" if fitting else "no array of images"
    raise MulliganError(f"{where} holds {found}: {several}; call one of them 'images'.")


def _labels(
    arrays: Mapping[str, Any], meanings: Mapping[str, tuple[str | None, int | None]], image: str, n: int
) -> np.ndarray | None:
    if "labels" in arrays:
        return np.asarray(arrays["labels"])
    named = [name for name, (kind, _) in meanings.items() if kind == "label" and name not in ("split", image)]
    held = {name: np.asarray(arrays[name]) for name in arrays if name != image}
    fitting = [name for name in named if held[name].ndim in (1, 2) and len(held[name]) == n]
    if not fitting and not named:
        fitting = [name for name, array in held.items() if array.shape == (n,) and array.dtype.kind in "iuU"]
        fitting = [name for name in fitting if name.startswith("arr_")]  # of arrays with other names, what is unsaid
    return held[fitting[0]] if len(fitting) == 1 else None


def _names(value: Any) -> tuple[str, ...] | None:
    """Class names, if they are text."""
    names = np.asarray(value)
    if names.ndim != 1 or names.dtype.kind not in "USO":
        return None
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names.tolist())


def _joined(
    arrays: Mapping[str, Any],
    parts: dict[int, str],
    labels: dict[int, str],
    classes: tuple[str, ...] | None,
    groups: np.ndarray | None,
    where: str,
) -> Picked:
    """The parts of a data set as one, with the split that they make."""
    images = {code: np.asarray(arrays[name]) for code, name in parts.items()}
    if len({part.shape[1:] for part in images.values()}) > 1:
        shapes = ", ".join(f"{parts[code]} {list(part.shape)}" for code, part in images.items())
        raise MulliganError(f"{where} holds parts of different shapes: {shapes}.")
    numbers = {code: np.asarray(arrays[labels[code]]) for code in parts if code in labels}
    codes = np.repeat(list(images), [len(part) for part in images.values()])
    whole = len(numbers) == len(parts) and all(len(numbers[code]) == len(images[code]) for code in parts)
    return Picked(
        np.concatenate(list(images.values())),
        np.concatenate([numbers[code] for code in parts]) if whole else None,
        codes if len(parts) > 1 else None,
        classes,
        groups,
    )
