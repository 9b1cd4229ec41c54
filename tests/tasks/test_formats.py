"""Formats of data: every entry of the table is told by its name, read by `read_task`, and documented."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import write_folder

from mulligan.errors import MulliganError
from mulligan.tasks.formats import FORMATS, IMAGE_FILES, format_of
from mulligan.tasks.images import read_task

TASKS = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text()
GREY = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)


def write_npy(folder):
    np.save(folder / "some.npy", GREY)
    return folder / "some.npy"


def write_npz(folder):
    np.savez(folder / "some.npz", images=GREY)
    return folder / "some.npz"


def write_idx(folder):
    header = struct.pack(">HBBIII", 0, 8, 3, *GREY.shape)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + GREY.tobytes()))
    return folder / "train-images-idx3-ubyte.gz"


def write_cifar(folder):
    rows = np.random.default_rng(0).integers(0, 256, (12, 3072), np.uint8)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": rows, b"labels": [0] * 12}))
    return folder / "data_batch_1"


def write_parquet(folder):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from mulligan.grid import png

    encoded = [{"bytes": png(image[..., None])} for image in GREY]
    parquet.write_table(arrow.table({"image": encoded}), folder / "train.parquet")
    return folder / "train.parquet"


def write_packed(folder):
    pytest.importorskip("array_record")
    from mulligan.api import pack

    return pack(GREY[..., None], folder) / "pack.json"


WRITERS = {
    "pack": write_packed,
    "npy": write_npy,
    "npz": write_npz,
    "idx": write_idx,
    "CIFAR-10": write_cifar,
    "parquet": write_parquet,
}


@pytest.mark.parametrize("name", FORMATS)
class TestEvery:
    def test_is_told_by_name_and_read_by_itself(self, name, tmp_path):
        path = WRITERS[name](tmp_path)
        assert format_of(path.name) is FORMATS[name]
        task = read_task(path)
        assert sum(task.counts.values()) == 12
        assert not any(task.name.endswith(suffix) for suffix in FORMATS[name].suffixes)

    def test_is_read_from_a_folder_unless_it_stands_alone(self, name, tmp_path):
        WRITERS[name](tmp_path)
        if not FORMATS[name].alone:
            assert sum(read_task(tmp_path).counts.values()) == 12

    def test_takes_labels_or_refuses_them(self, name, tmp_path):
        path, labels = WRITERS[name](tmp_path), [0, 1] * 6
        if FORMATS[name].takes_labels:
            assert read_task(path, labels=labels).classes is not None
        else:
            with pytest.raises(MulliganError, match="say labels=True"):
                read_task(path, labels=labels)

    def test_is_documented(self, name, tmp_path):
        assert name in TASKS


def test_a_pack_json_of_another_program_makes_no_pack(tmp_path):
    write_folder(tmp_path, GREY[..., None])
    (tmp_path / "pack.json").write_text('{"frames": {}}')
    assert sum(read_task(tmp_path).counts.values()) == 12


def test_what_is_of_no_other_format_is_taken_for_images():
    assert format_of("holiday.jpeg") is IMAGE_FILES
