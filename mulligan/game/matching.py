"""Matching: what a generator may minimise besides its loss, a distance between real and fake images as a whole.

A matching is `(disc, labels, real [n,h,w,c], fake [n,h,w,c]) -> []`. Logits say how real an image looks; a distance
between the two batches in the discriminator's own features says where the fakes should go, which tells a generator
more about a handful of images than a logit each (feature matching: Salimans et al. 2016, arXiv 1606.03498).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.types import Pixels

Features = Sequence[Float[Array, "n ..."]]  # of one batch, a layer each
Matching = Callable[[Any, Any, Pixels, Pixels], Float[Array, ""]]
DISC_PASSES = 4  # that a matching costs a generator step: features of real and fake, and back to the fakes
TINY = 1e-4  # keeps the slope of a distance finite at zero


def energy_distance(real: Float[Array, "n ..."], fake: Float[Array, "m ..."]) -> Float[Array, ""]:
    """`2 E|x - y| - E|x - x'| - E|y - y'|`, unbiased, with the root mean square over features as `|.|`.

    It is zero only where both distributions are the same (Szekely and Rizzo 2013). As the loss of a critic's features
    it is the game of Bellemare et al. 2017, arXiv 1705.10743.

    Example:
      >>> ones = jnp.ones((4, 3))
      >>> round(float(energy_distance(0 * ones, 2 * ones)), 2)
      3.98
    """
    real, fake = real.reshape(len(real), -1), fake.reshape(len(fake), -1)
    return 2 * _distances(real, fake).mean() - _apart(real) - _apart(fake)


def energy(features: Callable[[Any, Pixels, Any], Features], weight: float) -> Matching:
    """`weight` times the energy distance in each layer of `features(disc, images, labels)`, summed over the layers.

    Args:
      features: of one batch, a layer each.
      weight: >= 0.
    """

    def matching(disc: Any, labels: Any, real: Pixels, fake: Pixels) -> Float[Array, ""]:
        pairs = zip(features(disc, real, labels), features(disc, fake, labels), strict=True)
        return weight * jnp.sum(jnp.stack([energy_distance(one, other) for one, other in pairs]))

    return matching


def _distances(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    squares = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1) - 2 * a @ b.T
    return jnp.sqrt(jnp.maximum(squares, 0.0) / a.shape[1] + TINY)


def _apart(a: Float[Array, "n d"]) -> Float[Array, ""]:
    """The mean distance between two different rows."""
    n = len(a)
    # A row is at `TINY` and not at 0 from itself, and is left out.
    between = _distances(a, a) * (1 - jnp.eye(n))
    return jnp.sum(between) / (n * (n - 1))
