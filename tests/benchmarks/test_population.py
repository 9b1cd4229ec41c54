"""Populations: members do not see each other, and begin with the share of learned weights that is asked for."""

import jax
import numpy as np
import pytest

from benchmarks.common import population
from benchmarks.common.population import FAKES, Numbers, Population
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe

SHAPE = (8, 8, 1)
RECIPE = Recipe(Architecture(family="mlp", gen_width=8, disc_width=8, gen_depth=1, disc_depth=1, latent=4), batch=8)
IMAGES = np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)


def drawn(of: Population, runs: list[Numbers]) -> np.ndarray:
    [(moment, images, finite)] = of.train(runs, [IMAGES] * len(runs))
    assert moment == 1.0
    assert finite.all()
    return images


@pytest.mark.slow
def test_a_member_draws_what_it_would_alone():
    runs = [Numbers(1e-3, 1.0), Numbers(2e-3, 0.5, seed=2)]
    together = drawn(Population(RECIPE, SHAPE, 64, 3), runs)  # one place is left, and filled up
    alone = Population(RECIPE, SHAPE, 64, 1)
    assert together.shape == (2, FAKES, *SHAPE)
    for run, images in zip(runs, together, strict=True):
        assert np.abs(images.astype(int) - drawn(alone, [run])[0].astype(int)).max() <= 1
    assert np.abs(together[0].astype(int) - together[1].astype(int)).max() > 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_runs_begin_with_their_share_of_the_learned_weights(monkeypatch, share):
    learned = build(RECIPE.architecture, SHAPE, 0, jax.random.key(7))
    monkeypatch.setattr(population, "load_initial", lambda recipe, shape: learned)
    monkeypatch.setattr(population, "initial_networks", lambda recipe, shape, classes, key, learned: learned)
    made = Population(RECIPE, SHAPE, 64, 1)
    keys = jax.random.split(jax.random.key(1))
    fresh = build(RECIPE.architecture, SHAPE, 0, keys[0])
    state = made._first(1e-3, 1.0, share, 1)
    for mixed, old, new in zip(*map(jax.tree.leaves, (state.gen, learned.gen, fresh.gen)), strict=True):
        np.testing.assert_allclose(mixed, share * old + (1 - share) * new, atol=1e-6)
