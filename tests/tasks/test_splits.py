"""Splits share no image, lose none, and depend on content alone."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import all_images, as_set, noise

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection
from mulligan.tasks.splits import (
    CAP,
    DROPPED,
    FEWEST,
    TEST,
    TRAIN,
    VALIDATION,
    assign,
    content_hash,
    digest,
    digests_of,
    split,
)
from mulligan.tasks.task import make_task

digest_lists = st.lists(st.integers(0, 60), min_size=1, max_size=150).map(lambda values: np.array(values, np.uint64))


def distinct(n):
    return np.random.default_rng(1).permutation(n).astype(np.uint64)


@given(digest_lists, st.integers(0, 5))
def test_random_splits_cover_all_and_keep_copies_together(digests, seed):
    codes = assign(digests, seed=seed).codes
    assert set(codes.tolist()) <= {TRAIN, VALIDATION, TEST}
    for value in np.unique(digests):
        assert len(set(codes[digests == value].tolist())) == 1
    assert (codes == TRAIN).sum() >= 0.8 * len(codes)


@given(digest_lists, st.data())
def test_given_splits_stand_but_for_what_leaks(digests, data):
    given_codes = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(digests), max_size=len(digests))))
    kept = [digests[given_codes == code] for code in (TRAIN, TEST, VALIDATION)]
    if not set(kept[0].tolist()) - set(kept[1].tolist()) - set(kept[2].tolist()):
        with pytest.raises(MulliganError, match="leaves no training images"):
            assign(digests, given=given_codes)
        return
    codes = assign(digests, given=given_codes).codes
    parts = [set(digests[codes == code].tolist()) for code in (TRAIN, TEST, VALIDATION)]
    assert all(one.isdisjoint(other) for one, other in combinations(parts, 2))
    assert (codes[given_codes == TEST] == TEST).all()
    dropped = codes == DROPPED
    assert np.isin(digests[dropped], digests[codes > TRAIN]).all()


@given(digest_lists, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_files(digests, seed, random):
    order = np.array(random.sample(range(len(digests)), len(digests)))
    np.testing.assert_array_equal(assign(digests, seed=seed).codes[order], assign(digests[order], seed=seed).codes)


def test_a_seed_gives_one_split_and_another_seed_another():
    first, again, other = (assign(distinct(200), seed=seed).codes for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("n", "counts"),
    [(1, (1, 0, 0)), (10, (10, 0, 0)), (99, (99, 0, 0)), (100, (80, 10, 10)), (1000, (800, 100, 100))],
)
def test_counts(n, counts):
    result = assign(distinct(n))
    assert tuple((result.codes == code).sum() for code in (TRAIN, VALIDATION, TEST)) == counts
    assert ("too few to split" in result.notes[0]) == (n < 100)


def test_large_sets_give_at_most_the_cap():
    codes = assign(distinct(80_000)).codes
    assert (codes == VALIDATION).sum() == (codes == TEST).sum() == CAP


def test_a_missing_validation_split_comes_out_of_train():
    codes = np.repeat([TRAIN, TEST], [100, 30])
    result = assign(distinct(130), given=codes)
    assert [(result.codes == code).sum() for code in (TRAIN, VALIDATION, TEST)] == [90, 10, 30]
    assert "validation taken from train at random" in result.notes[-1]
    np.testing.assert_array_equal(result.codes[100:], TEST)


def test_dropped_duplicates_are_said():
    digests = np.array([1, 2, 3, 4, 4, 5], np.uint64)
    result = assign(digests, given=np.array([TRAIN, TRAIN, TRAIN, TRAIN, TEST, VALIDATION]))
    assert result.codes.tolist() == [TRAIN, TRAIN, TRAIN, DROPPED, TEST, VALIDATION]
    assert result.notes[0] == "1 image dropped that the source has in several splits."


def test_an_unknown_code_is_an_error():
    with pytest.raises(MulliganError, match=r"'split' holds 7; it takes 0 for train"):
        assign(distinct(3), given=np.array([0, 7, 1]))


def test_small_classes_are_spread_over_the_splits():
    """With 20 images a class, each made split holds two of every class give or take one; plain sampling would not."""
    labels = np.repeat(np.arange(50), 20)
    codes = assign(distinct(1000), labels).codes
    for code in (VALIDATION, TEST):
        held = np.bincount(labels[codes == code], minlength=50)
        assert held.min() >= 1
        assert held.max() <= 3


def test_split_returns_indices_into_the_images():
    images = noise(40)
    parts = split(np.concatenate([images, images[:5]]))
    assert sorted(np.concatenate(parts[:3]).tolist()) == list(range(45))
    assert parts.notes


def test_a_grey_image_has_one_digest_in_one_channel_or_three():
    grey, colour = noise(1, c=1)[0], noise(1)[0]
    assert digest(grey) == digest(np.repeat(grey, 3, axis=2))
    assert digest(colour) != digest(np.repeat(colour[..., :1], 3, axis=2))


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_content_hash_is_of_the_set(random):
    images, labels = noise(12), np.arange(12, dtype=np.int32) % 3
    order = np.array(random.sample(range(12), 12))
    name = content_hash((10, 10, 3), digests_of(images), labels)
    assert content_hash((10, 10, 3), digests_of(images[order]), labels[order]) == name
    assert content_hash((10, 10, 3), digests_of(images), np.roll(labels, 1)) != name
    changed = images.copy()
    changed[3, 0, 0, 0] ^= 1
    assert content_hash((10, 10, 3), digests_of(changed), labels) != name


def test_the_hash_of_a_task_never_changes_between_versions():
    task = make_task("frozen", Collection(np.arange(5 * 64, dtype=np.uint16).astype(np.uint8).reshape(5, 8, 8, 1)))
    assert task.hash == "a8ed3423a3d3457b"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 240), st.integers(0, 10))
def test_tasks_hold_every_image_once(n, copies):
    images = noise(n, 8, 8, 1)
    images = np.concatenate([images, images[: min(copies, n)]])
    if len(as_set(images)) == 1 and len(images) > 1:
        return
    task = make_task("some", Collection(images))
    parts = [as_set(part.images) for part in (task.train, task.validation, task.test)]
    assert all(one.isdisjoint(other) for one, other in combinations(parts, 2))
    np.testing.assert_array_equal(all_images(task), images[np.lexsort(images.reshape(len(images), -1).T)])


@pytest.mark.parametrize("n", [10, 19, 50, 99, 100, 150, 199])
def test_few_images_are_all_used(n):
    """Either all of them train, and training images are called so; or what is kept back judges, in both roles."""
    task = make_task("few", Collection(noise(n)))
    kept = len(task.validation) + len(task.test)
    assert kept == 0 or kept >= FEWEST
    for asked in ("validation", "test"):
        name, images = task.judge(asked)
        if kept:
            assert (name, len(images)) == ("held-out", kept)
            assert as_set(images.take(np.arange(kept)).images).isdisjoint(as_set(task.train.images))
        else:
            assert (name, images) == ("train", task.train)


def test_a_split_that_is_large_enough_judges_alone():
    task = make_task("enough", Collection(noise(200)))
    assert task.judge("validation") == ("validation", task.validation)
    assert task.judge("test") == ("test", task.test)


def test_a_small_split_of_the_sources_own_judges_with_the_other():
    given = np.repeat([TRAIN, VALIDATION, TEST], [30, 5, 15])
    name, images = make_task("own", Collection(noise(50), split=given)).judge("test")
    assert (name, len(images)) == ("held-out", 20)
    given = np.repeat([TRAIN, VALIDATION, TEST], [40, 5, 5])
    assert make_task("own", Collection(noise(50), split=given)).judge("test")[0] == "train"


@pytest.mark.parametrize("seed", range(8))
def test_no_class_loses_its_last_training_image(seed):
    labels = np.r_[np.zeros(200, int), [1], [2, 2]]
    codes = assign(distinct(203), labels, seed=seed).codes
    assert set(labels[codes == TRAIN].tolist()) == {0, 1, 2}


def test_a_class_that_is_only_tested_is_none():
    labels, given = np.repeat([0, 1, 2, 0], [20, 20, 20, 20]).astype(np.int32), np.repeat([TRAIN, TEST], 40)
    task = make_task("some", Collection(noise(80), labels, given, ("a", "b", "c")), labels=True)
    assert task.classes == ("a", "b")
    assert len(task.test) == 20
    assert "no training images of the classes c: they are none, and their 20 images left out." in task.notes


def test_parts_share_the_images_that_they_are_chosen_from():
    task = make_task("shared", Collection(noise(200)))
    assert task.train.whole is task.test.whole is task.collection.images
    both = task.validation.joined(task.test)
    np.testing.assert_array_equal(both.images, np.concatenate([task.validation.images, task.test.images]))
