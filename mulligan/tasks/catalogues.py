"""Data sets by the names that other libraries have for them, `keras:mnist` or `tfds:mnist`; offline where cached."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mulligan.errors import MulliganError, UsageError, first_line, optional_import
from mulligan.tasks.arrays import collect
from mulligan.tasks.collection import Collection
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION

KERAS_NAMES = ("mnist", "fashion_mnist", "cifar10", "cifar100")
SPLITS = {"train": TRAIN, "test": TEST, "validation": VALIDATION}


def read_catalogue(name: str) -> Collection:
    """The images of `keras:NAME` or `tfds:NAME`.

    Raises:
      UsageError: Keras has no such data set.
      MulliganError: the library is not installed, or the data set is not on this machine and cannot be fetched.
    """
    library, _, wanted = name.partition(":")
    return CATALOGUES[library](wanted)


def is_catalogued(name: str) -> bool:
    """Whether a name is one of these.

    Example:
      >>> is_catalogued("keras:mnist"), is_catalogued("hf:owner/name")
      (True, False)
    """
    return name.partition(":")[0] in CATALOGUES and ":" in name


def _read_keras(name: str) -> Collection:
    if name not in KERAS_NAMES:
        raise UsageError(f"Keras has no data set of images {name!r}; choose keras:{', keras:'.join(KERAS_NAMES)}.")
    with optional_import("Keras", f"keras:{name}", "keras"):
        datasets: Any = importlib.import_module("keras.datasets")
    (images, labels), (more, more_labels) = _fetched(f"keras:{name}", getattr(datasets, name).load_data)
    split = np.repeat([TRAIN, TEST], [len(images), len(more)])
    return collect(np.concatenate([images, more]), np.concatenate([labels, more_labels]).ravel(), split)


def _read_tfds(name: str) -> Collection:
    with optional_import("tensorflow-datasets", f"tfds:{name}", "tfds"):
        library: Any = importlib.import_module("tensorflow_datasets")
    sources = _fetched(f"tfds:{name}", lambda: library.data_source(name))
    images, labels, split = [], [], []
    for part, examples in sources.items():
        for example in examples:
            if "image" not in example:
                raise MulliganError(f"tfds:{name} holds no images: its examples have {', '.join(example)}.")
            images.append(np.asarray(example["image"]))
            labels.append(example.get("label"))
            split.append(SPLITS.get(part, TRAIN))
    if len({image.shape for image in images}) > 1:
        raise MulliganError(f"the images of tfds:{name} differ in size: save them to a folder, and give that.")
    known = all(label is not None for label in labels)
    return collect(np.stack(images), np.array(labels) if known else None, np.array(split))


def _fetched(name: str, load: Callable[[], Any]) -> Any:
    """What the library loads; from its cache, or from elsewhere."""
    try:
        return load()
    except Exception as error:  # network, disk, an unknown name: whatever the library raises
        reason = first_line(error)
        raise MulliganError(
            f"{name} is not on this machine and could not be fetched ({reason}): without a network, put the library's "
            "cache folder in place, or give a file or folder of images."
        ) from error


CATALOGUES: dict[str, Callable[[str], Collection]] = {"keras": _read_keras, "tfds": _read_tfds}
