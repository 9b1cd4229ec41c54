"""The gap-aware learning rate: the discriminator learns faster when it is behind, slower when it is ahead.

Research: it was measured to raise the KID at good rates (docs/dynamics.md).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.recipe import Hyperparameters
from mulligan.types import Pytree, Schedule, StepInfo

KEPT = 0.95  # of the moving average of the loss, a step
WIDTH = 0.1  # of the ideal loss: the gap at which the factor has reached its limit
SLOWEST, FASTEST = 0.1, 2.0


class GapState(NamedTuple):
    """The state of the schedule inside, and a moving average of the discriminator's loss."""

    inside: Pytree
    disc_loss: Float[Array, ""]


def gap_aware(inside: Schedule, ideal: float) -> Schedule:
    """Another schedule whose `disc_lr` is multiplied by `factor` of the loss so far, which begins at the ideal.

    Hazimeh and Ponomareva 2023, arXiv 2302.00089, with their numbers; the average here ends with the step before.

    Args:
      ideal: the discriminator's loss, without penalties, when real and fake images are alike; > 0.

    Raises:
      MulliganError: an ideal of 0, which gives the gap no scale.
    """
    if ideal <= 0:
        raise MulliganError(
            "the gap-aware rate measures the discriminator's loss against its ideal, which is 0 for this loss: "
            "set gap_aware to false, or choose another loss."
        )

    def init(hyperparameters: Hyperparameters) -> GapState:
        return GapState(inside.init(hyperparameters), jnp.float32(ideal))

    def value(state: GapState, nimg: ArrayLike) -> Hyperparameters:
        values = inside.value(state.inside, nimg)
        return values._replace(disc_lr=values.disc_lr * factor(state.disc_loss, ideal))

    def observe(state: GapState, info: StepInfo) -> GapState:
        disc_loss = KEPT * state.disc_loss + (1 - KEPT) * info.disc_loss
        return GapState(inside.observe(state.inside, info), jnp.asarray(disc_loss, jnp.float32))

    return Schedule(init, value, observe, inside.reads_stats)


def factor(disc_loss: ArrayLike, ideal: float) -> Float[Array, ""]:
    """What the rate is multiplied by: 1 at the ideal, up to 2 above it, down to 0.1 below it.

    With the gap `x = |disc_loss - ideal|` it is `min(2^(x / X), 2)` above and `max(0.1^(x / X), 0.1)` below, where `X`
    is a tenth of the ideal.

    Example:
      >>> [round(float(factor(loss, 1.0)), 3) for loss in (0.5, 0.95, 1.0, 1.05, 2.0)]
      [0.1, 0.316, 1.0, 1.414, 2.0]
    """
    gap = (jnp.asarray(disc_loss, jnp.float32) - ideal) / (WIDTH * ideal)
    return jnp.where(gap > 0, FASTEST ** jnp.minimum(gap, 1.0), SLOWEST ** jnp.minimum(-gap, 1.0))
