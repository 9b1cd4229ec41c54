"""Gradient penalties: squared slopes of the discriminator, with the logits that the loss needs anyway.

A penalty is `(disc, real, fake, key) -> (real_logits [n], fake_logits [n], penalty [])`, unweighted; the game
adds `gamma / 2` times it to the discriminator's loss. Real and fake images pass through the discriminator as two
batches of one call, so that statistics over a batch never mix them, and one vector-Jacobian product serves both.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.types import Key, Logits, Pixels

Discriminator = Callable[[Pixels], Logits]
Penalty = Callable[[Discriminator, Pixels, Pixels, Key], tuple[Logits, Logits, Float[Array, ""]]]


def judge(disc: Discriminator, real: Pixels, fake: Pixels) -> tuple[Logits, Logits]:
    """Logits of both batches from one call."""
    real_logits, fake_logits = jax.vmap(disc)(jnp.stack([real, fake]))
    return real_logits, fake_logits


def none() -> Penalty:
    """No penalty."""

    def penalty(disc, real, fake, key):
        del key
        return *judge(disc, real, fake), jnp.zeros(())

    return penalty


def r1r2() -> Penalty:
    """`E |grad D(x)|^2 + E |grad D(G(z))|^2`: R1 and R2 (Roth et al. 2017; Mescheder et al. 2018, arXiv 1801.04406)."""

    def penalty(disc, real, fake, key):
        del key
        logits, pullback = jax.vjp(jax.vmap(disc), jnp.stack([real, fake]))
        (slopes,) = pullback(jnp.ones_like(logits))
        return logits[0], logits[1], jnp.sum(slopes**2) / real.shape[0]

    return penalty


def r1() -> Penalty:
    """`E |grad D(x)|^2` at real images (Mescheder et al. 2018, arXiv 1801.04406, equation 9)."""

    def penalty(disc, real, fake, key):
        del key
        real_logits, pullback = jax.vjp(disc, real)
        (slopes,) = pullback(jnp.ones_like(real_logits))
        return real_logits, disc(fake), jnp.sum(slopes**2) / real.shape[0]

    return penalty


def r2() -> Penalty:
    """`E |grad D(G(z))|^2` at generated images: `r1` with the players' images exchanged."""

    def penalty(disc, real, fake, key):
        fake_logits, real_logits, value = r1()(disc, fake, real, key)
        return real_logits, fake_logits, value

    return penalty


def gradient() -> Penalty:
    """`E (|grad D(u x + (1-u) G(z))| - 1)^2` at random mixtures (Gulrajani et al. 2017, arXiv 1704.00028, equation 3).

    That paper's lambda is half of `gamma`.
    """

    def penalty(disc, real, fake, key):
        share = jax.random.uniform(key, (real.shape[0], 1, 1, 1))
        slopes = jax.grad(lambda x: jnp.sum(disc(x)))(share * real + (1 - share) * fake)
        # The square root's derivative at zero is infinite: a flat discriminator would turn into NaN.
        norms = jnp.sqrt(jnp.sum(slopes**2, axis=(1, 2, 3)) + 1e-12)
        return *judge(disc, real, fake), jnp.mean((norms - 1) ** 2)

    return penalty


def lazy(penalty: Penalty, every: int) -> Callable[..., tuple[Logits, Logits, Float[Array, ""]]]:
    """The penalty in one step of `every`, `every` times as strong there (Karras et al. 2020, arXiv 1912.04958, app. B).

    The result takes the number of discriminator steps taken so far as a further argument.
    """
    if every == 1:
        return lambda disc, real, fake, key, steps: penalty(disc, real, fake, key)

    def scaled(real, fake, key, disc):
        real_logits, fake_logits, value = penalty(disc, real, fake, key)
        return real_logits, fake_logits, value * every

    def penalty_or_none(disc, real, fake, key, steps):
        return jax.lax.cond(
            steps % every == 0,
            lambda: scaled(real, fake, key, disc),
            lambda: none()(disc, real, fake, key),
        )

    return penalty_or_none


PENALTIES = {"none": none, "r1": r1, "r2": r2, "r1r2": r1r2, "gradient": gradient}
