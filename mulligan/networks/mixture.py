"""A mixture of generators as one: each latent is drawn by one of several members."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from mulligan.types import Pixels, Pytree

GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio: neighbouring inputs come out far apart


class Mixture(eqx.Module):
    """Draws each sample from member `i` with probability `weights[i]`.

    Which member draws a latent follows from the latent's own bits, so the same latent gives the same image in any
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
        shares = jnp.cumsum(self.weights / self.weights.sum())
        members = jnp.searchsorted(shares, uniforms(latents), side="right")
        return jnp.minimum(members, len(self.members) - 1)  # where the shares' sum was rounded to below 1


def uniforms(latents: Float[Array, "n d"]) -> Float[Array, " n"]:
    """A number in [0, 1) from the bits of each latent: a hash, so that it tells nothing about where the latent lies."""
    bits = jax.lax.bitcast_convert_type(latents.astype(jnp.float32), jnp.uint32)

    def mix(total: UInt32[Array, " n"], word: UInt32[Array, " n"]) -> tuple[UInt32[Array, " n"], None]:
        return _scrambled(total ^ word) + jnp.uint32(GOLDEN), None

    total, _ = jax.lax.scan(mix, jnp.zeros(len(latents), jnp.uint32), bits.T)
    return (_scrambled(total) >> 8).astype(jnp.float32) / 2**24


def _scrambled(word: UInt32[Array, " n"]) -> UInt32[Array, " n"]:
    """Every bit of the outcome depends on every bit of the word (the finaliser of MurmurHash3, Appleby 2011)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
