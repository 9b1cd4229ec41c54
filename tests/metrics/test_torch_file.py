"""Weights out of PyTorch's zip format: tensors come out, code is refused, damage is told."""

import os

import numpy as np
import pytest
import torch_files

from mulligan.errors import MulliganError
from mulligan.metrics.torch_file import read_torch_file

TENSORS = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "a.bias": np.ones(3, np.float32)}


def test_tensors_come_out_as_they_are(tmp_path):
    found = read_torch_file(torch_files.write(tmp_path / "w.pth", TENSORS))
    assert list(found) == list(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name], array)


class Code:
    """Pickled as a call of `os.mkdir`, under whichever module the system has it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_is_refused_and_not_run(tmp_path):
    path = torch_files.write(tmp_path / "bad.pth", TENSORS, extra=Code(str(tmp_path / "made")))
    with pytest.raises(MulliganError, match=r"bad\.pth holds code \(\w+\.mkdir\), which no file of weights needs"):
        read_torch_file(path)
    assert not (tmp_path / "made").exists()


def test_a_tensor_larger_than_its_numbers_is_damage(tmp_path):
    path = torch_files.write(tmp_path / "w.pth", TENSORS)
    short = {name: array[:1].copy() for name, array in TENSORS.items()}
    import zipfile

    with zipfile.ZipFile(path) as archive:
        described = archive.read("archive/data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", described)
        for number, array in enumerate(short.values()):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    with pytest.raises(MulliganError, match="larger than its numbers"):
        read_torch_file(path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_file_and_what_is_none(kept, tmp_path):
    whole = torch_files.write(tmp_path / "w.pth", TENSORS).read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(MulliganError, match=r"w\.pth is damaged or no file of weights"):
        read_torch_file(tmp_path / "w.pth")


def test_something_else(tmp_path):
    (tmp_path / "x.pth").write_text("hello")
    with pytest.raises(MulliganError, match="is damaged or no file of weights in PyTorch's zip format"):
        read_torch_file(tmp_path / "x.pth")
    with pytest.raises(MulliganError, match="there is no file"):
        read_torch_file(tmp_path / "y.pth")
