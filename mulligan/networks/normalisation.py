"""Normalisations: of a layer's weights, or of the feature maps it makes before its bias is added.

None has parameters: a bias follows each of them, and the scale that a normalisation usually learns is one
that the next layer's weights can take over (activations here are homogeneous, or nearly so).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

EPSILON = 1e-8
GROUP_EPSILON = 1e-5
POWER_ITERATIONS = 10  # from a fixed start; finds the norm of random matrices to within about 5%


class Normalisation(NamedTuple):
    """What is done to the weights before, and to the maps after, the product of the two."""

    weight: Callable[[Array], Array]
    maps: Callable[[Array], Array]


def unchanged(x: Array) -> Array:
    return x


def pixel(x: Float[Array, "n ... c"]) -> Float[Array, "n ... c"]:
    """Each pixel's channels divided by their root mean square (Karras et al. 2018, arXiv 1710.10196, 4.2).

    Example:
      >>> pixel(jnp.array([[3.0, -3.0]])).tolist()
      [[1.0, -1.0]]
    """
    return x * lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + EPSILON)


def group(x: Float[Array, "n ... c"]) -> Float[Array, "n ... c"]:
    """Zero mean and unit variance over pixels and groups of channels (Wu & He 2018, arXiv 1803.08494).

    There are 8 groups, or as many as 8 shares with the number of channels.
    """
    groups = math.gcd(x.shape[-1], 8)
    grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    centred = grouped - jnp.mean(grouped, axis=(1, 3), keepdims=True)
    variance = jnp.mean(centred**2, axis=(1, 3), keepdims=True)
    return (centred * lax.rsqrt(variance + GROUP_EPSILON)).reshape(x.shape)


def spectral(weight: Float[Array, "... co"]) -> Float[Array, "... co"]:
    """The weight over its largest singular value, as a matrix to `co` (Miyato et al. 2018, arXiv 1802.05957).

    The singular vectors come from a few power iterations inside each call, from a fixed start, so that a
    network stays a pure function of its parameters. As in the paper no gradient flows through them.
    """
    matrix = weight.reshape(-1, weight.shape[-1])
    fixed = lax.stop_gradient(matrix)
    start = jax.random.normal(jax.random.key(0), (matrix.shape[1],), matrix.dtype)
    right = lax.fori_loop(0, POWER_ITERATIONS, lambda _, v: _unit((fixed @ v) @ fixed), start)
    left = _unit(fixed @ right)
    return weight / (left @ matrix @ right + EPSILON)


def _unit(vector: Float[Array, " k"]) -> Float[Array, " k"]:
    return vector * lax.rsqrt(vector @ vector + EPSILON**2)


NORMALISATIONS = {
    "none": Normalisation(unchanged, unchanged),
    "pixel": Normalisation(unchanged, pixel),
    "group": Normalisation(unchanged, group),
    "spectral": Normalisation(spectral, unchanged),
}


def at_edge(name: str) -> str:
    """The normalisation of a network's first and last layer: of weights only, to let contrast through."""
    return "none" if name in ("pixel", "group") else name
