"""Modes covered and their divergence against scipy."""

import numpy as np
import pytest
from scipy.stats import entropy

from mulligan.errors import MulliganError
from mulligan.metrics.modes import modes, stacked_digits


def test_divergence_is_that_of_scipy():
    rng = np.random.default_rng(0)
    predicted, real = rng.integers(0, 7, 500), rng.random(10) + 0.1
    found = modes(predicted, real)
    counts = np.bincount(predicted, minlength=10)
    assert found.kl == pytest.approx(entropy(counts / 500, real / real.sum()))
    assert (found.covered, found.total) == (7, 10)


def test_uniform_digits_cover_a_thousand_modes():
    predicted = np.random.default_rng(0).integers(0, 1000, 26_000)
    found = modes(predicted, np.ones(1000))
    assert found.covered == 1000
    assert found.kl == pytest.approx(999 / (2 * 26_000), rel=0.15)


def test_one_mode():
    assert modes(np.zeros(10, int), np.ones(1000)) == (1, 1000, pytest.approx(np.log(1000)))


def test_stacked_digits_are_read_red_green_blue():
    digits = np.array([[1, 2, 3], [9, 0, 4]], np.uint8)
    images = np.broadcast_to(digits[:, None, None, :], (2, 4, 5, 3))

    def brightness(planes):
        assert planes.shape == (6, 4, 5, 1)
        return planes[:, 0, 0, 0].astype(int)

    assert stacked_digits(brightness, images).tolist() == [123, 904]


def test_unusable():
    with pytest.raises(MulliganError, match="from 0 to 9"):
        modes(np.array([10]), np.ones(10))
    with pytest.raises(MulliganError, match="positive share"):
        modes(np.array([1]), np.array([1.0, 0.0]))
    with pytest.raises(MulliganError, match="3 channels, not 1"):
        stacked_digits(lambda planes: planes, np.zeros((1, 4, 4, 1), np.uint8))
