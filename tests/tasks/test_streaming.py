"""A streamed folder is the same task as one in memory, batch for batch, and resumes at any image."""

import pickle
import zipfile
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import noise, write_folder

from mulligan.errors import MulliganError
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Split, shuffled


@pytest.fixture(params=[1, 3])
def folder(tmp_path, request):
    names = [f"{'ab'[number % 2]}/{number:03d}.png" for number in range(130)]
    folder = write_folder(tmp_path / "pictures", noise(130, 12, 8, request.param), names)
    (folder / "notes.txt").write_text("no image")
    (folder / "a/broken.png").write_bytes((folder / "a/000.png").read_bytes()[:-40])
    return folder


def test_streaming_changes_nothing_but_a_note(folder):
    held, streamed = read_task(folder, labels=True), read_task(folder, labels=True, memory=0)
    assert held.train.in_memory
    assert not streamed.train.in_memory
    assert (streamed.hash, streamed.shape, streamed.counts) == (held.hash, held.shape, held.counts)
    assert streamed.descriptor == held.descriptor
    assert set(streamed.notes) - set(held.notes) == {
        "the images are larger than the memory allowed, so each is read when it is drawn."
    }
    for part in ("train", "validation", "test"):
        one, other = getattr(held, part), getattr(streamed, part)
        np.testing.assert_array_equal(one.images, other.take(np.arange(len(other))).images)
        np.testing.assert_array_equal(one.sample(4, 3), other.sample(4, 3))
        for first, second in zip(one.batches(5, 7, 4), islice(other.batches(5, 7, 4), 20), strict=False):
            np.testing.assert_array_equal(first.images, second.images)
            np.testing.assert_array_equal(first.labels, second.labels)


def test_a_file_that_vanishes_is_named(folder):
    task = read_task(folder, memory=0)
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(MulliganError, match=r"\.png was read before and no longer can be"):
        next(task.train.batches(0, 0, 4))


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 20), seed=st.integers(0, 3), start=st.integers(0, 100), batch=st.integers(1, 30))
def test_a_run_resumes_at_any_image(n, seed, start, batch):
    part = Split(noise(n, 8, 8, 1), np.arange(n, dtype=np.int32))
    whole = np.concatenate([step.labels for step in islice(part.batches(seed, 0, 1), start + batch)])
    resumed = next(part.batches(seed, start, batch))
    np.testing.assert_array_equal(resumed.labels, whole[start:])
    np.testing.assert_array_equal(resumed.images, part.images[whole[start:]])


@given(n=st.integers(1, 50), seed=st.integers(0, 3), epoch=st.integers(0, 5))
def test_every_image_comes_once_an_epoch(n, seed, epoch):
    order = shuffled(n, seed, np.arange(epoch * n, (epoch + 1) * n))
    assert sorted(order.tolist()) == list(range(n))


def test_epochs_and_seeds_differ():
    first, second = shuffled(50, 0, np.arange(100)).reshape(2, 50)
    assert (first != second).any()
    assert (shuffled(50, 1, np.arange(50)) != first).any()


def test_samples_are_different_images():
    part = Split(noise(20, 8, 8, 1))
    assert len({image.tobytes() for image in part.sample(15, 0)}) == 15
    assert len(part.sample(99, 0)) == 20
    assert (part.sample(5, 0) != part.sample(5, 1)).any()


def test_an_empty_split_has_no_batches():
    with pytest.raises(MulliganError, match="this split holds no images"):
        next(Split(noise(0)).batches(0, 0, 4))


def test_what_streams_can_be_sent_to_another_process(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    np.save(tmp_path / "a.npy", noise(30))
    for source in (folder, tmp_path / "a.zip", tmp_path / "a.npy"):
        task = read_task(source, memory=0)
        sent = pickle.loads(pickle.dumps(task))
        np.testing.assert_array_equal(sent.train.sample(5, 0), task.train.sample(5, 0))


def test_a_mapped_array_is_drawn_from_as_one_in_memory(tmp_path):
    images = noise(130, 12, 8, 4).astype(np.float32) / 255
    np.save(tmp_path / "a.npy", images.transpose(0, 3, 1, 2))
    held, streamed = (read_task(tmp_path / "a.npy", memory=memory, size=16) for memory in (2**30, 100))
    assert not streamed.train.in_memory
    assert (streamed.hash, streamed.shape, streamed.counts) == (held.hash, held.shape, held.counts)
    np.testing.assert_array_equal(held.train.images, streamed.train.take(np.arange(len(held.train))).images)
