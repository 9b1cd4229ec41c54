"""A mixture of generators as one: each latent is drawn by one of several members."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from mulligan.types import Pixels, Pytree

GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio
SHIFT = GOLDEN - 2**32  # the same 32 bits, signed
UPPER = 2.0**24
FINENESS = 2**16  # parts of a unit that the hash tells apart
BELOW_1 = 1 - 2.0**-24  # the largest float32 below 1
LARGEST = 2.0**14  # entries of a latent beyond count as this large


class Mixture(eqx.Module):
    """Draws each sample from member `i` with probability `weights[i]`.

    Which member draws a latent follows from a hash of the latent itself, so the same latent gives the same image in any
    batch, and what a member sees is distributed as if it stood alone. Two near latents may get different members: a
    walk between latents jumps. Every member draws every latent, so sampling costs as much as all of them.
    """

    members: tuple[Pytree, ...]
    weights: Float[Array, " k"]

    def __call__(self, latents: Float[Array, "n d"], labels: Any = None) -> Pixels:
        """Pixels `[n, h, w, c]` of these latents (and labels `[n]`)."""
        drawn = jnp.stack([member(latents, labels) for member in self.members])
        return drawn[self.drawing(latents), jnp.arange(len(latents))]

    def drawing(self, latents: Float[Array, "n d"]) -> Int[Array, " n"]:
        """The member that draws each latent."""
        members = jnp.searchsorted(shares(self.weights), uniforms(latents), side="right")
        # Rounded shares may sum to below 1, and a number above the last of them would have no member.
        return jnp.minimum(members, len(self.members) - 1)


def uniforms(latents: Float[Array, "n d"]) -> Float[Array, " n"]:
    """A number in [0, 1) from each latent: a hash, so that it tells nothing about where the latent lies.

    The latent in parts of `1 / FINENESS`, times random odd numbers, summed modulo 2**32: multiply-shift hashing
    (Dietzfelbinger et al. 1997). That is linear, so its upper 24 bits, shifted, are squared modulo 2**32. It takes
    nothing but 32-bit products and sums, which every runtime has.
    """
    parts = (jnp.clip(latents, -LARGEST, LARGEST) * FINENESS).astype(jnp.int32)
    total = jnp.sum(parts * multipliers(latents.shape[1]), axis=1, dtype=jnp.int32)
    # A float32 keeps the upper 24 bits of a number: so integers are shifted in every runtime.
    mixed = (_share(total) * UPPER).astype(jnp.int32) + SHIFT
    return _share(mixed * mixed)


def _share(total: Int32[Array, " n"]) -> Float[Array, " n"]:
    """All 32-bit numbers onto [0, 1)."""
    return jnp.minimum(total.astype(jnp.float32) / 2.0**32 + 0.5, BELOW_1)


def multipliers(dimension: int) -> Int32[np.ndarray, " d"]:
    """The odd numbers of `uniforms`: a golden sequence through the finaliser of MurmurHash3 (Appleby 2011).

    Example:
      >>> multipliers(2).tolist()
      [-1832243441, 1020716019]
    """
    words = np.arange(1, dimension + 1, dtype=np.uint32) * np.uint32(GOLDEN)
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return ((words ^ (words >> 16)) | 1).view(np.int32)


def shares(weights: Float[Array, " k"]) -> Float[Array, " k"]:
    """The cumulative shares of members: member `i` draws latents whose number lies below `shares[i]`, not before.

    Args:
      weights: of the members, >= 0; divided by their sum here.
    """
    return jnp.cumsum(weights / weights.sum())
