"""A pack is the same task as the images that it was made of, and is opened without looking at them."""

import pickle
import sys
import zipfile

import numpy as np
import pytest
from pictures import noise, write_folder

from mulligan.api import pack
from mulligan.errors import MulliganError
from mulligan.tasks import pack as module
from mulligan.tasks.images import read_task

pytest.importorskip("array_record")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(module, "SHARD", 16)
    monkeypatch.setattr(module, "BLOCK", 5)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pictures", noise(60, 12, 8), [f"{'ab'[n % 2]}/{n:03d}.png" for n in range(60)])


@pytest.mark.parametrize("size", [None, 16])
def test_a_pack_is_the_same_task(folder, tmp_path, monkeypatch, size):
    pack(folder, tmp_path / "packed", size=size)
    made = read_task(folder, labels=True, size=size)
    for module_of_digests in ("collection", "streaming"):
        monkeypatch.setattr(f"mulligan.tasks.{module_of_digests}.digests_of", lambda *_: pytest.fail("hashed again"))
    packed = read_task(tmp_path / "packed", labels=True)
    assert not packed.train.in_memory
    assert (packed.hash, packed.shape, packed.counts, packed.classes) == (
        made.hash, made.shape, made.counts, made.classes
    )  # fmt: skip
    every = np.arange(len(made.train))
    for one, other in zip(made.train.take(every[::-1]), packed.train.take(every[::-1]), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other, _ in zip(made.train.batches(3, 7, 9), packed.train.batches(3, 7, 9), range(9), strict=False):
        np.testing.assert_array_equal(one.images, other.images)


def test_what_is_packed_keeps_its_splits_and_can_be_sent_to_another_process(tmp_path):
    np.savez(tmp_path / "a.npz", images=noise(60), labels=np.arange(60) // 3 % 3, split=np.arange(60) % 3)
    pack(tmp_path / "a.npz", tmp_path / "packed")
    made, packed = read_task(tmp_path / "a.npz", labels=True), read_task(tmp_path / "packed", labels=True)
    assert packed.counts == made.counts == {"train": 20, "validation": 20, "test": 20}
    sent = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(sent.test.sample(9, 0), made.test.sample(9, 0))


def test_an_interrupted_pack_goes_on(folder, tmp_path):
    def stop(done, n):
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "packed", progress=stop)
    with pytest.raises(MulliganError):
        read_task(tmp_path / "packed")
    first = min((tmp_path / "packed").glob("*.array_record"))
    written = first.stat().st_mtime_ns
    pack(folder, tmp_path / "packed")
    assert first.stat().st_mtime_ns == written
    assert read_task(tmp_path / "packed").hash == read_task(folder).hash


def test_a_pack_that_was_killed_while_it_wrote_its_arrays_goes_on(folder, tmp_path):
    pack(folder, tmp_path / "packed")
    (tmp_path / "packed" / module.DOCUMENT).unlink()
    content = (tmp_path / "packed" / module.ARRAYS).read_bytes()
    for left in (0, len(content) // 2):
        (tmp_path / "packed" / module.ARRAYS).write_bytes(content[:left])
        pack(folder, tmp_path / "packed")
        assert read_task(tmp_path / "packed").hash == read_task(folder).hash
        (tmp_path / "packed" / module.DOCUMENT).unlink()


def test_a_folder_that_holds_a_pack_is_refused_before_anything_is_read(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "packed")
    monkeypatch.setattr("mulligan.tasks.images.read_collection", lambda *_: pytest.fail("read"))
    with pytest.raises(MulliganError, match="holds a pack already"):
        pack(folder, tmp_path / "packed")


def test_a_missing_library_is_told_before_anything_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    monkeypatch.setattr("mulligan.tasks.images.read_collection", lambda *_: pytest.fail("read"))
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[pack\]'"):
        pack(folder, tmp_path / "packed")


def test_an_unfinished_pack_of_other_images_is_refused(folder, tmp_path):
    pack(folder, tmp_path / "packed")
    (tmp_path / "packed" / module.DOCUMENT).unlink()
    with pytest.raises(MulliganError, match="holds a pack of other images"):
        pack(noise(60, 12, 8), tmp_path / "packed")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write() failed")])
def test_a_disk_that_is_full_is_told_in_a_sentence(folder, tmp_path, monkeypatch, error):
    class Full:
        def __init__(self, *_):
            raise error

    monkeypatch.setattr("array_record.python.array_record_module.ArrayRecordWriter", Full)
    with pytest.raises(MulliganError, match=r"cannot write .*array_record: .*(No space|failed)"):
        pack(folder, tmp_path / "packed")


@pytest.mark.parametrize("lost", ["images-00001-of-00004.array_record", module.ARRAYS])
def test_a_pack_that_is_not_whole_is_refused(folder, tmp_path, lost):
    pack(folder, tmp_path / "packed")
    (tmp_path / "packed" / lost).unlink()
    with pytest.raises(MulliganError, match=f"not whole: {lost}"):
        read_task(tmp_path / "packed")


@pytest.mark.parametrize("around", ["", "packed/"])
def test_a_pack_in_an_archive_is_to_be_unpacked(folder, tmp_path, around):
    pack(folder, tmp_path / "packed")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in (tmp_path / "packed").iterdir():
            archive.write(path, around + path.name)
    with pytest.raises(MulliganError, match=r"a\.zip is a pack in an archive: unpack it"):
        read_task(tmp_path / "a.zip")
