"""Images of half the size: means over 2x2 pixels, and a task that is split as it was."""

from dataclasses import replace

import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.tasks import halves
from mulligan.tasks.collection import Collection
from mulligan.tasks.halves import halve, halved
from mulligan.tasks.streaming import StreamedImages
from mulligan.tasks.task import make_task


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (50, 24, 32, 3)).astype(np.uint8)


def test_pixels_are_means_of_four(images, monkeypatch):
    monkeypatch.setattr(halves, "AT_ONCE", 7)
    small = halve(images)
    means = images.reshape(50, 12, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_array_equal(small, np.round(means).astype(np.uint8))
    assert halve(np.full((1, 8, 8, 1), 255, np.uint8)).max() == 255


def test_every_part_of_a_task_keeps_its_images(images):
    labels = (np.arange(50) % 2).astype(np.int32)
    task = make_task("noise", Collection(images, labels, classes=("even", "odd")), labels=True)
    small = halved(task)
    assert small.shape == (12, 16, 3)
    assert (small.name, small.hash, small.counts) == (task.name, task.hash, task.counts)
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(small, part), getattr(task, part)
        np.testing.assert_array_equal(ours.images, halve(theirs.images))
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert small.train.whole is small.collection.images
    assert task.shape == (24, 32, 3)


def test_what_cannot_be_halved_is_refused(images):
    with pytest.raises(MulliganError, match="images of 32x23 cannot be halved: both sides must be even"):
        halve(images[:, 1:])
    task = make_task("noise", Collection(images))
    elsewhere = StreamedImages((24, 32, 3), lambda index: images[index], np.arange(50))
    streamed = replace(task, collection=replace(task.collection, images=elsewhere))
    with pytest.raises(MulliganError, match="stream"):
        halved(streamed)
