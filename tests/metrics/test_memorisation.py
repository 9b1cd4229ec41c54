"""Memorisation is calibrated by real images that nobody trained on."""

import numpy as np
import pytest

from mulligan.metrics.memorisation import memorisation


def normal(seed, n, d=8):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("held_out", [19, 150])
def test_unseen_real_images_are_close_one_time_in_twenty(held_out):
    found = [memorisation(normal(3 * t, 200), normal(3 * t + 1, 300), normal(3 * t + 2, held_out)) for t in range(200)]
    share = np.array([each.share for each in found])
    assert share.mean() == pytest.approx(0.05, abs=4 * share.std() / np.sqrt(len(share)))
    assert np.median([each.ratio for each in found]) == pytest.approx(1, abs=0.05)


def test_copies_and_near_copies():
    train, held_out = normal(0, 300), normal(1, 200)
    assert memorisation(train[:100], train, held_out) == (0, 1)
    near = memorisation(train[:100] + 0.01, train, held_out)
    assert near.share == 1
    assert near.ratio < 0.05


def test_half_copies_give_about_half():
    train, held_out = normal(0, 300), normal(1, 200)
    mixed = np.concatenate([train[:100], normal(2, 100)])
    assert memorisation(mixed, train, held_out).share == pytest.approx(0.525, abs=0.04)


def test_novel_images_are_not_close():
    train, held_out = normal(0, 300), normal(1, 200)
    found = memorisation(normal(2, 100) + 5, train, held_out)
    assert found.share == 0
    assert found.ratio > 2


@pytest.mark.parametrize("reference", [40, 300])
def test_training_images_in_the_place_of_unseen_ones_are_not_their_own_neighbours(reference):
    """Copies stay copies where all or some of the training images stand in for unseen ones."""
    train = normal(0, 300)
    own = np.arange(reference)
    assert memorisation(train[:100], train, train[:reference], own) == (0, 1)
    fresh = memorisation(normal(2, 100), train, train[:reference], own)
    assert fresh.ratio == pytest.approx(1, abs=0.2)
    assert fresh.share < 0.25


def test_images_that_occur_twice_are_not_each_others_neighbours():
    twice = np.concatenate([normal(0, 150)] * 2)
    found = memorisation(normal(2, 100), twice, twice, np.arange(300))
    assert found.ratio == pytest.approx(1, abs=0.2)
    assert memorisation(twice[:100], twice, twice, np.arange(300)) == (0, 1)
    assert memorisation(normal(2, 100), twice, twice[:50]).ratio == pytest.approx(1, abs=0.2)  # kept back, and seen


def test_rows_are_left_out_by_their_number_where_features_are_not_exact():
    train = normal(0, 300)
    found = memorisation(normal(2, 100), train, train + 1e-3, np.arange(300))
    assert found.ratio == pytest.approx(1, abs=0.2)


def test_all_images_equal():
    assert memorisation(np.ones((3, 4)), np.ones((5, 4)), np.ones((6, 4))) == (1, 1)
