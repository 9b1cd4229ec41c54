"""Costs predicted from the layers, against what the compiler counts and what the networks hold."""

import math
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import quick_of

from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import PENALTIES
from mulligan.game.step import Data, step
from mulligan.meta.space.cost import Limits, footprint, passes, refusal
from mulligan.meta.space.default import pretrained_recipe, textbook_recipe
from mulligan.meta.space.space import Space
from mulligan.networks.architecture import build, parameter_count
from mulligan.recipe import Architecture, Recipe
from mulligan.training.budget import Budget
from mulligan.training.engine import make_game, start_state

WIDE = Architecture(gen_width=32, disc_width=32)
RESIDUAL = replace(WIDE, family="residual", gen_depth=1, disc_depth=1, kernel=3)
RECIPES = {
    "piecewise": Recipe(WIDE),
    "four steps": Recipe(replace(WIDE, activation="silu"), disc_steps=4),
    "folded": Recipe(replace(WIDE, resampling="folded", kernel=3)),
    "filtered": Recipe(replace(WIDE, resampling="filtered", kernel=3)),
    "attention": Recipe(replace(WIDE, attention=True, minibatch_std=True, gen_depth=2, resampling="nearest", kernel=3)),
    "residual": Recipe(replace(RESIDUAL, activation="silu", resampling="bilinear")),
    "mlp": Recipe(replace(WIDE, family="mlp", gen_width=512, disc_width=512, gen_depth=2, disc_depth=2), penalty="r1"),
    "textbook": textbook_recipe(),
    "two opponents": Recipe(replace(WIDE, activation="silu"), opponents=2),
    "matching": Recipe(replace(WIDE, activation="silu"), matching=1.0),
    "critics": Recipe(WIDE, features="imagenet-1", features_every=1),
}
SMOOTH = replace(RECIPES["mlp"], architecture=replace(RECIPES["mlp"].architecture, activation="silu"), penalty="r1r2")
RECIPES |= {name: replace(SMOOTH, dynamics=name) for name in DYNAMICS}
RECIPES |= {name: replace(SMOOTH, loss=name, penalty="none") for name in LOSSES}
RECIPES |= {f"{name} penalty": replace(SMOOTH, penalty=name) for name in PENALTIES}


QUICK = (
    "piecewise",
    "folded",
    "filtered",
    "mlp",
    "matching",
    "textbook",
    "lookahead",
    "extragradient",
    "wasserstein",
    "gradient penalty",
)


@pytest.mark.parametrize("name", quick_of(RECIPES, *QUICK))
def test_operations_agree_with_the_compilers(name):
    recipe, shape = RECIPES[name], (16, 16, 3)
    game = make_game(recipe, shape, 0, 1e4)
    state = jax.eval_shape(lambda: start_state(game, recipe, shape, 0, 0))
    data = Data(jax.ShapeDtypeStruct((100, *shape), jnp.uint8))
    counted = jax.jit(lambda state, data: step(game, state, data)).lower(state, data).cost_analysis()["flops"]
    per_image = counted / (recipe.batch * recipe.disc_steps)
    # The compiler also counts activations, optimisers and random numbers.
    assert 0.7 < footprint(recipe, shape).flops_per_image / per_image < 1.15


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_parameters_are_counted_exactly_and_nothing_is_free(seed):
    recipe = Space().sample(np.random.default_rng(seed))
    found = footprint(recipe, (12, 9, 1), 3)
    networks = jax.eval_shape(lambda key: build(recipe.architecture, (12, 9, 1), 3, key), jax.random.key(0))
    assert found.parameters == parameter_count(networks)
    assert found.bytes > 4 * found.parameters
    assert found.flops_per_image > 6 * found.parameters / recipe.disc_steps / 20


def test_a_lazy_penalty_is_cheaper_and_never_cheaper_than_none():
    costs = [footprint(Recipe(WIDE, penalty_every=every), (28, 28, 1)).flops_per_image for every in (1, 2, 16)]
    free = footprint(Recipe(WIDE, penalty="none"), (28, 28, 1)).flops_per_image
    assert costs[0] > costs[1] > costs[2] > free


def test_it_is_predicted_in_milliseconds():
    """Not a measurement: compiling or running anything would take hundreds of times as long."""
    passes.cache_clear()
    began = time.process_time()
    footprint(Recipe(replace(WIDE, gen_width=33, gen_depth=2)), (64, 64, 3))
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("architecture", "limits", "reason"),
    [
        (WIDE, Limits(), None),
        (WIDE, Limits(flops=1e9, nimg=1000), "it would see only"),
        (WIDE, Limits(bytes=1000), "memory"),
        (replace(WIDE, kernel=9), Limits(), "kernel"),
    ],
)
def test_refusals_are_sentences(architecture, limits, reason):
    found = refusal(Recipe(architecture), (28, 28, 1), 0, limits)
    assert (found is None) == (reason is None)
    if found:
        assert reason in found
        assert found.endswith(".")


def test_limits_are_met_exactly():
    cost = footprint(Recipe(WIDE), (28, 28, 1))
    at = Limits(flops=cost.flops_per_image * 1000, nimg=1000, bytes=cost.bytes)
    assert refusal(Recipe(WIDE), (28, 28, 1), 0, at) is None
    assert refusal(Recipe(WIDE), (28, 28, 1), 0, at._replace(nimg=1001)) is not None
    assert refusal(Recipe(WIDE), (28, 28, 1), 0, at._replace(bytes=cost.bytes - 1)) is not None
    assert math.isinf(Limits().flops)


def test_learned_weights_that_are_not_for_these_images_or_networks_are_refused():
    recipe = pretrained_recipe((32, 32, 3), 50, Budget(None, 60.0))
    assert recipe is not None
    plenty = Limits(flops=1e15, nimg=1)
    assert refusal(recipe, (32, 32, 3), 0, plenty) is None
    assert "are not for" in str(refusal(recipe, (16, 16, 3), 0, plenty))
    wider = replace(recipe, architecture=replace(recipe.architecture, gen_width=48))
    assert "are not for" in str(refusal(wider, (32, 32, 3), 0, plenty))
    assert "no initial weights are called" in str(refusal(replace(recipe, init="nothing"), (32, 32, 3), 0, plenty))
