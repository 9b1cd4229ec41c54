"""Critics beside the discriminator: what a step with them does, against the same written out."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_step import ARCHITECTURE, BATCH, IMAGES, NUMBERS, game

from benchmarks.common.toy_games import descent
from mulligan.errors import MulliganError
from mulligan.game.critics import Critics
from mulligan.game.penalties import r1r2
from mulligan.game.step import Data, initial_state, pixels, step
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.training.engine import compile_engine, make_game, start_state

WEIGHT, PENALTY_FACTOR = 0.3, 2.0


@jax.tree_util.register_pytree_node_class
class Linear:
    """Logits linear in the map: its penalty is the square of its weights, whatever the images."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, maps, labels=None):
        return jnp.tanh(jnp.sum(maps * self.weights, (1, 2, 3)))

    def tree_flatten(self):
        return (self.weights,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def halved(images):
    return (images.reshape(len(images), 4, 2, 4, 2, 1).mean((2, 4)),)


def with_critics(every=1, weight=WEIGHT):
    make = lambda key: (Linear(jax.random.normal(key, (4, 4, 1))),)  # noqa: E731
    return replace(
        game(loss="nonsaturating"),
        optimiser=descent,
        critics=Critics(halved, make, r1r2, PENALTY_FACTOR, weight, every),
    )


def start(of):
    networks = build(ARCHITECTURE, (8, 8, 1), 0, jax.random.key(0))
    return initial_state(of, networks.gen, networks.disc, NUMBERS, jax.random.key(1))


def advanced(of, state):
    return jax.jit(lambda state: step(of, state, Data(IMAGES))[0])(state)


def test_the_generator_hears_the_critics_by_their_weight_and_they_move_before():
    of = with_critics()
    alone, state = replace(of, critics=None), start(of)
    after, without = advanced(of, state), advanced(alone, state._replace(critics=()))
    # The same batch and latents as in the step: alternating, one discriminator step.
    _, batch_key, game_key = jax.random.split(state.key, 3)
    rows = jax.random.randint(batch_key, (1, BATCH), 0, len(IMAGES))[0]
    real = halved(pixels(IMAGES[rows]))[0]
    z = jax.random.normal(jax.random.fold_in(jax.random.split(game_key, 1)[0], 0), (BATCH, 3))
    (before,), [after_critic] = state.critics.critics, after.critics.critics

    def lost(critic):
        fake = halved(state.gen(z))[0]
        slopes = [jax.vmap(jax.grad(lambda x: critic(x[None])[0]))(maps) for maps in (real, fake)]
        penalty = sum(jnp.sum(each**2) for each in slopes) / BATCH
        return jnp.mean(of.loss.disc(critic(real), critic(fake))) + PENALTY_FACTOR * NUMBERS.gamma / 2 * penalty

    moved = jax.tree.map(lambda w, g: w - NUMBERS.disc_lr * g, before, jax.grad(lost)(before))
    np.testing.assert_allclose(after_critic.weights, moved.weights, rtol=1e-4, atol=1e-6)

    def heard(gen):
        return WEIGHT * jnp.mean(of.loss.gen(moved(real), moved(halved(gen(z))[0])))

    expected = jax.tree.map(lambda w, g: w - NUMBERS.gen_lr * g, without.gen, jax.grad(heard)(state.gen))
    for ours, theirs in zip(jax.tree.leaves(after.gen), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(after.disc), jax.tree.leaves(without.disc), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # the discriminator does not know of them


def test_in_the_steps_between_they_are_not_asked():
    of = with_critics(every=2)
    state = start(of)
    first = advanced(of, state)
    second, alone = advanced(of, first), advanced(replace(of, critics=None), first._replace(critics=()))
    assert not np.array_equal(first.critics.critics[0].weights, state.critics.critics[0].weights)
    np.testing.assert_array_equal(second.critics.critics[0].weights, first.critics.critics[0].weights)
    for ours, theirs in zip(jax.tree.leaves(second.gen), jax.tree.leaves(alone.gen), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    third = advanced(of, second)
    assert not np.array_equal(third.critics.critics[0].weights, second.critics.critics[0].weights)


def test_a_move_that_stands_for_four_goes_twice_as_far():
    often, seldom = with_critics(every=1), with_critics(every=4)
    state = start(often)
    before = state.critics.critics[0].weights
    far, further = (advanced(of, state).critics.critics[0].weights - before for of in (often, seldom))
    np.testing.assert_allclose(further, 2 * far, rtol=1e-4, atol=1e-7)


def test_critics_without_weight_change_no_generator():
    of = with_critics(weight=0.0)
    state = start(of)
    after, alone = advanced(of, state), advanced(replace(of, critics=None), state._replace(critics=()))
    assert optax.tree_utils.tree_allclose(after.gen, alone.gen, rtol=1e-6)


RECIPE = Recipe(Architecture(gen_width=4, disc_width=4, latent=8), batch=4, features="imagenet-1", features_every=2)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 3])
def test_a_recipe_with_features_trains(classes):
    shape = (16, 16, 1)
    made = make_game(RECIPE, shape, classes, 100.0)
    state = start_state(made, RECIPE, shape, classes, seed=0)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (10, *shape)), jnp.uint8)
    data = Data(images, jnp.arange(10) % classes if classes else None)
    before = jax.tree.map(np.asarray, state.critics.critics)
    state, info = compile_engine(made, state, data).chunk(state, data, 2)
    assert bool(info.finite)
    pairs = list(zip(jax.tree.leaves(before), jax.tree.leaves(state.critics.critics), strict=True))
    assert all(np.isfinite(new).all() for _, new in pairs)
    assert not all(np.array_equal(old, new) for old, new in pairs)


def test_players_that_move_at_once_have_no_turn_for_critics():
    with pytest.raises(MulliganError, match="set dynamics to alternating"):
        make_game(replace(RECIPE, dynamics="simultaneous"), (16, 16, 1), 0, 100.0)
