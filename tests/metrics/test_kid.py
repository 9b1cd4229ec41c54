"""KID against plain loops, and its interval against the truth."""

import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_of
from sklearn.metrics.pairwise import polynomial_kernel

from mulligan.errors import MulliganError
from mulligan.metrics.embed import check_pair
from mulligan.metrics.kid import kid, mmd2_unbiased, polynomial
from mulligan.metrics.mmd import mmd2_difference


def normal(seed, n, d, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def looped_mmd2(real, fake):
    """The definition, pair by pair in double precision."""
    real, fake = real.astype(float), fake.astype(float)

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([(a[i] @ b[j] / a.shape[1] + 1) ** 3 for i, j in pairs])

    return mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (7, 12, 5), (30, 20, 40)])
def test_agrees_with_loops(n, m, d):
    real, fake = normal(0, n, d), normal(1, m, d, 0.3)
    expected = pytest.approx(looped_mmd2(real, fake), rel=1e-4, abs=1e-5)
    assert float(mmd2_unbiased(real, fake)) == expected
    assert float(mmd2_unbiased(jnp.asarray(real), jnp.asarray(fake))) == expected
    assert kid(real, fake).value == expected


def test_kernel_is_that_of_scikit_learn():
    a, b = normal(0, 6, 9), normal(1, 4, 9)
    expected = polynomial_kernel(a, b, degree=3, gamma=1 / 9, coef0=1)
    np.testing.assert_allclose(polynomial(a, b), expected, rtol=1e-5)


def test_does_not_depend_on_the_order():
    real, fake = normal(0, 40, 6), normal(1, 50, 6, 0.2)
    assert kid(real[::-1], fake[::-1]).value == pytest.approx(kid(real, fake).value, rel=1e-4)
    assert kid(fake, real).value == pytest.approx(kid(real, fake).value, rel=1e-4)


def test_same_seed_same_bits():
    real, fake = normal(0, 40, 6), normal(1, 50, 6, 0.2)
    assert kid(real, fake) == kid(real, fake)
    assert kid(real, fake) != kid(real, fake, 1)


@pytest.mark.parametrize("shift", quick_of([0.0, 0.5], 0.5))
def test_interval_covers_the_truth(shift):
    """About 95% of 300 intervals hold it, and they are as wide as the spread of the values asks for."""
    n, d, trials = 60, 8, 300
    truth = moments_mmd2(d, shift)
    found = [kid(normal(3 * t, n, d), normal(3 * t + 1, n, d, shift), t) for t in range(trials)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.90 <= covered <= 0.99
    width, deviation = (
        np.mean([each.high - each.low for each in found]),
        np.std([each.value for each in found]),
    )
    assert 0.85 < width / (2 * 1.96 * deviation) < 1.25


def test_interval_reaches_further_up():
    """The value is skewed to the right where real and fake agree, and so is its interval."""
    found = [kid(normal(2 * t, 50, 1), normal(2 * t + 1, 50, 1), t) for t in range(20)]
    assert np.mean([each.high - each.value for each in found]) > np.mean([each.value - each.low for each in found])


def moments_mmd2(d, shift):
    """The squared MMD of N(0, I) and N(shift, I) in closed form, from the moments of `s = x.y`.

    For independent x ~ N(a, I), y ~ N(b, I): E s = a.b, E s^2 = (a.b)^2 + |a|^2 + |b|^2 + d, and
    E s^3 = (a.b)^3 + 3 (a.b)(|a|^2 + |b|^2 + d + 2).
    """
    mean = np.full(d, shift)

    def expected(a, b):
        product, norms = a @ b, a @ a + b @ b
        cubed = product**3 + 3 * product * (norms + d + 2)
        return 1 + 3 * product / d + 3 * (product**2 + norms + d) / d**2 + cubed / d**3

    zero = np.zeros(d)
    return expected(zero, zero) + expected(mean, mean) - 2 * expected(zero, mean)


def test_closed_form_of_the_tests_is_right():
    values = [float(mmd2_unbiased(normal(2 * t, 2000, 8), normal(2 * t + 1, 2000, 8, 0.5))) for t in range(6)]
    assert np.mean(values) == pytest.approx(moments_mmd2(8, 0.5), rel=0.02)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_few_images(n):
    found = kid(normal(0, n, 256), normal(1, n, 256))
    assert np.isfinite(found).all()
    assert found.low <= found.high


def test_unusable_features():
    with pytest.raises(MulliganError, match="at least 2 images"):
        kid(normal(0, 1, 4), normal(1, 5, 4))
    with pytest.raises(MulliganError, match="not finite"):
        kid(np.full((3, 4), np.nan, np.float32), normal(1, 5, 4))
    with pytest.raises(MulliganError, match="different embeddings"):
        check_pair(normal(0, 3, 4), normal(1, 5, 6))


# --- the difference of two


def kid_difference(real, one, other):
    return mmd2_difference(polynomial, real, one, other)


def paired(seed, n=80, m=100, d=6):
    """Real images, and two kinds of fakes made from the same latents: one shifted, one stretched."""
    latents = normal(3 * seed, m, d)
    return normal(3 * seed + 1, n, d), latents + np.float32(0.25), np.float32(1.1) * latents


def test_difference_is_that_of_the_two_values():
    real, one, other = paired(0)
    expected = looped_mmd2(real, one) - looped_mmd2(real, other)
    assert kid_difference(real, one, other).value == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert kid_difference(real, other, one).value == pytest.approx(-expected, rel=1e-4, abs=1e-5)
    assert kid_difference(real, one, one) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_deviation_of_a_difference_is_its_spread_over_new_images():
    found = [kid_difference(*paired(seed)) for seed in range(300)]
    spread = np.std([each.value for each in found])
    assert 0.85 < np.mean([each.deviation for each in found]) / spread < 1.2


def test_what_both_share_cancels():
    """Fakes of the same latents, row by row, say more about the difference than fakes in any order."""
    real, one, _ = paired(0)
    near = one + np.float32(0.02)
    together, apart = kid_difference(real, one, near), kid_difference(real, one, near[::-1])
    assert together.value == pytest.approx(apart.value, rel=1e-3)
    assert together.deviation < apart.deviation / 5


def test_a_difference_of_unusable_features():
    real, one, other = paired(0)
    with pytest.raises(MulliganError, match="not finite"):
        kid_difference(real, one, np.full_like(other, np.nan))
