"""Precision, recall, density and coverage against plain loops, and where their values are known."""

import numpy as np
import pytest

from mulligan.metrics.coverage import prdc


def normal(seed, n, shift=0.0, d=3):
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def looped(real, fake):
    """The definitions of Kynkaanniemi et al. 2019 and Naeem et al. 2020, image by image."""

    def distance(x, y):
        return np.sqrt(((x - y) ** 2).sum())

    def radius(points, i, k):
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    def inside(points, k, x):
        return [distance(points[i], x) <= radius(points, i, k) for i in range(len(points))]

    precision = np.mean([any(inside(real, 3, x)) for x in fake])
    recall = np.mean([any(inside(fake, 3, x)) for x in real])
    density = np.sum([inside(real, 5, x) for x in fake]) / (5 * len(fake))
    coverage = np.mean([any(distance(x, y) <= radius(real, i, 5) for y in fake) for i, x in enumerate(real)])
    return precision, recall, density, coverage


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_agrees_with_loops(shift):
    real, fake = normal(0, 25), normal(1, 20, shift)
    np.testing.assert_allclose(prdc(real, fake), looped(real, fake))


def test_copies_are_precise_and_cover():
    real = normal(0, 50)
    assert prdc(real, real) == (1, 1, pytest.approx(1, abs=0.35), 1)


def test_same_distribution_has_the_known_coverage():
    """`1 - C(m, ...)`: about `1 - 2^-5` for n = m (Naeem et al. 2020, section 3.4), and density about 1."""
    found = prdc(normal(0, 1500, d=16), normal(1, 1500, d=16))
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert found.density == pytest.approx(1, abs=0.1)


def test_one_mode_of_ten_is_precise_but_covers_a_tenth():
    centres = 20 * np.random.default_rng(2).normal(size=(10, 3))
    real = normal(0, 500) + np.repeat(centres, 50, axis=0)
    found = prdc(real, normal(1, 500) + centres[0])
    assert found.precision > 0.8
    assert found.recall == pytest.approx(0.1, abs=0.03)
    assert found.coverage == pytest.approx(0.1, abs=0.03)


def test_far_away_is_zero():
    assert prdc(normal(0, 30), normal(1, 30, 100.0)) == (0, 0, 0, 0)


def test_order_does_not_matter():
    real, fake = normal(0, 30), normal(1, 40, 0.5)
    assert prdc(real[::-1], fake[::-1]) == pytest.approx(prdc(real, fake))


def test_two_images_and_equal_images():
    assert np.isfinite(prdc(normal(0, 2), normal(1, 2))).all()
    assert prdc(np.ones((4, 3)), np.ones((5, 3)))[:2] == (1, 1)
