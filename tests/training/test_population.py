"""Populations: members are what they would be alone, on one device and on eight."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from on_devices import run_on_devices
from small_runs import SMALL

from mulligan.game.step import Data
from mulligan.recipe import Hyperparameters, Recipe
from mulligan.training.engine import compile_engine, make_game, start_state
from mulligan.training.population import compile_population, member, stacked, with_member

SHAPE, STEPS = (8, 8, 1), 5
RECIPE = Recipe(replace(SMALL, gen_width=4, disc_width=4), batch=8, loss="nonsaturating")
GAME = make_game(RECIPE, SHAPE, 0, 1e4)
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 40, *SHAPE), np.uint8))
DATA = Data(IMAGES[0])


def begun(seed):
    """A member: each has rates of its own."""
    numbers = Hyperparameters(gen_lr=1e-3 * (1 + seed), disc_lr=2e-3, gamma=0.1 * seed)
    return start_state(GAME, replace(RECIPE, hyperparameters=numbers), SHAPE, 0, seed)


@pytest.fixture(scope="module")
def alone():
    """Trains one by itself."""
    engine = compile_engine(GAME, begun(0), DATA)
    return lambda seed, data=DATA: engine.chunk(begun(seed), data, STEPS)


@pytest.fixture(scope="module")
def together():
    return compile_population(GAME, stacked([begun(seed) for seed in range(3)]), DATA)


def assert_same(one, other):
    leaves = [jax.tree.leaves((state._replace(key=()), info)) for state, info in (one, other)]
    for leaf, like in zip(*leaves, strict=True):
        np.testing.assert_allclose(leaf, like, rtol=1e-4, atol=1e-5)


def test_members_are_what_they_would_be_alone(alone, together):
    states, info = together.chunk(stacked([begun(seed) for seed in range(3)]), DATA, STEPS)
    for seed in range(3):
        assert_same(member((states, info), seed), alone(seed))
    assert np.abs(states.gen.layers[0].weight[0] - states.gen.layers[0].weight[1]).max() > 1e-2


def test_a_member_is_replaced_by_one_that_trains_as_if_alone(alone, together):
    states, _ = together.chunk(stacked([begun(seed) for seed in range(3)]), DATA, 2)
    states, info = together.chunk(with_member(states, 1, begun(7)), DATA, STEPS)
    assert_same(member((states, info), 1), alone(7))
    assert states.nimg.tolist() == [(2 + STEPS) * 8, STEPS * 8, (2 + STEPS) * 8]


def test_a_member_that_has_failed_leaves_the_others_alone(alone, together):
    broken = begun(1)
    broken = broken._replace(gen=jax.tree.map(lambda leaf: leaf * jnp.nan, broken.gen))
    states, info = together.chunk(stacked([begun(0), broken, begun(2)]), DATA, STEPS)
    assert info.finite.tolist() == [True, False, True]
    assert_same(member((states, info), 2), alone(2))


def test_each_may_have_images_of_its_own(alone):
    states, data = stacked([begun(seed) for seed in range(3)]), Data(IMAGES)
    engine = compile_population(GAME, states, data, own_images=True)
    found = engine.chunk(states, data, STEPS)
    for seed in range(3):
        assert_same(member(found, seed), alone(seed, Data(IMAGES[seed])))


@pytest.mark.slow
def test_thirty_two_members_on_eight_devices_are_what_they_would_be_alone(tmp_path):
    done = run_on_devices(8, "population", tmp_path / "found.npz")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    assert found["alone"].shape[0] == 32
    np.testing.assert_allclose(found["together"], found["alone"], rtol=1e-4, atol=1e-5)
