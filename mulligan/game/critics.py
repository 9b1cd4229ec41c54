"""Critics: further discriminators, which look at features of the images and not at their pixels.

What a discriminator of pixels takes most of a run to learn to see, features that were learned elsewhere show from the
first step (projected GANs: Sauer et al. 2021, arXiv 2111.01007). There the critics judge alone, and colours, which such
features hardly hold, are few; here they add a share to what the discriminator says, and are asked only now and then,
since features cost more than the rest of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.game.penalties import Penalty
from mulligan.types import Key, Loss, Pixels, Pytree

Maps = tuple[Float[Array, "n _ _ _"], ...]  # features of a batch


@dataclass(frozen=True)
class Critics:
    """The static choices of a game with critics.

    Attributes:
      features: of images.
      make: fresh critics, one for each map of the features, each as a discriminator is: from maps and labels to logits.
      penalty: of the slopes of each at its map.
      penalty_factor: of its weight, over the discriminator's gamma.
      weight: of what they say to the generator, beside the discriminator's 1.
      every: generator steps between those in which they are asked, >= 1.
    """

    features: Callable[[Pixels], Maps]
    make: Callable[[Key], tuple[Any, ...]]
    penalty: Penalty
    penalty_factor: float
    weight: float
    every: int

    @property
    def rate_factor(self) -> float:
        """Times the discriminator's rate, since one move stands for several: as far as so many at random would come."""
        return math.sqrt(self.every)


class CriticsState(NamedTuple):
    """What a checkpoint saves of them."""

    critics: tuple[Any, ...]
    optimiser: Pytree


class Shown(NamedTuple):
    """Features of a batch, real and fake, and the batch's labels, `[n]` or None."""

    real: Maps
    fake: Maps
    labels: Any


def critics_gradient(
    game: Critics, loss: Loss, critics: tuple[Any, ...], shown: Shown, gamma: Any, key: Key
) -> tuple[Any, ...]:
    """The gradient of each critic's own loss and penalty; the features are constants."""

    def lost(critics: tuple[Any, ...]) -> Float[Array, ""]:
        losses = []
        for critic, real, fake in zip(critics, shown.real, shown.fake, strict=True):
            found = game.penalty(critic, shown.labels, real, fake, key)
            value = jnp.mean(loss.disc(found.real_logits, found.fake_logits))
            losses.append(value + game.penalty_factor * gamma / 2 * found.penalty)
        return sum(losses, start=jnp.zeros(()))

    return jax.grad(lost)(critics)


def fakes_gradient(game: Critics, loss: Loss, critics: tuple[Any, ...], shown: Shown) -> Maps:
    """The gradient of the generator's loss, by all critics and with their weight, at the fakes' features."""

    def lost(fake: Maps) -> Float[Array, ""]:
        losses = [
            jnp.mean(loss.gen(critic(real, shown.labels), critic(maps, shown.labels)))
            for critic, real, maps in zip(critics, shown.real, fake, strict=True)
        ]
        return game.weight * sum(losses, start=jnp.zeros(()))

    return jax.grad(lost)(shown.fake)
