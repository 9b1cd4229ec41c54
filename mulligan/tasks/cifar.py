"""CIFAR-10 python batches (Krizhevsky 2009), unpickled without running anything that the pickle names."""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np

from mulligan.errors import MulliganError
from mulligan.tasks.arrays import collect
from mulligan.tasks.collection import Collection
from mulligan.tasks.source import Source
from mulligan.tasks.splits import TEST, TRAIN
from mulligan.tasks.stored import StoredFile, UnreadableError

BATCH = re.compile(r"(^|/)(data_batch_\d+|test_batch)$")
ALLOWED = {  # all that a pickled array of numbers needs, under its old and its new address
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        # NumPy 2 moved its modules, and batches that older versions pickled ask for the old address.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def is_cifar(name: str) -> bool:
    """Whether a file is called like a batch, as `cifar-10-batches-py/data_batch_1`."""
    return BATCH.search(name) is not None


def read_cifar(source: Source) -> Collection:
    """Reads all batches found; `test_batch` is the test split, and `batches.meta` names the classes.

    Raises:
      MulliganError: a file is damaged, is no batch, or holds anything but numbers.
    """
    files = source.listing.files
    batches = [file for file in files if is_cifar(file.name)]
    contents = []
    for file in batches:
        content = _unpickle(file)
        data: Any = content.get(b"data")
        numbers: Any = content.get(b"labels")
        bytes_and_labels = isinstance(data, np.ndarray) and data.dtype == np.uint8 and isinstance(numbers, list)
        if not bytes_and_labels or data.shape != (len(numbers), 3072):
            raise MulliganError(f"{file.name} is no CIFAR-10 batch: it needs rows of 3072 bytes, with labels.")
        contents.append(content)
    rows = np.concatenate([content[b"data"] for content in contents])
    labels = np.concatenate([content[b"labels"] for content in contents]).astype(np.int32)
    lengths = [len(content[b"data"]) for content in contents]
    codes = [TEST if file.name.endswith("test_batch") else TRAIN for file in batches]
    split = np.repeat(codes, lengths) if TRAIN in codes else None
    names = [_unpickle(file)[b"label_names"] for file in files if file.name.endswith("batches.meta")]
    classes = tuple(name.decode() for name in names[0]) if names else None
    return collect(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels, split, classes)


def _unpickle(file: StoredFile) -> dict[bytes, Any]:
    """The dictionary in a batch, its keys as bytes whatever Python wrote it."""
    try:
        content = _ArrayUnpickler(io.BytesIO(file.read()), encoding="bytes").load()
        return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}
    except UnreadableError as error:
        raise MulliganError(f"{file.name} cannot be read: {error}.") from error
    except Exception as error:  # a pickle of hostile bytes raises whatever it likes
        raise MulliganError(f"{file.name} is refused as a CIFAR batch: {error}.") from error
