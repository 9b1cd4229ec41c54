"""Penalties against closed forms: discriminators whose slopes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.game.penalties import PENALTIES, judge, lazy
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture

KEY = jax.random.key(0)
REAL = jax.random.normal(jax.random.key(1), (5, 4, 3, 2))
FAKE = jax.random.normal(jax.random.key(2), (5, 4, 3, 2))
WEIGHT = jax.random.normal(jax.random.key(3), (4, 3, 2))


def quadratic(x):
    """D(x) = |x|^2 / 2, whose slope is x."""
    return jnp.sum(x**2, axis=(1, 2, 3)) / 2


def linear(x):
    return jnp.einsum("nhwc,hwc->n", x, WEIGHT)


def mean_square(x):
    return float(jnp.mean(jnp.sum(x**2, axis=(1, 2, 3))))


@pytest.mark.parametrize("name", PENALTIES)
def test_logits_are_the_discriminators(name):
    real, fake, _ = PENALTIES[name]()(quadratic, REAL, FAKE, KEY)
    np.testing.assert_allclose(real, quadratic(REAL), rtol=1e-6)
    np.testing.assert_allclose(fake, quadratic(FAKE), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", 0.0),
        ("r1", mean_square(REAL)),
        ("r2", mean_square(FAKE)),
        ("r1r2", mean_square(REAL) + mean_square(FAKE)),
    ],
)
def test_squared_slopes_of_a_quadratic(name, expected):
    assert float(PENALTIES[name]()(quadratic, REAL, FAKE, KEY)[2]) == pytest.approx(expected, rel=1e-5)


def test_gradient_penalty_of_a_linear_discriminator_is_the_same_everywhere():
    norm = float(jnp.sqrt(jnp.sum(WEIGHT**2)))
    assert float(PENALTIES["gradient"]()(linear, REAL, FAKE, KEY)[2]) == pytest.approx((norm - 1) ** 2, rel=1e-5)


def test_gradient_penalty_is_taken_between_real_and_fake():
    """With real images at 0 and fakes at 1, slopes of the quadratic have norms between 0 and sqrt(24)."""
    value = float(PENALTIES["gradient"]()(quadratic, jnp.zeros((999, 4, 3, 2)), jnp.ones((999, 4, 3, 2)), KEY)[2])
    share = np.linspace(0, 1, 10_001)
    assert value == pytest.approx(float(np.mean((share * np.sqrt(24) - 1) ** 2)), rel=0.1)


def test_gradient_penalty_of_a_flat_discriminator_has_a_finite_slope():
    slope = jax.grad(lambda scale: PENALTIES["gradient"]()(lambda x: scale * linear(x), REAL, FAKE, KEY)[2])(0.0)
    assert jnp.isfinite(slope)


@pytest.mark.parametrize("name", ["r1", "r2", "r1r2", "gradient"])
def test_weight_gradient_matches_finite_differences(name):
    disc = build(Architecture(family="mlp", disc_width=6, disc_depth=2, gen_depth=1), (8, 8, 1), 0, KEY).disc
    real, fake = (jax.random.normal(jax.random.key(seed), (3, 8, 8, 1)) for seed in (4, 5))

    def value(scale):
        scaled = jax.tree.map(lambda leaf: leaf * scale, disc)
        return PENALTIES[name]()(scaled, real, fake, KEY)[2]

    width = 1e-2
    difference = (value(1.0 + width) - value(1.0 - width)) / (2 * width)
    assert float(jax.grad(value)(1.0)) == pytest.approx(float(difference), rel=2e-3)


def test_real_and_fake_never_share_batch_statistics():
    def spread(x):
        return jnp.std(x, axis=0).sum() * jnp.ones(len(x))

    real, fake = judge(spread, jnp.zeros_like(FAKE), FAKE)
    assert float(real[0]) == 0.0
    assert float(fake[0]) > 0.0


def test_lazy_penalty_is_as_strong_on_average():
    eager, every = PENALTIES["r1r2"](), 4
    values = [float(lazy(eager, every)(quadratic, REAL, FAKE, KEY, jnp.int32(step))[2]) for step in range(8)]
    assert values[0] == pytest.approx(every * float(eager(quadratic, REAL, FAKE, KEY)[2]), rel=1e-6)
    assert values[1:4] == [0.0, 0.0, 0.0]
    assert values[4] == values[0]
