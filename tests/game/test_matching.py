"""Matching: an energy distance in the discriminator's hidden layers, and what it adds to a game."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mulligan.errors import MulliganError
from mulligan.game.matching import TINY, energy_distance
from mulligan.game.step import Turn, gen_loss_and_gradient
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.training.engine import make_game

SMALL = Architecture(family="mlp", gen_width=4, disc_width=4, gen_depth=1, disc_depth=2, latent=3)
SHAPE = (8, 8, 1)


def draws(n, mean=0.0, seed=0, d=5):
    return np.random.default_rng(seed).normal(mean, 1.0, (n, d)).astype(np.float32)


def test_the_energy_distance_is_that_of_its_definition():
    a, b = draws(6), draws(9, 1.0, 1)

    def between(x, y):
        return np.sqrt(cdist(x, y) ** 2 / 5 + TINY)

    within = [between(x, x)[~np.eye(len(x), dtype=bool)].mean() for x in (a, b)]
    assert float(energy_distance(jnp.asarray(a), jnp.asarray(b))) == pytest.approx(
        2 * between(a, b).mean() - sum(within), rel=1e-4
    )


def test_it_is_unbiased_where_both_are_alike_and_grows_with_what_sets_them_apart():
    pairs = [(draws(8, seed=2 * seed), draws(8, seed=2 * seed + 1)) for seed in range(300)]
    alike = np.array([float(energy_distance(*map(jnp.asarray, pair))) for pair in pairs])
    assert abs(alike.mean()) < 3 * alike.std() / np.sqrt(len(alike))
    apart = [float(energy_distance(jnp.asarray(draws(50)), jnp.asarray(draws(50, mean, 1)))) for mean in (0.5, 1, 2)]
    assert apart == sorted(apart)
    assert apart[0] > 0.02


def test_slopes_are_finite_where_images_coincide():
    same = jnp.ones((4, 3))
    assert np.isfinite(jax.grad(lambda x: energy_distance(same, x))(same)).all()


def test_a_generator_that_matches_minimises_both():
    """The slope with matching is that of the loss alone plus the weight times that of the distances: pixels, layers."""
    plain, matched = (make_game(Recipe(SMALL, batch=4, matching=m), SHAPE, 0, 1.0) for m in (0.0, 2.0))
    disc = build(SMALL, SHAPE, 0, jax.random.key(0)).disc
    real, fake = (jax.random.normal(jax.random.key(seed), (4, *SHAPE)) for seed in (1, 2))
    given = (disc, fake, Turn(real, None, Recipe().hyperparameters, jax.random.key(3), 0))

    def seen(images):
        return images, *disc.hidden(images)

    (low, without), (high, slope) = gen_loss_and_gradient(plain, *given), gen_loss_and_gradient(matched, *given)
    distance, own = jax.value_and_grad(
        lambda fake: sum(energy_distance(a, b) for a, b in zip(seen(real), seen(fake), strict=True))
    )(fake)
    assert len(disc.hidden(real)) == 2
    np.testing.assert_allclose(slope, without + 2 * own, rtol=1e-4, atol=1e-6)
    assert float(high) == pytest.approx(float(low + 2 * distance), rel=1e-4)


def test_matching_is_part_of_a_recipes_name():
    with_it = dataclasses.replace(Recipe(), matching=0.5)
    assert Recipe.from_json(with_it.to_json()) == with_it
    assert with_it.hash() != Recipe().hash()


def test_models_of_ones_own_cannot_match():
    with pytest.raises(MulliganError, match="matching looks into mulligan's own discriminators"):
        make_game(Recipe(Architecture(family="keras"), matching=1.0), SHAPE, 0, 1.0)
