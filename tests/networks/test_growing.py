"""Networks for large images that begin with what networks for small ones learned."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.networks.architecture import build
from mulligan.networks.growing import grow, smaller
from mulligan.networks.resampling import Down, Up, low_pass
from mulligan.recipe import Architecture

WANTED = Architecture(gen_width=8, disc_width=7, latent=6, resampling="folded", kernel=3)
CASES = {
    "colours": (WANTED, 3, 0),
    "greys of two classes": (WANTED, 1, 2),
    "rectifiers without a slope": (replace(WANTED, activation="relu"), 3, 0),
    "filtered": (replace(WANTED, resampling="filtered"), 3, 0),
}


def pair(architecture, channels, classes):
    """Players for images of 16x20, and fresh ones for images of 32x40."""
    small = build(smaller(architecture, (32, 40, channels)), (16, 20, channels), classes, jax.random.key(0))
    return small, build(architecture, (32, 40, channels), classes, jax.random.key(1))


@pytest.mark.parametrize("case", CASES)
def test_without_fresh_weights_players_do_on_large_images_what_they_did_on_small_ones(case):
    architecture, channels, classes = CASES[case]
    small, fresh = pair(architecture, channels, classes)
    large = grow(small, fresh, 0.0)
    labels = jnp.arange(3) % classes if classes else None
    images = jax.random.normal(jax.random.key(2), (3, 32, 40, channels))
    logits = small.disc(Down("nearest")(images), labels)
    np.testing.assert_allclose(large.disc(images, labels), logits, rtol=1e-4, atol=1e-5)
    latents = jax.random.normal(jax.random.key(3), (3, 6))
    drawn, before = large.gen(latents, labels), jnp.arctanh(small.gen(latents, labels))
    doubled = Up("bilinear", (32, 40))(before)
    doubled = jnp.tanh(low_pass(doubled) if architecture.resampling == "filtered" else doubled)
    inner = np.s_[:, 3:-3, 3:-3]  # at the border a kernel sees zeros, and the doubling repeats pixels
    np.testing.assert_allclose(drawn[inner], doubled[inner], rtol=1e-3, atol=1e-4)
    assert jax.tree.structure(large) == jax.tree.structure(fresh)
    assert [leaf.shape for leaf in jax.tree.leaves(large)] == [leaf.shape for leaf in jax.tree.leaves(fresh)]


def test_a_share_of_fresh_weights_lets_new_layers_see_and_draw_details():
    small, fresh = pair(WANTED, 3, 0)
    stripes = jnp.broadcast_to((-1.0) ** jnp.arange(40)[:, None], (2, 32, 40, 3))
    nothing = jnp.zeros_like(stripes)
    blind, seeing = (grow(small, fresh, share).disc for share in (0.0, 0.5))
    np.testing.assert_allclose(blind(stripes), blind(nothing), rtol=1e-4, atol=1e-5)
    assert (abs(seeing(stripes) - seeing(nothing)) > 1e-3).all()
    latents = jax.random.normal(jax.random.key(3), (2, 6))
    assert abs(grow(small, fresh, 0.5).gen(latents) - grow(small, fresh, 0.0).gen(latents)).max() > 1e-2


REFUSED = {
    "strides": ({"resampling": "strided"}, "folded"),
    "another kernel": ({"kernel": 5}, "kernel of 3"),
    "too narrow": ({"gen_width": 5}, "6 wide"),
    "deep": ({"gen_depth": 1}, "plain"),
    "normalised": ({"disc_normalisation": "group"}, "without normalisation"),
    "smooth": ({"activation": "gelu"}, "rectifiers"),
    "halved too often": ({"coarsest": 1}, "more than four times"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_networks_that_cannot_be_grown_are_refused(case):
    changed, words = REFUSED[case]
    with pytest.raises(MulliganError, match=words):
        smaller(replace(WANTED, **changed), (32, 40, 3))


def test_networks_of_other_layers_are_refused():
    _, fresh = pair(WANTED, 3, 0)
    with pytest.raises(MulliganError, match="smaller"):
        grow(fresh, fresh, 0.0)
