"""Distances against scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.neighbors import NearestNeighbors

from mulligan.errors import UsageError
from mulligan.metrics import distances
from mulligan.metrics.distances import neighbours, relative_spread, spread, squared_distances


def normal(seed, n, d=6):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("entries", [1, 100, 10_000])
def test_neighbours_are_those_of_scikit_learn(monkeypatch, entries):
    monkeypatch.setattr(distances, "ENTRIES", entries)
    samples, train = normal(0, 23), normal(1, 50)
    expected, where = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(train).kneighbors(samples)
    indices, found = neighbours(samples, train, 4)
    np.testing.assert_array_equal(indices, where)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_copies_are_at_distance_zero_however_far_from_the_origin():
    train = np.random.default_rng(0).normal(size=(40, 256)) + 1000
    indices, found = neighbours(train[::-1], train)
    np.testing.assert_array_equal(indices[:, 0], np.arange(40)[::-1])
    assert (found == 0).all()
    assert (squared_distances(train, train + 0.01) > 0).all()


def test_ties_go_to_the_first():
    assert neighbours(np.zeros((1, 2)), np.ones((5, 2)), 3)[0].tolist() == [[0, 1, 2]]


def test_too_many_neighbours():
    with pytest.raises(UsageError, match="cannot take the 3 nearest of 2"):
        neighbours(normal(0, 4), normal(1, 2), 3)


def test_diversity_is_a_ratio_of_mean_distances():
    samples, real = normal(0, 30), normal(1, 40)

    def diversity(samples, real):
        return relative_spread(spread(samples), spread(real))

    assert diversity(samples, real) == pytest.approx(pdist(samples).mean() / pdist(real).mean(), rel=1e-5)
    assert diversity(3 * real, real) == pytest.approx(3, rel=1e-5)
    assert diversity(np.ones((5, 6)), real) == 0
    assert diversity(np.ones((5, 6)), np.ones((4, 6))) == 1
    assert diversity(samples, np.ones((4, 6))) == np.inf
