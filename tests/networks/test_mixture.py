"""A mixture: each latent's member follows from the latent, in the right shares, and says nothing of where it lies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from mulligan.networks.mixture import Mixture, multipliers, shares, uniforms


@pytest.mark.parametrize("dimension", [1, 3, 64])
def test_the_numbers_of_latents_are_uniform_and_tell_nothing(dimension):
    latents = jax.random.normal(jax.random.key(0), (20_000, dimension))
    numbers = np.asarray(uniforms(latents))
    assert kstest(numbers, "uniform").pvalue > 1e-3
    for near in (np.abs(latents[:, 0]) < 0.1, latents[:, 0] > 1.5):
        assert kstest(numbers[np.asarray(near)], "uniform").pvalue > 1e-3


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


def test_members_draw_in_the_right_shares_whatever_the_batch():
    members = tuple(lambda z, labels, k=k: jnp.full((len(z), 8, 8, 1), float(k)) for k in range(3))
    mixture = Mixture(members, jnp.array([1.0, 2.0, 5.0]))
    latents = jax.random.normal(jax.random.key(1), (8000, 4))
    drawn = np.asarray(mixture(latents))[:, 0, 0, 0]
    np.testing.assert_allclose(np.bincount(drawn.astype(int)) / 8000, [1 / 8, 2 / 8, 5 / 8], atol=0.02)
    np.testing.assert_array_equal(np.asarray(mixture(latents[17:30]))[:, 0, 0, 0], drawn[17:30])
    assert float(shares(mixture.weights)[-1]) == 1.0
