"""Tensors in PyTorch's zip format, read without running anything that the file names.

Such a file holds a pickle that says which tensors there are, and their bytes beside it. The pickle may call the few
functions here; a file that asks for more is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulligan.errors import MulliganError

STORAGES = {  # of a tensor's numbers, little-endian
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class Storage(NamedTuple):
    """Where the numbers of a tensor are: a member of the zip."""

    dtype: np.dtype
    member: str


class StateDict(dict):
    """In place of an `OrderedDict`; PyTorch gives it attributes, which are not needed."""


class _RefusedError(Exception):
    """The file asks for something that no file of tensors needs."""


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary by name.

    Raises:
      MulliganError: no such file, not of this format, damaged, or one that holds code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            described = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if described is None:
                raise MulliganError(f"{path} is a zip, but none that PyTorch wrote: it has no data.pkl.")
            content = _TensorUnpickler(archive, described.removesuffix("data.pkl")).load()
        if not isinstance(content, dict):
            raise ValueError("it holds no dictionary of tensors")
    except FileNotFoundError as error:
        raise MulliganError(f"there is no file {path}.") from error
    except _RefusedError as error:
        raise MulliganError(f"{path} holds code ({error}), which no file of weights needs: it is not read.") from error
    except MulliganError:
        raise
    except Exception as error:  # a pickle of hostile bytes raises whatever it likes
        raise MulliganError(f"{path} is damaged or no file of weights in PyTorch's zip format: {error}.") from error
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


class _TensorUnpickler(pickle.Unpickler):
    """Knows storages, tensors and dictionaries of them; everything else is refused before it is looked up."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a function or class that the pickle names.

        Raises:
          _RefusedError: it is none that tensors need.
        """
        known = {f"torch.{storage}": dtype for storage, dtype in STORAGES.items()} | {
            "collections.OrderedDict": StateDict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
        }
        if f"{module}.{name}" not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Storage:
        """A storage, named by `("storage", type, key, device, numel)`.

        Raises:
          _RefusedError: it names something else.
        """
        kind, dtype, key = pid[:3]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise _RefusedError(str(kind))
        return Storage(dtype, f"{self.folder}data/{key}")

    def _tensor(
        self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
    ) -> np.ndarray:
        """A tensor's numbers, copied out of the file."""
        numbers = np.frombuffer(self.archive.read(storage.member), storage.dtype)
        # Strides come from the file: checked against the bytes, for `as_strided` would read any memory.
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min([offset, *shape, *strides]) < 0 or (0 not in shape and last >= len(numbers)):
            raise ValueError("a tensor is larger than its numbers")
        steps = [stride * storage.dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(numbers[offset:], tuple(shape), steps).copy()
