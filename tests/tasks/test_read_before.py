"""What took long to read is read from the cache the next time: the same task, until a file changes."""

import os

import numpy as np
import pytest
from pictures import noise, png, write_folder

from mulligan.tasks import image_files, read_before
from mulligan.tasks.images import read_task


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(read_before, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(read_before, "DISK_SHARE", 0.5)
    return tmp_path / "cache" / "images"


@pytest.fixture
def no_decoding(monkeypatch):
    """Call it, and from then on no image file can be decoded."""

    def forbid():
        monkeypatch.setattr(image_files, "look", lambda *_: pytest.fail("an image was decoded again"))

    return forbid


def pictures(folder):
    write_folder(folder, noise(60, 12, 8), [f"{'ab'[number % 2]}/{number:03d}.png" for number in range(60)])
    (folder / "a/broken.png").write_bytes(png(noise(1)[0])[:-40])
    return folder


def assert_same(one, other):
    assert (one.name, one.hash, one.shape, one.counts) == (other.name, other.hash, other.shape, other.counts)
    assert (one.classes, one.notes, one.descriptor) == (other.classes, other.notes, other.descriptor)
    for part in ("train", "validation", "test"):
        every = np.arange(len(getattr(one, part)))
        for first, second in zip(getattr(one, part).take(every), getattr(other, part).take(every), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("memory", [2**30, 100])
@pytest.mark.parametrize("size", [None, 16])
def test_a_folder_is_decoded_once(tmp_path, cache, no_decoding, memory, size):
    folder = pictures(tmp_path / "pictures")
    first = read_task(folder, labels=True, size=size, memory=memory)
    no_decoding()
    again = read_task(folder, labels=True, size=size, memory=memory)
    assert first.train.in_memory == again.train.in_memory == (memory > 100)
    assert_same(first, again)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("memory", [2**30, 100])
def test_grey_images_stay_grey(tmp_path, cache, no_decoding, memory):
    folder = write_folder(tmp_path / "pictures", noise(30, c=1))
    first = read_task(folder, memory=memory)
    no_decoding()
    again = read_task(folder, memory=memory)
    assert first.shape == (10, 10, 1)
    assert_same(first, again)


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_a_change_is_read(tmp_path, cache, change):
    folder = pictures(tmp_path / "pictures")
    before, some = read_task(folder), folder / "a/000.png"
    if change == "content":
        times = some.stat()
        some.write_bytes(png(noise(1, 12, 8, seed=9)[0]))
        os.utime(some, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps times
    elif change == "name":
        some.rename(folder / "b/000.png")
    else:
        (folder / "a/more.png").write_bytes(png(noise(1, 12, 8, seed=9)[0]))
    after = read_task(folder)
    assert len(list(cache.iterdir())) == 2
    assert (after.hash == before.hash) == (change == "name")


@pytest.mark.parametrize("memory", [2**30, 100])
@pytest.mark.parametrize("size", [None, 16])
def test_an_array_file_is_hashed_once(tmp_path, cache, monkeypatch, memory, size):
    np.save(tmp_path / "a.npy", noise(40))
    first = read_task(tmp_path / "a.npy", memory=memory, size=size)
    monkeypatch.setattr("mulligan.tasks.collection.digests_of", lambda *_: pytest.fail("hashed again"))
    monkeypatch.setattr("mulligan.tasks.streaming.digests_of", lambda *_: pytest.fail("hashed again"))
    assert_same(first, read_task(tmp_path / "a.npy", memory=memory, size=size))
    copies = [path for path in cache.rglob("*.npy") if path.stat().st_size > 1000]
    assert len(copies) == (size is not None)  # what lies in its file as it is needed is not copied


def test_a_damaged_entry_is_read_anew(tmp_path, cache):
    folder = pictures(tmp_path / "pictures")
    first = read_task(folder)
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"x")
    assert_same(first, read_task(folder))


def test_the_oldest_entries_make_room(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(read_before, "MOST_BYTES", 30_000)  # each takes some 15,000
    for number in range(4):
        read_task(write_folder(tmp_path / str(number), noise(40, seed=number)))
        entry = max(cache.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
        for path in (entry, entry / read_before.DOCUMENT):
            os.utime(path, (number + 1, number + 1))
        assert len(list(cache.iterdir())) <= 2


def test_without_room_image_files_stream_and_nothing_is_kept(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(read_before, "DISK_SHARE", 0.0)
    task = read_task(pictures(tmp_path / "pictures"), memory=100)
    assert not task.train.in_memory
    assert not list(cache.rglob("*.*"))
    assert len(task.train.take(np.arange(3)).images) == 3


def test_a_run_goes_on_when_its_entry_is_deleted(tmp_path, cache):
    task = read_task(pictures(tmp_path / "pictures"), memory=100)
    before = task.train.sample(5, seed=0)
    for path in cache.rglob("*.npy"):
        path.unlink()
    np.testing.assert_array_equal(task.train.sample(5, seed=0), before)
