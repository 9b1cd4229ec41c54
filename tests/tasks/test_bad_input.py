"""Each mistake meets one sentence that says what was wrong and what to do."""

import gzip
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, png, png_claiming, write_folder

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.images import read_task


def refused(source, kind=MulliganError, **options):
    """The sentence with which a source is refused."""
    with pytest.raises(MulliganError) as caught:
        read_task(source, **options)
    assert caught.type is kind
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def test_an_empty_folder(tmp_path):
    assert "is empty: it holds no files" in refused(tmp_path)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    assert "holds no images; a.txt (not an image in a known format)" in refused(tmp_path)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_folder_of_damaged_images(tmp_path, memory):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(noise(1, 32, 32)[0])[:-500])
    assert "holds no images" in refused(tmp_path, memory=memory)


def test_text_and_a_truncated_image_are_skipped_and_counted(tmp_path):
    images = noise(28, 16, 16)
    write_folder(tmp_path, images)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "torn.png").write_bytes(png(images[0])[:-300])
    task = read_task(tmp_path)
    assert sum(task.counts.values()) == 28
    assert task.notes[0].startswith("2 of 30 files skipped: torn.png (damaged")
    assert "notes.txt (not an image in a known format)" in task.notes[0]


def test_more_than_a_tenth_of_the_images_damaged_is_an_error(tmp_path):
    write_folder(tmp_path, noise(17, 16, 16))
    for number in range(2):
        (tmp_path / f"torn{number}.png").write_text("hello")
    sentence = refused(tmp_path)
    assert "2 of 19 image files" in sentence
    assert "more than a tenth: torn0.png" in sentence
    write_folder(tmp_path, noise(18, 16, 16))
    assert sum(read_task(tmp_path).counts.values()) == 18


def test_files_that_are_no_images_may_be_as_many_as_images(tmp_path):
    write_folder(tmp_path, noise(17, 16, 16))
    for number in range(30):
        (tmp_path / f"{number:03d}.xml").write_text("<box/>")
    assert sum(read_task(tmp_path).counts.values()) == 17
    for number in range(171):
        (tmp_path / f"{number:03d}.txt").write_text("hello")
    assert "only 17 of 218 files" in refused(tmp_path)


def test_one_image(tmp_path):
    task = read_task(write_folder(tmp_path, noise(1)))
    assert task.counts == {"train": 1, "validation": 0, "test": 0}
    assert "1 training image, too few to split: all of them train, with no validation or test split." in task.notes
    assert all(np.isfinite(list(task.descriptor.values())))


def test_twenty_images(tmp_path):
    task = read_task(write_folder(tmp_path, noise(20)))
    assert task.counts == {"train": 20, "validation": 0, "test": 0}
    assert task.judge("test")[0] == "train"


def test_identical_images(tmp_path):
    sentence = refused(write_folder(tmp_path, np.repeat(noise(1), 5, axis=0)))
    assert "all 5 images are identical" in sentence


@pytest.mark.parametrize(
    ("side", "reason"), [(10_000, "10000x10000 pixels, suspiciously large"), (20_000, "suspiciously many pixels")]
)
def test_a_decompression_bomb_among_images(tmp_path, side, reason):
    """Ours refuses the one, Pillow's own limit the other."""
    write_folder(tmp_path, noise(10))
    (tmp_path / "bomb.png").write_bytes(png_claiming(side))
    assert read_task(tmp_path).notes[0] == f"1 of 11 files skipped: bomb.png ({reason})."


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"])
def test_archives_that_lead_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", png(noise(1)[0]))
        archive.writestr(name, png(noise(1)[0]))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        (tmp_path / "file").write_bytes(png(noise(1)[0]))
        member = archive.gettarinfo(tmp_path / "file")
        member.name = name
        with (tmp_path / "file").open("rb") as file:
            archive.addfile(member, file)
    for packed in ("a.zip", "a.tar"):
        assert "which leads outside of the archive" in refused(tmp_path / packed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.zip", "file"]


def test_archives_with_an_absurd_ratio(tmp_path):
    (tmp_path / "zeros.bmp").write_bytes(bytes(20_000_000))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "zeros.bmp", "zeros.bmp")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "zeros.bmp", "zeros.bmp")
    for packed in ("a.zip", "a.tar.gz"):
        assert "as only a decompression bomb does" in refused(tmp_path / packed)


def test_damaged_and_encrypted_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", png(noise(1)[0]))
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "locked.zip").write_bytes(_flag_encrypted(whole))
    assert "is encrypted: unpack it and give the folder" in refused(tmp_path / "locked.zip")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.zip", "a.png")
    (tmp_path / "torn.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:200])
    assert "cannot be read as a tar" in refused(tmp_path / "torn.tar.gz")


def _flag_encrypted(content):
    entry = content.index(b"PK\x01\x02") + 8
    return content[:entry] + struct.pack("<H", 1) + content[entry + 2 :]


def test_a_tar_larger_than_memory(tmp_path):
    write_folder(tmp_path / "loose", noise(3))
    for name, kind in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, kind) as archive:
            archive.add(tmp_path / "loose", ".")
    assert "holds more than 0 bytes: unpack it and give the folder" in refused(tmp_path / "a.tar.gz", memory=0)
    assert sum(read_task(tmp_path / "a.tar", memory=0).counts.values()) == 3


class Harm:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Harm(tmp_path / "harm")] * 3), allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=np.array([Harm(tmp_path / "harm")] * 3))
    for name in ("a.npy", "a.npz"):
        assert "holds Python objects, which are never loaded" in refused(tmp_path / name)
    (tmp_path / "cifar").mkdir()
    batch = {b"data": Harm(tmp_path / "harm"), b"labels": []}
    (tmp_path / "cifar/data_batch_1").write_bytes(pickle.dumps(batch))
    assert "is refused as a CIFAR batch: it asks for posix.mkdir" in refused(tmp_path / "cifar")
    assert not (tmp_path / "harm").exists()


def test_cifar_batches_of_another_shape(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": np.zeros((3, 7), np.uint8), b"labels": [1, 2, 3]}))
    assert "data_batch_1 is no CIFAR-10 batch" in refused(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(b"\x80garbage")
    assert "data_batch_1 is refused as a CIFAR batch" in refused(tmp_path)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.full((3, 8, 8), np.nan), "not finite (NaN or infinity)"),
        (np.full((3, 8, 8), np.inf, np.float32), "not finite (NaN or infinity)"),
        (
            np.linspace(0, 255, 192).reshape(3, 8, 8),
            "images are floats from 0 to 255; they must lie in [0, 1]",
        ),
        (np.arange(192).reshape(3, 8, 8) - 5, "images are int64 from -5 to 186; integers must lie in 0..255"),
        (np.zeros((3, 8, 8), "U1"), "images are <U1; they must be numbers"),
        (np.zeros((8, 8), np.uint8), "images have the shape [8, 8]; they must be [n, h, w] or [n, h, w, c]"),
        (np.zeros((3, 8, 8, 2), np.uint8), "images have the shape [3, 8, 8, 2]"),
        (np.zeros((0, 8, 8), np.uint8), "there are no images in it"),
        (np.zeros((3, 4, 4), np.uint8), "the images are 4x4, and the networks work with sides from 8 to 256"),
        (np.zeros((3, 8, 300), np.uint8), "the images are 300x8"),
    ],
)
def test_arrays_that_cannot_be_images(images, sentence):
    assert sentence in refused(images)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"labels": np.arange(11)}, "there are 12 images but labels of shape [11]"),
        ({"labels": np.arange(12) / 2}, "labels are float64; they must be integers or text"),
        ({"labels": np.arange(12), "label_names": ["x"]}, "labels run from 0 to 11, but there are 1 class names"),
        ({"split": np.zeros(5, np.uint8)}, "there are 12 images but a 'split' of uint8 [5]"),
        ({"split": np.full(12, 3)}, "'split' holds 3"),
        ({"split": np.ones(12, np.uint8)}, "leaves no training images"),
    ],
)
def test_npz_that_contradicts_itself(tmp_path, arrays, sentence):
    np.savez(tmp_path / "a.npz", images=noise(12), **arrays)
    kind = UsageError if "labels" in arrays else MulliganError
    assert sentence in refused(tmp_path / "a.npz", kind, labels="labels" in arrays)
    if "labels" in arrays:
        assert any(sentence in note for note in read_task(tmp_path / "a.npz").notes)


def test_npz_without_images(tmp_path):
    np.savez(tmp_path / "a.npz", p=noise(3), q=noise(3))
    assert "several could be the images (p, q); call one of them 'images'" in refused(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", p=np.arange(3), q=np.arange(3))
    assert "no array of images" in refused(tmp_path / "a.npz")


def test_damaged_array_files(tmp_path):
    np.save(tmp_path / "a.npy", noise(3))
    np.savez(tmp_path / "a.npz", images=noise(3))
    for name in ("a.npy", "a.npz"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:150])
        assert "cannot be read as numpy arrays" in refused(path)


def test_arrays_larger_than_memory(tmp_path):
    """An .npz is refused, since it has to be read whole; an .npy is drawn from where it is."""
    np.save(tmp_path / "a.npy", noise(3))
    np.savez(tmp_path / "a.npz", images=noise(3))
    assert "more than the 100 allowed in memory" in refused(tmp_path / "a.npz", memory=100)
    task = read_task(tmp_path / "a.npy", memory=100)
    assert not task.train.in_memory
    np.testing.assert_array_equal(task.train.take(np.arange(3)).images, noise(3))
    assert task.hash == read_task(tmp_path / "a.npy").hash


def test_damaged_idx_files(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    header = struct.pack(">HBB3I", 0, 8, 3, 10, 8, 8)
    for content, sentence in (
        (header + bytes(100), "its header promises 640 bytes, not 100"),
        (b"\0", "cannot be read as an idx file"),
        (struct.pack(">HBB3I", 0, 13, 3, 1, 8, 8) + bytes(256), "is no idx file of unsigned bytes"),
        (b"\x1f\x8bgarbage", "cannot be read as an idx file"),
    ):
        path.write_bytes(content)
        assert sentence in refused(path)
    path.write_bytes(gzip.compress(header + bytes(20_000_000)))
    assert "as only a decompression bomb does" in refused(path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 5) + bytes(5))
    path.unlink()
    assert "the images that belong to it are not beside it" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digts", "did you mean 'digits'?"),
        ("glyphs/AA", "did you mean 'glyphs/A'?"),
        ("texture", "did you mean 'textures'?"),
        ("no/such", "say hf:no/such"),
        ("x" * 5000, "there is no file or folder"),
        ("a\0b", "there is no file or folder"),
        ("/nowhere/at/all", "there is no file or folder '/nowhere/at/all'"),
    ],
)
def test_names_that_do_not_exist(name, hint):
    assert hint in refused(name, UsageError)


def test_labels_that_are_not_there():
    assert "array has no labels: put the images of each class" in refused(noise(12), UsageError, labels=True)


def test_sizes_out_of_range():
    assert "size 5 is out of range" in refused(noise(12), UsageError, size=5)


def test_missing_extras(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert "cannot be read as parquet" in refused(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'mulligan[parquet]'" in refused(tmp_path)
    assert "pip install 'mulligan[datasets]'" in refused("hf:someone/pictures")


def test_a_parquet_file_that_points_elsewhere(tmp_path):
    """A path in a parquet file may name any file of this machine, so it is not followed."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "secret.png").write_bytes(png(noise(1)[0]))
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 3
    (tmp_path / "set").mkdir()
    parquet.write_table(arrow.table({"image": cells}), tmp_path / "set/a.parquet")
    assert "holds no images; a.parquet#0 (the row holds no bytes)" in refused(tmp_path / "set")


def test_a_parquet_file_without_images(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"x": [1, 2]}), tmp_path / "a.parquet")
    assert "has no column of encoded images; its columns are x" in refused(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    """Permissions do not bind a superuser, so the refusal is staged."""

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    assert "cannot be read: Permission denied" in refused(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def forbidden(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a.tar").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", forbidden)
    assert "a.tar cannot be read: Permission denied" in refused(tmp_path / "a.tar")


def test_what_is_neither_a_file_nor_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a file nor a folder" in refused(tmp_path / "pipe", UsageError)
    write_folder(tmp_path, noise(3))
    assert len(read_task(tmp_path).train) == 3
