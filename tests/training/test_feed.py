"""The feed: what lies on the device, whatever it is read from, is a function of the seed and of what was drawn."""

import gc
import threading
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.errors import MulliganError
from mulligan.tasks.streaming import StreamedImages
from mulligan.tasks.task import Split
from mulligan.training import feed as module
from mulligan.training.feed import Feed

SHAPE = (2, 2, 1)


@pytest.fixture(autouse=True)
def _small_rings(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(module, "RING", 12)


def streamed(n, read=None):
    """Images that hold their own number, labelled with it."""
    numbers = np.arange(n)
    images = StreamedImages(SHAPE, read or (lambda index: np.full(SHAPE, index, np.uint8)), numbers)
    return Split(images, numbers.astype(np.int32))


def held(data):
    """The numbers of the images in the ring, checked against their labels."""
    numbers = np.asarray(data.images)[:, 0, 0, 0]
    if data.labels is not None:
        np.testing.assert_array_equal(numbers, np.asarray(data.labels))
    return numbers.tolist()


def test_images_in_memory_lie_on_the_device_once_however_many_runs_there_are():
    split = Split(np.zeros((5, *SHAPE), np.uint8), np.arange(5, dtype=np.int32))
    one, other = Feed(split, True, 0, 0), Feed(split, True, 1, 0)
    assert one.data(0).images is other.data(7).images
    assert Feed(split, False, 0, 0).data(0).labels is None


@pytest.mark.parametrize("labelled", [True, False])
def test_shapes_are_those_of_the_data_and_asking_for_them_draws_nothing(labelled):
    for split in (streamed(50), streamed(3), Split(np.zeros((5, *SHAPE), np.uint8), np.arange(5, dtype=np.int32))):
        feed = Feed(split, labelled, 0, 0)
        shapes, drawn = feed.shapes(), feed.drawn
        assert drawn == 0
        assert shapes == jax.eval_shape(lambda data: data, feed.data(0))


def test_a_ring_is_renewed_as_fast_as_it_is_shown():
    feed = Feed(streamed(200), True, seed=3, drawn=0)
    order = [batch.labels.tolist() for batch, _ in zip(streamed(200).batches(3, 0, 4), range(9), strict=False)]
    assert held(feed.data(0)) == order[0] + order[1] + order[2]
    assert held(feed.data(3)) == order[0] + order[1] + order[2]
    assert held(feed.data(4)) == order[3] + order[1] + order[2]
    assert held(feed.data(12)) == order[3] + order[4] + order[5]
    assert held(feed.data(1000)) == order[6] + order[7] + order[8]  # never more than there is room for
    assert feed.drawn == 9


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40), shown=st.lists(st.integers(0, 30), max_size=6), at=st.integers(0, 5), seed=st.integers(0, 3)
)
def test_a_ring_that_is_made_again_holds_the_same(n, shown, at, seed):
    totals = np.cumsum([0, *shown]).tolist()
    whole, resumed = Feed(streamed(n), True, seed, 0), None
    for index, total in enumerate(totals):
        if index == at:
            resumed = Feed(streamed(n), True, seed, whole.drawn)
        expected = held(whole.data(total))
        if resumed is not None:
            assert held(resumed.data(total)) == expected
            assert resumed.drawn == whole.drawn


def test_training_does_not_wait_for_images_where_the_clock_decides_anyway():
    go = threading.Event()

    def read(index):
        if index_of_reading() > 24:
            go.wait()
        return np.full(SHAPE, index, np.uint8)

    reads = iter(range(10_000))

    def index_of_reading():
        return next(reads)

    feed = Feed(streamed(200, read), True, 0, 0, exact=False)
    before = held(feed.data(0))
    after = held(feed.data(400))
    go.set()
    assert feed.drawn < 3 + 400 // 4
    assert len(after) == len(before)


def test_what_a_reader_meets_is_raised_where_the_images_are_wanted():
    def read(index):
        raise MulliganError("a.png was read before and no longer can be.")

    feed = Feed(streamed(50, read), True, 0, 0)
    for _ in range(2):
        with pytest.raises(MulliganError, match=r"a\.png was read before"):
            feed.data(0)


def test_what_was_drawn_before_an_image_was_lost_is_still_there():
    reads = []

    def read(index):
        reads.append(index)
        if len(reads) > 3 * 4 + 4:  # the ring, and one block more
            raise MulliganError("a.png was read before and no longer can be.")
        return np.full(SHAPE, index, np.uint8)

    feed = Feed(streamed(50, read), True, 0, 0)
    feed.data(0)
    for _ in range(2):
        with pytest.raises(MulliganError, match=r"a\.png was read before"):
            feed.data(1_000)
    assert sorted(held(feed._data)) == sorted(reads[4:16])


def test_a_thread_ends_when_its_feed_is_given_up():
    before = set(threading.enumerate())
    feed = Feed(streamed(200), True, 0, 0)
    feed.data(0)
    readers = [thread for thread in threading.enumerate() if thread not in before and thread.name == module.READER]
    assert len(readers) == 1
    del feed
    gc.collect()
    deadline = time.monotonic() + 20
    while any(reader.is_alive() for reader in readers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(reader.is_alive() for reader in readers)
