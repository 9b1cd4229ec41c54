"""Penalties against closed forms: discriminators whose slopes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.game.penalties import PENALTIES, lazy, r1r2_piecewise, real_fake_logits
from mulligan.networks.architecture import build
from mulligan.networks.piecewise import is_piecewise_linear, lifted
from mulligan.recipe import Architecture

KEY = jax.random.key(0)
REAL = jax.random.normal(jax.random.key(1), (5, 4, 3, 2))
FAKE = jax.random.normal(jax.random.key(2), (5, 4, 3, 2))
WEIGHT = jax.random.normal(jax.random.key(3), (4, 3, 2))


def quadratic(x, labels=None):
    """D(x) = |x|^2 / 2, whose slope is x."""
    return jnp.sum(x**2, axis=(1, 2, 3)) / 2


def linear(x, labels=None):
    return jnp.einsum("nhwc,hwc->n", x, WEIGHT)


def mean_square(x):
    return float(jnp.mean(jnp.sum(x**2, axis=(1, 2, 3))))


@pytest.mark.parametrize("name", PENALTIES)
def test_logits_are_the_discriminators(name):
    real, fake, *_ = PENALTIES[name].penalty(quadratic, None, REAL, FAKE, KEY)
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
    assert float(PENALTIES[name].penalty(quadratic, None, REAL, FAKE, KEY)[2]) == pytest.approx(expected, rel=1e-5)


def test_gradient_penalty_of_a_linear_discriminator_is_the_same_everywhere():
    norm = float(jnp.sqrt(jnp.sum(WEIGHT**2)))
    assert float(PENALTIES["gradient"].penalty(linear, None, REAL, FAKE, KEY)[2]) == pytest.approx(
        (norm - 1) ** 2, rel=1e-5
    )


def test_gradient_penalty_is_taken_between_real_and_fake():
    """With real images at 0 and fakes at 1, slopes of the quadratic have norms between 0 and sqrt(24)."""
    value = float(
        PENALTIES["gradient"].penalty(quadratic, None, jnp.zeros((999, 4, 3, 2)), jnp.ones((999, 4, 3, 2)), KEY)[2]
    )
    share = np.linspace(0, 1, 10_001)
    assert value == pytest.approx(float(np.mean((share * np.sqrt(24) - 1) ** 2)), rel=0.1)


def test_gradient_penalty_of_a_flat_discriminator_has_a_finite_slope():
    def value(scale):
        return PENALTIES["gradient"].penalty(lambda x, labels: scale * linear(x), None, REAL, FAKE, KEY)[2]

    slope = jax.grad(value)(0.0)
    assert jnp.isfinite(slope)


@pytest.mark.parametrize("name", ["r1", "r2", "r1r2", "gradient"])
def test_weight_gradient_matches_finite_differences(name):
    disc = build(Architecture(family="mlp", disc_width=6, disc_depth=2, gen_depth=1), (8, 8, 1), 0, KEY).disc
    real, fake = (jax.random.normal(jax.random.key(seed), (3, 8, 8, 1)) for seed in (4, 5))

    def value(scale):
        scaled = jax.tree.map(lambda leaf: leaf * scale, disc)
        return PENALTIES[name].penalty(scaled, None, real, fake, KEY)[2]

    value = jax.jit(value)
    width = 1e-2
    difference = (value(1.0 + width) - value(1.0 - width)) / (2 * width)
    assert float(jax.grad(value)(1.0)) == pytest.approx(float(difference), rel=2e-3)


def test_real_and_fake_never_share_batch_statistics():
    def spread(x, labels):
        return jnp.std(x, axis=0).sum() * jnp.ones(len(x))

    real, fake = real_fake_logits(spread, None, jnp.stack([jnp.zeros_like(FAKE), FAKE]))[:, 0]
    assert float(real) == 0.0
    assert float(fake) > 0.0


def test_lazy_penalty_is_as_strong_on_average():
    eager, every = PENALTIES["r1r2"].penalty, 4
    values = [float(lazy(eager, every)(quadratic, None, REAL, FAKE, KEY, jnp.int32(step))[2]) for step in range(8)]
    assert values[0] == pytest.approx(every * float(eager(quadratic, None, REAL, FAKE, KEY)[2]), rel=1e-6)
    assert values[1:4] == [0.0, 0.0, 0.0]
    assert values[4] == values[0]


@pytest.mark.parametrize(
    ("architecture", "classes"),
    [
        (Architecture(family="mlp", disc_width=6, disc_depth=2, gen_depth=1), 0),
        (Architecture(family="mlp", disc_width=6, disc_depth=2, gen_depth=1), 3),
        (Architecture(family="conv", disc_width=3, disc_depth=1, activation="relu"), 3),
        (Architecture(family="conv", disc_width=3, resampling="bilinear", kernel=3), 0),
        (Architecture(family="conv", disc_width=3, resampling="folded", kernel=3), 0),
        (Architecture(family="residual", disc_width=3, disc_depth=1, gen_depth=1, kernel=3, resampling="nearest"), 3),
        (Architecture(family="residual", disc_width=3, disc_depth=1, gen_depth=1, kernel=3), 0),
    ],
    ids=lambda given: f"{given.family}-{given.resampling}" if isinstance(given, Architecture) else None,
)
def test_the_cheap_form_has_the_same_values_and_gradients(architecture, classes):
    disc = build(architecture, (9, 8, 3), classes, KEY).disc
    assert is_piecewise_linear(disc)
    # Biases away from zero, and no branch that starts as the identity: nothing may cancel by luck.
    rng = np.random.default_rng(7)
    disc = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1 * rng.standard_normal(leaf.shape, np.float32), disc)
    real, fake = jnp.asarray(rng.standard_normal((2, 4, 9, 8, 3), np.float32))
    labels = jnp.array([0, 2, 1, 2]) if classes else None

    def loss(disc, penalty):
        real_logits, fake_logits, value, _ = penalty(disc, labels, real, fake, KEY)
        return jnp.mean(jax.nn.softplus(fake_logits - real_logits)) + 0.3 * value

    differentiate = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    expected, slow = differentiate(disc, PENALTIES["r1r2"].penalty)
    value, fast = differentiate(disc, r1r2_piecewise(lifted))
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    for left, right in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
    assert any(float(jnp.abs(leaf).max()) > 1e-2 for leaf in jax.tree.leaves(slow))


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(activation="silu"),
        Architecture(minibatch_std=True),
        Architecture(attention=True),
        Architecture(disc_normalisation="spectral"),
        Architecture(disc_normalisation="group"),
        Architecture(family="residual", gen_depth=1, disc_depth=1, activation="gelu"),
    ],
)
def test_other_discriminators_are_not_taken_for_piecewise_linear(architecture):
    assert not is_piecewise_linear(build(architecture, (16, 16, 1), 0, KEY).disc)
