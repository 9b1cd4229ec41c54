"""A mixture as one network: latents dealt out so that no distribution changes, and a student that learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from mulligan.networks.mixture import Mixture
from mulligan.training import distil as module
from mulligan.training.distil import assign_members, distil, least_sensitive_direction

LATENT = 4
WEIGHTS = jnp.array([0.5, 0.3, 0.2])
U = jnp.array([0.6, 0.0, -0.8, 0.0])


class Linear(eqx.Module):
    """One hidden layer; images of 2x2 pixels."""

    inner: jax.Array
    outer: jax.Array
    bias: jax.Array

    def __call__(self, latents, labels=None):
        flat = jnp.tanh(latents @ self.inner + self.bias) @ self.outer
        shade = 0.0 if labels is None else labels[:, None] / 10
        return (flat + shade).reshape(-1, 2, 2, 1)


def linear(seed, hidden=32, shift=0.0):
    inner, outer = jax.random.split(jax.random.key(seed))
    weights = jax.random.normal(inner, (LATENT, hidden)) / 4
    return Linear(weights, jax.random.normal(outer, (hidden, 4)) / hidden**0.5, jnp.full(hidden, shift))


def normal(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, LATENT), np.float32))


def test_every_member_is_dealt_its_share_and_sees_normal_latents():
    dealt = assign_members(normal(40_000), WEIGHTS, U)
    member = np.asarray(dealt.member)
    np.testing.assert_allclose(np.bincount(member, minlength=3) / 40_000, WEIGHTS, atol=0.01)
    across = np.array([0.8, 0.0, 0.6, 0.0])
    for index in range(3):
        seen = np.asarray(dealt.latents)[member == index]
        for direction in (np.asarray(U), across, np.eye(4)[1], (np.asarray(U) + across) / 2**0.5):
            assert kstest(seen @ direction, "norm").pvalue > 1e-3


def test_latents_move_along_the_direction_alone_and_members_lie_side_by_side():
    latents = normal(500)
    dealt = assign_members(latents, WEIGHTS, U)
    moved = np.asarray(dealt.latents - latents)
    np.testing.assert_allclose(moved, np.outer(moved @ U, U), atol=1e-5)
    order = np.argsort(np.asarray(latents @ U))
    assert (np.diff(np.asarray(dealt.member)[order]) >= 0).all()


def test_one_member_alone_sees_the_latents_as_they_are():
    dealt = assign_members(normal(500), jnp.array([3.0]), U)
    np.testing.assert_allclose(dealt.latents, normal(500), atol=1e-3)


def test_far_latents_stay_finite():
    assert np.isfinite(assign_members(100 * normal(100), WEIGHTS, U).latents).all()


def test_the_direction_least_heeded_is_found():
    gen = linear(0)
    gen = eqx.tree_at(lambda gen: gen.inner, gen, gen.inner - 0.95 * jnp.outer(U, U @ gen.inner))
    found = least_sensitive_direction(gen, normal(64), None)
    assert float(jnp.linalg.norm(found)) == pytest.approx(1.0, rel=1e-4)
    assert abs(float(found @ U)) > 0.98


@pytest.mark.parametrize(
    "often",
    [
        pytest.param(None, id="plain"),
        pytest.param(jnp.array([0.5, 0.0, 0.5]), id="conditional", marks=pytest.mark.slow),
    ],
)
def test_the_student_comes_to_draw_what_the_mixture_draws(often, monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 3000)
    mixture = Mixture((linear(0, shift=1.0), linear(1, shift=-1.0)), jnp.array([0.6, 0.4]))
    found = distil(mixture, LATENT, often, jax.random.key(0))
    assert found.after < found.before / 3
    latents = normal(4000)
    labels = None if often is None else jnp.zeros(4000, jnp.int32)
    wanted = np.asarray(mixture(latents, labels)).reshape(4000, 4)
    for gen, near in ((found.gen, True), (mixture.members[0], False)):
        drawn = np.asarray(gen(latents, labels)).reshape(4000, 4)
        assert (np.abs(drawn.mean(0) - wanted.mean(0)).max() < 0.1) == near


def test_a_mixture_of_one_has_nothing_to_learn_and_forgets_nothing(monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 50)
    found = distil(Mixture((linear(0),), jnp.ones(1)), LATENT, None, jax.random.key(0))
    assert found.before < 1e-5
    assert found.after < 1e-3


def test_the_same_key_gives_the_same_student(monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 20)
    mixture = Mixture((linear(0), linear(1)), jnp.ones(2))
    one, other = (distil(mixture, LATENT, None, jax.random.key(3)) for _ in range(2))
    assert one.after == other.after
    np.testing.assert_array_equal(one.gen.inner, other.gen.inner)
    assert (np.asarray(one.gen.inner) != np.asarray(mixture.members[0].inner)).any()
