"""Gradient penalties: squared slopes of the discriminator, with the logits that the loss needs anyway.

A penalty is `(disc, labels, real, fake, key) -> Penalised`, unweighted; the game adds `gamma / 2` times it to the
discriminator's loss. Real and fake images pass through the discriminator as two batches of one call, so that statistics
over a batch never mix them, and one vector-Jacobian product serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mulligan.types import Key, Logits, Pixels

Labels = Int[Array, " n"] | None
Both = Float[Array, "2 n h w c"]  # real images and fakes
Discriminator = Callable[[Pixels, Labels], Logits]  # a pytree, so that it can be differentiated
Lifted = Callable[[Any, Pixels, Pixels, Float[Array, " n"], Labels], Logits]


class Penalised(NamedTuple):
    """What a penalty comes to, and what was made of the images on the way.

    Attributes:
      penalty: unweighted.
      fake_slopes: of the fakes' logits at the fakes, which tell a generator where to go; None where nobody took them.
    """

    real_logits: Logits
    fake_logits: Logits
    penalty: Float[Array, ""]
    fake_slopes: Pixels | None = None


Penalty = Callable[[Discriminator, Labels, Pixels, Pixels, Key], Penalised]


def real_fake_logits(disc: Discriminator, labels: Labels, images: Both) -> Float[Array, "2 n"]:
    """Logits of real and fake images from one call."""
    return jax.vmap(lambda x: disc(x, labels))(images)


def none(disc: Discriminator, labels: Labels, real: Pixels, fake: Pixels, _key: Key) -> Penalised:
    """No penalty."""
    real_logits, fake_logits = real_fake_logits(disc, labels, jnp.stack([real, fake]))
    return Penalised(real_logits, fake_logits, jnp.zeros(()))


def r1(disc: Discriminator, labels: Labels, real: Pixels, fake: Pixels, _key: Key) -> Penalised:
    """`E |grad D(x)|^2` at real images (Mescheder et al. 2018, arXiv 1801.04406, equation 9)."""
    real_logits, pullback = jax.vjp(lambda x: disc(x, labels), real)
    (gradients,) = pullback(jnp.ones_like(real_logits))
    return Penalised(real_logits, disc(fake, labels), jnp.sum(gradients**2) / real.shape[0])


def r2(disc: Discriminator, labels: Labels, real: Pixels, fake: Pixels, key: Key) -> Penalised:
    """`E |grad D(G(z))|^2` at generated images: `r1` with the players' images exchanged."""
    fake_logits, real_logits, value, _ = r1(disc, labels, fake, real, key)
    return Penalised(real_logits, fake_logits, value)


def gradient(disc: Discriminator, labels: Labels, real: Pixels, fake: Pixels, key: Key) -> Penalised:
    """`E (|grad D(u x + (1-u) G(z))| - 1)^2` at random mixtures (Gulrajani et al. 2017, arXiv 1704.00028, equation 3).

    That paper's lambda is half of `gamma`.
    """
    share = jax.random.uniform(key, (real.shape[0], 1, 1, 1))
    gradients = jax.grad(lambda x: jnp.sum(disc(x, labels)))(share * real + (1 - share) * fake)
    # The square root's derivative at zero is infinite: a flat discriminator would turn into NaN.
    norms = jnp.sqrt(jnp.sum(gradients**2, axis=(1, 2, 3)) + 1e-12)
    real_logits, fake_logits = real_fake_logits(disc, labels, jnp.stack([real, fake]))
    return Penalised(real_logits, fake_logits, jnp.mean((norms - 1) ** 2))


def r1r2(disc: Discriminator, labels: Labels, real: Pixels, fake: Pixels, _key: Key) -> Penalised:
    """`E |grad D(x)|^2 + E |grad D(G(z))|^2`: R1 and R2 (Roth et al. 2017; Mescheder et al. 2018, arXiv 1801.04406)."""
    logits, gradients = _logits_and_gradients(disc, labels, jnp.stack([real, fake]))
    return Penalised(logits[0], logits[1], jnp.sum(gradients**2) / real.shape[0], gradients[1])


def r1r2_piecewise(lifted: Lifted) -> Penalty:
    """`r1r2` for discriminators that are piecewise linear: the same numbers and gradients for two thirds of the work.

    Images and labels are constants, and so are the slopes: only logits and penalty can be differentiated, and only with
    respect to the discriminator.

    Args:
      lifted: `(disc, x, inputs [n,h,w,c], scale [n], labels)`, as in `mulligan.networks.piecewise`, which explains why.
    """

    def forward(disc, labels, images):
        logits, gradients = _logits_and_gradients(disc, labels, images)
        return (logits, jnp.sum(gradients**2) / images.shape[1], gradients[1]), (disc, labels, images, gradients)

    def backward(kept, cotangents):
        disc, labels, images, gradients = kept
        of_logits, of_penalty, _ = cotangents
        # The penalty is sum |slope|^2 / n, so its gradient is that of (2 / n) sum slope . grad D, slopes held.
        inputs = of_logits[..., None, None, None] * images + (2 * of_penalty / images.shape[1]) * gradients
        lift = jax.vmap(lambda disc, x, u, s: lifted(disc, x, u, s, labels), in_axes=(None, 0, 0, 0))
        return jax.grad(lambda disc: jnp.sum(lift(disc, images, inputs, of_logits)))(disc), None, None

    evaluate = jax.custom_vjp(lambda disc, labels, images: forward(disc, labels, images)[0])
    evaluate.defvjp(forward, backward)

    def penalty(disc, labels, real, fake, _key):
        logits, value, slopes = evaluate(disc, labels, jnp.stack([real, fake]))
        return Penalised(logits[0], logits[1], value, slopes)

    return penalty


def _logits_and_gradients(disc: Discriminator, labels: Labels, images: Both) -> tuple[Float[Array, "2 n"], Both]:
    """Logits of both batches, from one call, and their gradients with respect to the images."""
    logits, pullback = jax.vjp(jax.vmap(lambda x: disc(x, labels)), images)
    (gradients,) = pullback(jnp.ones_like(logits))
    return logits, gradients


def lazy(penalty: Penalty, every: int) -> Callable[..., Penalised]:
    """The penalty in one step of `every`, `every` times as strong there (Karras et al. 2020, arXiv 1912.04958, app. B).

    The result takes the number of discriminator steps taken so far as a further argument.

    Args:
      penalty: of the table.
      every: discriminator steps, >= 1.
    """
    if every == 1:
        return lambda disc, labels, real, fake, key, steps: penalty(disc, labels, real, fake, key)

    def penalty_or_none(disc, labels, real, fake, key, steps):
        # Only one branch runs, but both are compiled, and under vmap both run.
        shown = (disc, labels, real, fake, key)
        due = steps % every == 0
        # In the other steps there are no slopes.
        found = jax.lax.cond(due, lambda: penalty(*shown)._replace(fake_slopes=None), lambda: none(*shown))
        return found._replace(penalty=found.penalty * every)

    return penalty_or_none


class PenaltyChoice(NamedTuple):
    """A penalty of the table, and what a discriminator step with it costs.

    Attributes:
      disc_passes: forward passes an image pair: a backward pass counts as two, so a step without a penalty takes six.
      fake_slopes: whether it takes slopes at the fakes, so that the generator of a simultaneous step need not.
    """

    penalty: Penalty
    disc_passes: int
    fake_slopes: bool = False


PENALTIES = {
    "none": PenaltyChoice(none, disc_passes=6),
    "r1": PenaltyChoice(r1, disc_passes=9),
    "r2": PenaltyChoice(r2, disc_passes=9),
    "r1r2": PenaltyChoice(r1r2, disc_passes=12, fake_slopes=True),
    "gradient": PenaltyChoice(gradient, disc_passes=12),
}
PIECEWISE_DISC_PASSES = 8  # of `r1r2_piecewise`
