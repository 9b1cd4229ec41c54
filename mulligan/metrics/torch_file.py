"""Tensors in PyTorch's zip format, read without running anything that the file names.

Such a file holds a pickle that says which tensors there are, and their bytes beside it. The pickle's instructions are
followed one by one here, as far as tensors and dictionaries of them need; a file that asks for more is refused.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulligan.errors import MulliganError

STORAGES = {  # of a tensor's numbers, little-endian
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}
DICTIONARY = "collections OrderedDict"
TENSOR, PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
ALLOWED = {*STORAGES, DICTIONARY, TENSOR, PARAMETER}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
IGNORED = ("PROTO", "FRAME", "STOP")


class Global(NamedTuple):
    """Something that the pickle names; never looked up."""

    name: str


class Storage(NamedTuple):
    """Where the numbers of a tensor are: a member of the zip."""

    dtype: np.dtype
    member: str


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
            tensors = _Machine(archive, described.removesuffix("data.pkl")).run(archive.read(described))
    except FileNotFoundError as error:
        raise MulliganError(f"there is no file {path}.") from error
    except _RefusedError as error:
        raise MulliganError(f"{path} holds code ({error}), which no file of weights needs: it is not read.") from error
    except (zipfile.BadZipFile, EOFError, OSError, KeyError, IndexError, ValueError, TypeError) as error:
        raise MulliganError(f"{path} is damaged or no file of weights in PyTorch's zip format: {error}.") from error
    return tensors


class _Machine:
    """The few instructions of a pickle that build dictionaries of tensors."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        self.archive, self.folder = archive, folder
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def run(self, code: bytes) -> dict[str, np.ndarray]:
        """What the instructions build."""
        for instruction, argument, _ in pickletools.genops(code):
            self._do(instruction.name, argument)
        (built,) = self.stack
        if not isinstance(built, dict):
            raise ValueError("it holds no dictionary of tensors")
        return {name: value for name, value in built.items() if isinstance(value, np.ndarray)}

    def _do(self, name: str, argument: Any) -> None:
        if name in IGNORED:
            return
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memory[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[argument])
        elif name == "GLOBAL":
            self.stack.append(_allowed(argument))
        elif name in _STEPS:
            _STEPS[name](self)
        else:
            raise _RefusedError(f"the instruction {name}")

    def pop_to_mark(self) -> list[Any]:
        """Everything since the last mark."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def pop(self, count: int) -> list[Any]:
        """The last `count` values, oldest first."""
        found = self.stack[len(self.stack) - count :]
        if len(found) < count:
            raise ValueError("its instructions do not fit together")
        del self.stack[len(self.stack) - count :]
        return found

    def storage(self, identity: Sequence[Any]) -> Storage:
        """A persistent identity: `("storage", type, key, device, numel)`."""
        kind, (name,), key = identity[:3]
        if kind != "storage" or name not in STORAGES:
            raise _RefusedError(str(name))
        return Storage(STORAGES[name], f"{self.folder}data/{key}")

    def reduce(self, function: Any, arguments: Sequence[Any]) -> Any:
        """The few calls that are understood."""
        name = function.name if isinstance(function, Global) else ""
        if name == DICTIONARY:
            return {}
        if name == PARAMETER:
            return arguments[0]
        if name == TENSOR:
            return self.tensor(*arguments[:4])
        raise _RefusedError(f"a call of {name or function}")

    def tensor(self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
        """A tensor's numbers, copied out of the file."""
        numbers = np.frombuffer(self.archive.read(storage.member), storage.dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min([offset, *shape, *strides]) < 0 or (0 not in shape and last >= len(numbers)):
            raise ValueError("a tensor is larger than its numbers")
        steps = [stride * storage.dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(numbers[offset:], tuple(shape), steps).copy()


def _allowed(argument: str) -> Global:
    if argument not in ALLOWED:
        raise _RefusedError(argument.replace(" ", "."))
    return Global(argument)


def _set_items(machine: _Machine) -> None:
    pairs = machine.pop_to_mark()
    machine.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _set_item(machine: _Machine) -> None:
    key, value = machine.pop(2)
    machine.stack[-1][key] = value


def _build(machine: _Machine) -> None:
    """Attributes of a dictionary, which PyTorch keeps versions in: not needed."""
    machine.pop(1)


def _reduce(machine: _Machine) -> None:
    function, arguments = machine.pop(2)
    machine.stack.append(machine.reduce(function, arguments))


_STEPS: dict[str, Callable[[_Machine], None]] = {
    "MARK": lambda machine: machine.marks.append(len(machine.stack)),
    "EMPTY_DICT": lambda machine: machine.stack.append({}),
    "EMPTY_LIST": lambda machine: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine: machine.stack.append(()),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine: machine.stack.append(tuple(machine.pop(1))),
    "TUPLE2": lambda machine: machine.stack.append(tuple(machine.pop(2))),
    "TUPLE3": lambda machine: machine.stack.append(tuple(machine.pop(3))),
    "BINPERSID": lambda machine: machine.stack.append(machine.storage(machine.pop(1)[0])),
    "SETITEMS": _set_items,
    "SETITEM": _set_item,
    "BUILD": _build,
    "REDUCE": _reduce,
}
