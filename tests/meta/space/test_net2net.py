"""Children that compute what their parents do, whatever was made wider or deeper."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import quick_of

from mulligan.errors import MulliganError
from mulligan.meta.space.net2net import inherit, inherit_scale, mirroring, obstacle, widening
from mulligan.networks.architecture import Networks, build
from mulligan.recipe import Architecture

SHAPE = (16, 12, 1)
PARENTS = {
    "conv": Architecture(gen_width=4, disc_width=3, latent=6, activation="relu"),
    "conv, leaky": Architecture(gen_width=4, disc_width=3, latent=6),
    "conv, folded": Architecture(gen_width=4, disc_width=3, latent=6, resampling="folded", kernel=3),
    "conv, filtered": Architecture(gen_width=4, disc_width=3, latent=6, resampling="filtered", kernel=3),
    "conv, nearest, pixel": Architecture(
        gen_width=4, disc_width=3, latent=6, resampling="nearest", gen_normalisation="pixel", kernel=3
    ),
    "conv, group, spread": Architecture(
        gen_width=8, disc_width=8, latent=6, gen_normalisation="group", disc_normalisation="group", minibatch_std=True
    ),
    "mlp": Architecture("mlp", 8, 6, 1, 1, latent=6, activation="relu"),
    "residual": Architecture("residual", 4, 3, 1, 1, kernel=3, latent=6, activation="silu"),
}


def trained(networks: Networks) -> Networks:
    """With every weight moved, also those that begin at zero."""
    leaves, structure = jax.tree.flatten(networks)
    rng = np.random.default_rng(1)
    moved = [np.asarray(leaf) + np.float32(0.05) * rng.standard_normal(leaf.shape, np.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in moved])


@jax.jit  # one program for each architecture, not one for each operation
def said(networks: Networks, latents, images):
    """What both players make of these latents and images."""
    return networks.gen(latents), networks.disc(images)


def both(before: Architecture, after: Architecture):
    parent = trained(build(before, SHAPE, 0, jax.random.key(0)))
    return parent, inherit(parent, before, after, SHAPE, jax.random.key(1))


def agree(parent: Networks, child: Networks) -> None:
    rng = np.random.default_rng(2)
    latents = jnp.asarray(rng.standard_normal((8, 6)), jnp.float32)
    images = jnp.asarray(rng.uniform(-1, 1, (8, *SHAPE)), jnp.float32)
    (child_fakes, child_logits), (fakes, logits) = (said(each, latents, images) for each in (child, parent))
    np.testing.assert_allclose(child_fakes, fakes, atol=1e-5)
    np.testing.assert_allclose(child_logits, logits, rtol=1e-5, atol=1e-5)


def grown(before: Architecture, gen: float, disc: float, deeper: int = 0) -> Architecture:
    return dataclasses.replace(
        before,
        gen_width=round(before.gen_width * gen),
        disc_width=round(before.disc_width * disc),
        gen_depth=before.gen_depth + deeper,
        disc_depth=before.disc_depth + deeper,
    )


@pytest.mark.parametrize("name", quick_of(PARENTS, *(name for name in PARENTS if name != "residual")))
def test_a_wider_child_computes_the_same(name):
    before = PARENTS[name]
    parent, child = both(before, grown(before, 2, 2))
    agree(parent, child)
    assert child.gen.layers[0] != parent.gen.layers[0]


@pytest.mark.parametrize("name", quick_of(["conv", "mlp", "residual"], "conv", "mlp"))
def test_a_deeper_and_wider_child_computes_the_same(name):
    before = PARENTS[name]
    parent, child = both(before, grown(before, 1.5, 2, deeper=2))
    agree(parent, child)
    assert len(child.gen.layers) > len(parent.gen.layers)


@pytest.mark.parametrize(("gen", "disc", "deeper"), [(2, 2, 1), (3, 2, 2)])
def test_between_leaky_rectifiers_a_child_is_deeper_where_it_is_twice_as_wide(gen, disc, deeper):
    before = PARENTS["conv, leaky"]
    parent, child = both(before, grown(before, gen, disc, deeper))
    agree(parent, child)
    assert len(child.gen.layers) > len(parent.gen.layers)


@given(st.integers(1, 9), st.integers(0, 20), st.floats(0, 0.9), st.integers(0, 100))
def test_mirrored_channels_give_back_what_they_were_made_of(before, more, slope, seed):
    found = mirroring(before, 2 * before + more, slope, np.random.default_rng(seed))
    x = np.random.default_rng(seed).standard_normal(before)
    seen = found.factor * x[found.source]
    rectified = np.where(seen > 0, seen, slope * seen)
    np.testing.assert_allclose(np.bincount(found.source, found.share * rectified), x)


@pytest.mark.parametrize("name", quick_of(["conv", "conv, leaky", "mlp", "residual"], "conv, leaky", "mlp"))
def test_a_wider_child_moves_as_its_parent_does(name):
    """One step of each parameter's scale against the gradient of the same loss, then the same function again."""
    before = PARENTS[name]
    after = grown(before, 1.5, 2)
    parent = trained(build(before, SHAPE, 0, jax.random.key(0)))
    rng = np.random.default_rng(2)
    scale = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.01, 0.03, leaf.shape), jnp.float32), parent)
    child = inherit(parent, before, after, SHAPE, jax.random.key(1))
    latents = jnp.asarray(rng.standard_normal((8, 6)), jnp.float32)
    images = jnp.asarray(rng.uniform(-1, 1, (8, *SHAPE)), jnp.float32)

    def loss(players: Networks):
        return jnp.mean(players.disc(images) ** 2) - jnp.mean(players.disc(players.gen(latents)))

    @jax.jit
    def stepped(players, scale):
        return jax.tree.map(lambda w, s, g: w - s * g, players, scale, jax.grad(loss)(players))

    moves = inherit_scale(scale, before, after, SHAPE, jax.random.key(1), 1.0)
    moved = stepped(parent, scale)
    agree(moved, stepped(child, moves))
    for now, then in zip(said(moved, latents, images), said(parent, latents, images), strict=True):
        assert np.abs(np.asarray(now - then)).max() > 1e-3


def test_what_was_added_has_a_scale_of_its_own():
    before = PARENTS["conv, leaky"]
    after = grown(before, 2, 2, deeper=1)
    scale = jax.tree.map(jnp.ones_like, build(before, SHAPE, 0, jax.random.key(0)))
    moves = inherit_scale(scale, before, after, SHAPE, jax.random.key(1), 1e-6)
    small = [float(jnp.max(leaf)) < 1e-4 for leaf in jax.tree.leaves(moves.gen)]
    assert sum(small) == 2  # kernel and bias of the one new layer


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["conv", "mlp", "residual"]), st.integers(0, 5), st.integers(0, 5), st.integers(0, 1))
def test_any_growth_keeps_the_function(name, gen, disc, deeper):
    before = PARENTS[name]
    after = dataclasses.replace(
        before,
        gen_width=before.gen_width + gen,
        disc_width=before.disc_width + disc,
        gen_depth=before.gen_depth + deeper,
    )
    agree(*both(before, after))


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 100))
def test_shares_of_what_is_repeated_sum_to_one_and_differ(before, more, seed):
    found = widening(before, before + more, np.random.default_rng(seed))
    np.testing.assert_allclose(np.bincount(found.source, found.share), np.ones(before))
    assert sorted(set(found.source.tolist())) == list(range(before))
    assert len(found.source) == before + more


def test_repeated_channels_do_not_stay_the_same():
    """With shares alike, two channels that are one channel would have one gradient for ever."""
    before = PARENTS["conv"]
    _, child = both(before, grown(before, 2, 2))
    images = jnp.asarray(np.random.default_rng(3).uniform(-1, 1, (4, *SHAPE)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda disc: jnp.mean(disc(images) ** 2)))(child.disc).layers[0].kernel
    assert np.abs(np.asarray(gradient[..., 0] - gradient[..., 1])).max() > 1e-6


@pytest.mark.parametrize(
    ("before", "changes", "reason"),
    [
        ("conv", {"gen_width": 2}, "smaller"),
        ("conv", {"latent": 7}, "differ in latent"),
        ("conv, leaky", {"gen_depth": 1, "gen_width": 7}, "only where the width is doubled"),
        ("conv, nearest, pixel", {"gen_depth": 1, "gen_width": 8}, "only between two rectifiers"),
        ("conv, group, spread", {"disc_width": 12}, "whole number of times"),
        ("mlp", {"family": "conv"}, "differ in family"),
    ],
)
def test_what_cannot_be_inherited_is_one_sentence(before, changes, reason):
    after = dataclasses.replace(PARENTS[before], **changes)
    assert reason in (obstacle(PARENTS[before], after) or "")
    parent = build(PARENTS[before], SHAPE, 0, jax.random.key(0))
    with pytest.raises(MulliganError, match=reason):
        inherit(parent, PARENTS[before], after, SHAPE, jax.random.key(1))
