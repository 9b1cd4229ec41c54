"""Networks that compute in bfloat16: what is of that precision, and what stays float32."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.game.step import Data
from mulligan.networks.architecture import PRECISIONS, build, computing_in, in_precision
from mulligan.networks.normalisation import NORMALISATIONS
from mulligan.networks.piecewise import lifted
from mulligan.recipe import Architecture, Recipe
from mulligan.training.engine import compile_engine, make_game, start_state

SHAPE = (8, 8, 1)
CONV = Architecture(gen_width=4, disc_width=4, latent=8)
VARIETY = {
    "conv": CONV,
    "conv, all": replace(
        CONV, gen_depth=1, disc_depth=1, resampling="bilinear", minibatch_std=True, attention=True, coarsest=4
    ),
    "residual": replace(CONV, family="residual", gen_depth=1, disc_depth=1, kernel=3, activation="gelu"),
    "mlp": replace(CONV, family="mlp", gen_depth=2, disc_depth=2),
    **{name: replace(CONV, disc_normalisation=name) for name in NORMALISATIONS if name != "none"},
}


@pytest.mark.parametrize("name", VARIETY)
def test_every_layer_computes_in_it_and_what_comes_out_is_float32(name):
    """A constant of float32 in a layer would raise the precision, and `lax.conv` would refuse."""
    gen, disc = computing_in("bfloat16", build(VARIETY[name], SHAPE, 3, jax.random.key(0)))
    labels = jnp.zeros(4, jnp.int32)

    def through(layers, x):
        seen = []
        layers, x = in_precision("bfloat16", (layers, x))
        for layer in layers:
            seen.append(x := layer(x))
        return seen

    for layers, x in ((gen.layers, jnp.ones((4, 16))), (disc.layers, jnp.ones((4, *SHAPE)))):
        assert {x.dtype for x in jax.eval_shape(through, layers, x)} == {jnp.dtype(jnp.bfloat16)}
    images = jax.eval_shape(gen, jnp.ones((4, 8)), labels)
    assert images.dtype == jax.eval_shape(disc, images, labels).dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((gen, disc))} == {jnp.dtype(jnp.float32)}


def test_it_is_near_float32_and_not_the_same():
    networks = build(CONV, SHAPE, 0, jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (16, *SHAPE))
    exact, near = (computing_in(name, networks).disc(images) for name in PRECISIONS)
    assert 0 < np.abs(exact - near).max() < 0.05 * np.abs(exact).max()


def test_lifting_is_of_the_same_precision():
    disc = computing_in("bfloat16", build(CONV, SHAPE, 0, jax.random.key(0))).disc
    x = jax.random.normal(jax.random.key(1), (16, *SHAPE))
    logits = lifted(disc, x, x, jnp.ones(16))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, disc(x), rtol=0.05, atol=0.02)


def test_a_game_trains_in_it_while_all_that_it_keeps_is_float32():
    ends = []
    for name in PRECISIONS:
        recipe = Recipe(CONV, batch=16, loss="nonsaturating", precision=name)
        game = make_game(recipe, SHAPE, 0, 1e4)
        state = start_state(game, recipe, SHAPE, 0, seed=0)
        data = Data(jnp.asarray(np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8)))
        end, info = compile_engine(game, state, data).chunk(state, data, 5)
        assert info.finite
        floats = [leaf for leaf in jax.tree.leaves((end, info)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        assert {leaf.dtype for leaf in floats} == {jnp.dtype(jnp.float32)}
        ends.append((end, info.means.penalty))
    (exact, penalty), (near, near_penalty) = ends
    assert abs(near_penalty / penalty - 1) < 0.1
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (exact.disc, near.disc)), strict=True)]
    assert max(moved) > 0


def test_models_of_ones_own_have_their_own_precision():
    with pytest.raises(MulliganError, match="precision is for mulligan's own networks: set it to float32"):
        make_game(Recipe(Architecture(family="keras"), precision="bfloat16"), SHAPE, 0, 1.0)
