"""The Frechet distance against scipy's matrix square root and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from mulligan.errors import MulliganError
from mulligan.metrics.frechet import Gaussian, frechet_distance, gaussian_distance


def correlated(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_agrees_with_the_matrix_square_root(d):
    a, b = correlated(0, 200, d), correlated(1, 300, d)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    cross = np.trace(np.real(sqrtm(cov_a @ cov_b)))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 2, *[st.floats(0.0, 3)] * 2), min_size=1, max_size=6))
@settings(deadline=None)
def test_closed_form_where_covariances_commute(axes):
    """`sum (m_a - m_b)^2 + (s_a - s_b)^2` for diagonal covariances, singular ones too."""
    mean_a, mean_b, std_a, std_b = np.array(axes).T
    found = gaussian_distance(Gaussian(mean_a, np.diag(std_a**2)), Gaussian(mean_b, np.diag(std_b**2)))
    assert found == pytest.approx(((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum(), abs=1e-6)


def test_rotation_order_and_sides_do_not_matter():
    a, b = correlated(0, 100, 8), correlated(1, 120, 8)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    for other_a, other_b in ((a @ rotation, b @ rotation), (a[::-1], b), (b, a)):
        assert frechet_distance(other_a, other_b) == pytest.approx(frechet_distance(a, b), rel=1e-8)


@pytest.mark.parametrize("n", [2, 20])
def test_fewer_images_than_dimensions(n):
    a = correlated(0, n, 64)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-3 * np.trace(np.cov(a, rowvar=False)))
    assert frechet_distance(a, a + 1) == pytest.approx(64, rel=0.1)


def test_one_image_is_too_few():
    with pytest.raises(MulliganError, match="at least 2 images"):
        frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
