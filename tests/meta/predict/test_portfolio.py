"""Portfolios: what is best on most first, then what is best elsewhere."""

import numpy as np
import pytest

from mulligan.meta.predict.portfolio import chances, greedy, ranks

# Three worlds; the first recipe is second everywhere, the others are best somewhere and last elsewhere.
LOSSES = np.array([[1.0, 0.0, 5.0, 5.0], [1.0, 5.0, 0.0, 5.0], [1.0, 5.0, 5.0, 0.0]])
EVEN = np.full(3, 1 / 3)


def test_the_first_is_best_on_average_and_the_rest_make_up_for_it():
    assert greedy(LOSSES, EVEN, 1) == [0]
    assert greedy(LOSSES, EVEN, 4) == [0, 1, 2, 3]
    assert greedy(LOSSES, np.array([0.05, 0.05, 0.9]), 2) == [3, 0]


def test_no_more_than_there_are_and_none_twice():
    assert sorted(greedy(LOSSES, EVEN, 9)) == [0, 1, 2, 3]


def test_what_was_not_tried_brings_nothing():
    losses = np.array([[0.2, np.nan, 1.0], [0.2, np.nan, 1.0], [0.2, 0.1, 1.0]])
    assert greedy(losses, EVEN, 1) == [0]
    assert greedy(np.where(np.isnan(losses), 0.0, losses), EVEN, 1) == [1]


def test_greedy_is_near_the_best_of_all_portfolios():
    """Submodular: a greedy choice gains at least 1 - 1/e of the most that can be gained."""
    from itertools import combinations

    rng = np.random.default_rng(0)
    for _ in range(20):
        losses = rng.random((8, 9))
        weights = np.full(8, 1 / 8)
        gained = losses.max(axis=1).mean() - losses[:, greedy(losses, weights, 3)].min(axis=1).mean()
        most = max(
            losses.max(axis=1).mean() - losses[:, list(each)].min(axis=1).mean() for each in combinations(range(9), 3)
        )
        assert gained >= (1 - 1 / np.e) * most


def test_ranks_do_not_know_the_scale_of_a_world():
    scaled = LOSSES * np.array([[1.0], [100.0], [1e-3]])
    np.testing.assert_array_equal(ranks(scaled), ranks(LOSSES))
    np.testing.assert_allclose(ranks(LOSSES)[0], [1 / 3, 0, 5 / 6, 5 / 6])


def test_chances_count_the_worlds_that_each_wins():
    found = chances(np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]), EVEN, ensemble=3)
    np.testing.assert_allclose(found, [2.5 / 4, 1.5 / 4])


@pytest.mark.parametrize("ensemble", [0, 2])
def test_chances_are_positive_and_sum_to_one(ensemble):
    found = chances(np.full((ensemble, 3), np.nan), np.full(ensemble, 1 / 2), ensemble=ensemble)
    np.testing.assert_allclose(found, 1 / 3)
