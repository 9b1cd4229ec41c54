from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.networks.resampling import COARSEST, RESAMPLINGS, Down, Up, halvings, low_pass


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_doubling_is_jaxs_resize(name):
    x = normal(2, 4, 5, 3)
    np.testing.assert_allclose(Up(name, (8, 10))(x), jax.image.resize(x, (2, 8, 10, 3), name), atol=1e-5)


def test_bilinear_halving_is_jaxs_resize_inside():
    """At the border jax renormalises the filter where this repeats the border."""
    x = normal(2, 8, 12, 3)
    expected = jax.image.resize(x, (2, 4, 6, 3), "bilinear", antialias=True)
    np.testing.assert_allclose(Down("bilinear")(x)[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)


def test_nearest_halving_is_the_mean_of_four():
    x = normal(2, 4, 6, 3)
    np.testing.assert_allclose(Down("nearest")(x), x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)), atol=1e-6)


@pytest.mark.parametrize("name", RESAMPLINGS)
@pytest.mark.parametrize(("h", "w"), [(1, 2), (7, 8), (9, 5)])
def test_flat_stays_flat_at_every_size(name, h, w):
    small = Down(name)(jnp.full((1, h, w, 1), 3.0))
    assert small.shape == (1, (h + 1) // 2, (w + 1) // 2, 1)
    np.testing.assert_allclose(small, 3, rtol=1e-6)
    large = Up(name, (h, w))(small)
    assert large.shape == (1, h, w, 1)
    np.testing.assert_allclose(large, 3, rtol=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("cycles", [0, 4, 8, 12, 15, 16])
def test_the_low_pass_has_the_response_of_its_formula(axis, cycles):
    """A wave of frequency w comes out `1 - sin(w / 2)^4` times as high, along either axis."""
    angle = 2 * np.pi * cycles / 32
    wave = np.cos(angle * np.arange(32)).reshape((1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1))
    x = jnp.asarray(np.broadcast_to(wave, (2, 32, 32, 3)), jnp.float32)
    expected = (1 - np.sin(angle / 2) ** 4) * x
    np.testing.assert_allclose(low_pass(x)[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-5)


@pytest.mark.parametrize(("h", "w"), [(1, 2), (3, 8), (9, 5)])
def test_the_low_pass_leaves_what_is_flat_to_the_border(h, w):
    np.testing.assert_allclose(low_pass(jnp.full((2, h, w, 3), 3.0)), 3, rtol=1e-6)


@given(st.integers(8, 256), st.integers(8, 256))
def test_halvings_end_between_4_and_7(h, w):
    sizes = halvings((h, w))
    assert sizes[0] == (h, w)
    assert 4 <= min(sizes[-1]) <= COARSEST
    for (tall, wide), (low, narrow) in pairwise(sizes):
        assert (low, narrow) == ((tall + 1) // 2, (wide + 1) // 2)
