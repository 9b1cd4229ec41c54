"""What took long to read is read from the cache the next time: the same task, until a file changes."""

import errno
import os
import time

import numpy as np
import pytest
from pictures import noise, png, write_folder

from mulligan.errors import MulliganError
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


@pytest.mark.parametrize("memory", [2**30, 20_000, 100])  # 20,000: too little for three channels, enough for one
def test_grey_images_stay_grey(tmp_path, cache, no_decoding, memory):
    folder = write_folder(tmp_path / "pictures", noise(30, c=1))
    first = read_task(folder, memory=memory)
    no_decoding()
    again = read_task(folder, memory=memory)
    assert first.shape == (10, 10, 1)
    assert first.train.in_memory == again.train.in_memory == (memory == 2**30)
    assert_same(first, again)


def test_room_in_the_cache_does_not_decide_what_streams(tmp_path, cache, monkeypatch):
    np.save(tmp_path / "a.npy", noise(40, 40, 40))  # 192,000 bytes, and 30,720 at 16x16
    roomy, again = (read_task(tmp_path / "a.npy", memory=200_000, size=16) for _ in range(2))
    monkeypatch.setattr(read_before, "DISK_SHARE", 0.0)
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path / "full"))
    full = read_task(tmp_path / "a.npy", memory=200_000, size=16)
    assert [task.train.in_memory for task in (roomy, again, full)] == [False] * 3
    assert_same(roomy, again)
    assert_same(roomy, full)
    for one, other, _ in zip(roomy.train.batches(3, 7, 9), full.train.batches(3, 7, 9), range(9), strict=False):
        np.testing.assert_array_equal(one.images, other.images)


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


@pytest.mark.parametrize("name", ["collection.json", "arrays.npz", "*.npy"])
@pytest.mark.parametrize("left", [0, 1, 0.5])
def test_a_damaged_entry_is_read_anew(tmp_path, cache, no_decoding, name, left):
    folder = pictures(tmp_path / "pictures")
    first = read_task(folder)
    (path,) = cache.rglob(name)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if left < 1 else 1])
    assert_same(first, read_task(folder))
    no_decoding()
    assert_same(first, read_task(folder))


def test_a_reading_that_fails_leaves_no_array(tmp_path, cache, monkeypatch):
    folder = pictures(tmp_path / "pictures")
    for number in range(20):
        (folder / f"a/broken-{number}.png").write_bytes((folder / "a/broken.png").read_bytes())
    with pytest.raises(MulliganError, match="damaged"):
        read_task(folder, memory=100)
    assert not list(cache.rglob("*.npy"))

    def stop(*_):
        assert list(cache.rglob("*.npy"))
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files, "refuse_many", stop)
    with pytest.raises(KeyboardInterrupt):
        read_task(folder, memory=100)
    assert not list(cache.rglob("*.npy"))


def test_an_array_that_is_drawn_from_is_kept_however_short_the_reading(tmp_path, cache, monkeypatch, no_decoding):
    monkeypatch.setattr(read_before, "SLOW_SECONDS", 1000.0)
    folder = pictures(tmp_path / "pictures")
    first = read_task(folder, memory=100)
    no_decoding()
    assert_same(first, read_task(folder, memory=100))
    assert len(list(cache.rglob("*.npy"))) == 1


@pytest.mark.parametrize("memory", [2**30, 100])
def test_an_array_that_cannot_be_kept_goes(tmp_path, cache, monkeypatch, memory):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    at_exit = []
    monkeypatch.setattr(read_before, "write_arrays", full)
    monkeypatch.setattr(read_before.atexit, "register", lambda remove, **options: at_exit.append((remove, options)))
    task = read_task(pictures(tmp_path / "pictures"), memory=memory)
    assert len(task.train.take(np.arange(3)).images) == 3
    for remove, options in at_exit:
        remove(**options)
    assert len(at_exit) == (memory == 100)
    assert not list(cache.rglob("*.npy"))


@pytest.mark.parametrize("memory", [2**30, 100])
def test_two_that_read_at_the_same_time_leave_one_array(tmp_path, cache, monkeypatch, memory):
    folder, refuse_many, other, at_exit = pictures(tmp_path / "pictures"), image_files.refuse_many, [], []

    def read_by_another(*damaged):
        monkeypatch.setattr(image_files, "refuse_many", refuse_many)
        other.append(read_task(folder, memory=memory))
        refuse_many(*damaged)

    monkeypatch.setattr(image_files, "refuse_many", read_by_another)
    monkeypatch.setattr(read_before.atexit, "register", lambda remove, **options: at_exit.append((remove, options)))
    assert_same(read_task(folder, memory=memory), other[0])
    for remove, options in at_exit:
        remove(**options)
    assert len(list(cache.rglob("*.npy"))) == 1
    assert_same(read_task(folder, memory=memory), other[0])


def test_arrays_of_processes_that_were_killed_go_after_a_day(tmp_path, cache):
    folder = pictures(tmp_path / "pictures")
    read_task(folder)
    (entry,) = cache.iterdir()
    (entry / read_before.DOCUMENT).unlink()
    (kept,) = entry.glob("*.npy")
    young, old = entry / "young.npy", entry / "old.npy"
    for path, age in ((young, 3600), (old, 25 * 3600), (kept, 25 * 3600)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age, time.time() - age))
    read_task(folder)
    assert (young.exists(), old.exists(), kept.exists()) == (True, False, False)
    assert len(list(entry.glob("*.npy"))) == 2


def test_a_cache_that_cannot_be_written_is_read(tmp_path, cache, monkeypatch, no_decoding):
    folder = pictures(tmp_path / "pictures")
    first = read_task(folder)

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(read_before.os, "utime", read_only)
    no_decoding()
    assert_same(first, read_task(folder))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room")
@pytest.mark.parametrize("full", [False, True])
def test_room_is_reserved_before_pixels_are_written(tmp_path, cache, monkeypatch, full):
    reserved = []

    def allocate(_, start, size):
        reserved.append((start, size))
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    task = read_task(pictures(tmp_path / "pictures"), memory=100)
    assert not task.train.in_memory
    assert len(task.train.take(np.arange(3)).images) == 3
    assert [start for start, _ in reserved] == [0]
    assert reserved[0][1] > 60 * 8 * 8 * 3
    assert len(list(cache.rglob("*.npy"))) == (not full)


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
