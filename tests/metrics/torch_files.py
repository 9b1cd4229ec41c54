"""Files in PyTorch's zip format, written without PyTorch."""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of this name in a pickle, which only names it."""


class FloatStorage:
    """Stands for PyTorch's."""


class _Numbers:
    def __init__(self, key, count):
        self.key, self.count = key, count


class _Tensor:
    def __init__(self, key, array):
        self.key, self.array = key, array

    def __reduce__(self):
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        numbers = _Numbers(self.key, self.array.size)
        return _rebuild_tensor_v2, (numbers, 0, self.array.shape, strides, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return ("storage", FloatStorage, obj.key, "cpu", obj.count) if isinstance(obj, _Numbers) else None


def write(path, tensors, extra=None):
    """A state dictionary of float32 arrays; `extra` is pickled among them."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage, utils._rebuild_tensor_v2 = FloatStorage, _rebuild_tensor_v2
    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    _rebuild_tensor_v2.__module__ = "torch._utils"
    known = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        state = OrderedDict((name, _Tensor(str(number), array)) for number, (name, array) in enumerate(tensors.items()))
        if extra is not None:
            state["extra"] = extra
        described = io.BytesIO()
        _Pickler(described, 2).dump(state)
    finally:
        for name, module in known.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", described.getvalue())
        for number, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    return path
