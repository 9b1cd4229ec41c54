"""A mixture of generators: who draws what, how often, and that no one can tell from the latents."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.networks.mixture import Mixture, multipliers, uniforms

LATENT = 5


class Painted(eqx.Module):
    """Draws `value` in every pixel, plus the latent's first number and the label."""

    value: jax.Array

    def __call__(self, latents, labels=None):
        shade = self.value + latents[:, 0] + (0 if labels is None else labels)
        return jnp.broadcast_to(shade[:, None, None, None], (len(latents), 2, 2, 1))


def painted(*weights):
    members = tuple(Painted(jnp.float32(100 * place)) for place in range(len(weights)))
    return Mixture(members, jnp.array(weights, jnp.float32))


def normal(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, LATENT), np.float32))


def test_each_sample_is_that_of_its_member():
    mixture, latents = painted(0.5, 0.5), normal(200)
    drawn = mixture(latents)
    expected = 100 * mixture.drawing(latents) + latents[:, 0]
    np.testing.assert_array_equal(drawn[:, 1, 1, 0], expected)
    labels = jnp.arange(200) % 7
    np.testing.assert_allclose(mixture(latents, labels)[:, 0, 0, 0], expected + labels, rtol=1e-6)


def test_members_draw_by_their_weights_whatever_those_sum_to():
    for total in (1.0, 3.0):
        drawn = painted(0.1 * total, 0.6 * total, 0.3 * total).drawing(normal(20_000))
        np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, [0.1, 0.6, 0.3], atol=0.015)


@pytest.mark.parametrize(("weights", "member"), [((1.0, 0.0), 0), ((0.0, 1.0), 1), ((0.0, 1.0, 0.0), 1)])
def test_a_member_without_weight_never_draws(weights, member):
    assert set(painted(*weights).drawing(normal(5000)).tolist()) == {member}


def test_the_same_latent_gives_the_same_image_in_any_batch_and_compiled():
    mixture, latents = painted(0.3, 0.7), normal(60)
    whole = np.asarray(mixture(latents))
    np.testing.assert_array_equal(np.concatenate([mixture(latents[:17]), mixture(latents[17:])]), whole)
    np.testing.assert_array_equal(jax.jit(lambda mixture, z: mixture(z))(mixture, latents), whole)


def test_who_draws_tells_nothing_about_where_the_latent_lies():
    """Means, signs and squares of the latents of each member are those of all."""
    latents = normal(40_000)
    drawing = np.asarray(painted(0.5, 0.5).drawing(latents))
    for member in (0, 1):
        own = np.asarray(latents)[drawing == member]
        error = 4.5 / np.sqrt(len(own))
        assert np.abs(own.mean(0)).max() < error
        assert np.abs((own > 0).mean(0) - 0.5).max() < error / 2
        assert np.abs((own**2).mean(0) - 1).max() < error * 2**0.5


def test_uniforms_are_uniform_and_those_of_near_latents_far_apart():
    found = np.asarray(uniforms(normal(20_000)))
    assert (found >= 0).all()
    assert (found < 1).all()
    assert np.abs(np.quantile(found, np.linspace(0, 1, 11)) - np.linspace(0, 1, 11)).max() < 0.015
    near = np.tile(normal(1), (2000, 1))
    near[:, 2] = np.nextafter(np.arange(2000, dtype=np.float32), np.float32(np.inf))
    spread = np.asarray(uniforms(jnp.asarray(near)))
    assert abs(np.corrcoef(spread[:-1], spread[1:])[0, 1]) < 0.08
    assert len(np.unique(spread)) > 1990


def test_order_of_the_numbers_in_a_latent_matters():
    latents = normal(100)
    assert (np.asarray(uniforms(latents)) != np.asarray(uniforms(latents[:, ::-1]))).all()


def test_one_number_is_a_latent_too():
    drawn = Mixture((Painted(jnp.float32(0)), Painted(jnp.float32(100))), jnp.ones(2)).drawing(normal(4000)[:, :1])
    assert np.bincount(drawn, minlength=2).min() > 1800


def share(total):
    """A signed 32-bit number onto [0, 1), in single precision."""
    return min(np.float32(total) / np.float32(2**32) + np.float32(0.5), np.float32(1 - 2**-24))


def test_the_hash_is_that_of_integers_of_any_size():
    latents = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    latents[0] = 1e9
    parts = np.trunc(np.clip(latents, -(2**14), 2**14) * 2**16).astype(object)
    totals = [(sum(row * multipliers(7).astype(object)) + 2**31) % 2**32 - 2**31 for row in parts]
    upper = [int(share(one) * 2**24) + 0x9E3779B9 for one in totals]
    expected = [share((one * one + 2**31) % 2**32 - 2**31) for one in upper]
    np.testing.assert_array_equal(uniforms(jnp.asarray(latents)), np.array(expected, np.float32))
