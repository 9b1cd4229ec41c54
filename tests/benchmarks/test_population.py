"""Populations: members do not see each other, and begin with the share of learned weights that is asked for."""

import jax
import numpy as np
import pytest

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
@pytest.mark.parametrize("player", ["", "gen", "disc"])
def test_runs_begin_with_their_share_of_the_learned_weights(share, player):
    made, run = Population(RECIPE, SHAPE, 64, 1), Numbers(1e-3, 1.0, share, player=player)
    made.centre = build(RECIPE.architecture, SHAPE, 0, jax.random.key(7))
    fresh = build(RECIPE.architecture, SHAPE, 0, jax.random.split(jax.random.key(1))[0])
    state = made._first(made.centre, run.rate, run.gamma, run.share("gen"), run.share("disc"), run.seed)
    for name, begun in (("gen", state.gen), ("disc", state.disc)):
        own = share if player in ("", name) else 0.0
        of_both = map(jax.tree.leaves, (begun, getattr(made.centre, name), getattr(fresh, name)))
        for mixed, old, new in zip(*of_both, strict=True):
            np.testing.assert_allclose(mixed, own * old + (1 - own) * new, atol=1e-6)


def test_without_learned_weights_the_centre_is_nothing():
    assert not any(leaf.any() for leaf in jax.tree.leaves(Population(RECIPE, SHAPE, 64, 1).centre))


def test_runs_end_where_their_members_do():
    made = Population(RECIPE, SHAPE, 64, 3)
    [(moment, finite)] = made.advance([Numbers(1e-3, 1.0), Numbers(2e-3, 1.0)], [IMAGES] * 2)
    assert moment == 1.0
    assert finite.tolist() == [True, True]
    gen, disc = made.ends()
    for leaf in jax.tree.leaves((gen, disc)):
        assert len(leaf) == 3
        assert np.array_equal(leaf[0], leaf[2])  # the place that is left is the first again
    assert any((leaf[0] != leaf[1]).any() for leaf in jax.tree.leaves(gen))
