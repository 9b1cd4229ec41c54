"""Contracts of layers: what is made for every layer elsewhere is there for each, or refused in a sentence."""

import itertools
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_of

from mulligan.errors import MulliganError
from mulligan.exports.drawing import draw
from mulligan.meta.space.cost import LAYERS, footprint
from mulligan.meta.space.net2net import WIDE, inherit, obstacle
from mulligan.networks import layers, resampling, residual
from mulligan.networks.architecture import FAMILIES, build
from mulligan.networks.layers import Head, LatentAndClass
from mulligan.networks.piecewise import is_piecewise_linear, lifted
from mulligan.networks.resampling import RESAMPLINGS
from mulligan.recipe import Architecture, Recipe

CLASSES = {
    found
    for module in (layers, resampling, residual)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, eqx.Module) and found.__module__ == module.__name__
} - {Head, LatentAndClass}  # these are parts of a network by name, not among its layers
SHAPE = (8, 8, 1)
SMALL = Architecture(gen_width=8, disc_width=8, latent=8)
CHOICES = [
    replace(SMALL, family=family, resampling=resampled, kernel=kernel, gen_depth=1, disc_depth=1, attention=attention)
    for family, (resampled, kernel), attention in itertools.product(
        FAMILIES, [("strided", 4), ("folded", 3), *((name, 3) for name in RESAMPLINGS)], (False, True)
    )
]
NORMALISED = [
    replace(SMALL, gen_normalisation=gen, disc_normalisation=disc, minibatch_std=True)
    for gen, disc in (("pixel", "spectral"), ("group", "group"))
]


def possible(architecture: Architecture) -> bool:
    try:
        jax.eval_shape(lambda key: build(architecture, SHAPE, 3, key), jax.random.key(0))
    except MulliganError:
        return False
    return True


POSSIBLE = [each for each in (*CHOICES, *NORMALISED) if possible(each)]
# What the other cases lack: every family, every way of resampling, attention and all normalisations.
SOME = [each for each in POSSIBLE if each.resampling == "bilinear" or each.family == "mlp" or each in NORMALISED]
slow_but_for_some = pytest.mark.parametrize(
    "architecture", quick_of(POSSIBLE, *SOME), ids=lambda each: f"{each.family}-{each.resampling}-{each.attention}"
)


class Anything:
    """A target of exports that accepts every operation, and keeps its first argument's shape."""

    def __getattr__(self, name: str) -> Any:
        return lambda x, *rest: x


def test_the_choices_make_every_layer():
    made = {type(layer) for each in POSSIBLE for network in built(each) for layer in network.layers}
    assert made == CLASSES


def built(architecture: Architecture) -> Any:
    return jax.eval_shape(lambda key: build(architecture, SHAPE, 3, key), jax.random.key(0))


def test_every_layer_has_a_cost():
    assert set(LAYERS) == CLASSES
    for each in POSSIBLE:
        assert footprint(Recipe(each), SHAPE, 3).flops_per_image > 0


def test_a_layer_of_unknown_cost_is_not_free(monkeypatch):
    monkeypatch.delitem(LAYERS, layers.Activate)
    with pytest.raises(TypeError, match="Activate"):
        footprint(Recipe(replace(SMALL, gen_width=9)), SHAPE)


@pytest.mark.parametrize("architecture", POSSIBLE, ids=lambda each: f"{each.family}-{each.resampling}-{each.attention}")
def test_every_generator_can_be_written_down(architecture):
    gen = built(architecture).gen
    arrays = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), gen)
    draw(Anything(), arrays, np.zeros((2, architecture.latent)), np.zeros(2, np.int32))


@slow_but_for_some
def test_a_lifted_discriminator_is_exact_or_refused(architecture):
    if not is_piecewise_linear(built(architecture).disc):
        return
    disc = build(architecture, SHAPE, 0, jax.random.key(0)).disc
    x = np.random.default_rng(1).standard_normal((2, *SHAPE), np.float32)
    both = jax.jit(lambda disc, x: (lifted(disc, x, 2 * x, jnp.full(2, 2.0)), 2 * disc(x)))
    np.testing.assert_allclose(*both(disc, x), rtol=1e-4, atol=1e-4)


@slow_but_for_some
def test_every_network_grows_or_says_why_not(architecture):
    wider = replace(architecture, gen_width=16, disc_width=16)
    reason = obstacle(architecture, wider)
    if reason is not None:
        assert len(reason.split()) > 4
        return
    networks = build(architecture, SHAPE, 0, jax.random.key(0))
    grown = inherit(networks, architecture, wider, SHAPE, jax.random.key(1))
    assert {type(layer) for network in networks for layer in network.layers} <= set(WIDE)
    z = np.random.default_rng(2).standard_normal((2, architecture.latent), np.float32)
    drawn = jax.jit(lambda gen, z: gen(z))
    np.testing.assert_allclose(drawn(grown.gen, z), drawn(networks.gen, z), rtol=1e-3, atol=1e-4)
