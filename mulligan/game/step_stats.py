"""What a step shows besides its losses: the signs that a learned schedule reads.

They are outputs only, so that a compiled program in which nothing reads them is the program without them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mulligan.game.state import GanState
from mulligan.types import Logits, Pixels, Pytree, StepStats


class BatchStats(NamedTuple):
    """What the discriminator saw, and what it made of it; fields as in `StepStats`."""

    real_logit_std: Float[Array, ""]
    fake_logit_std: Float[Array, ""]
    diversity: Float[Array, ""]
    contrast: Float[Array, ""]
    edges: Float[Array, ""]


def batch_stats(real: Pixels, fake: Pixels, real_logits: Logits, fake_logits: Logits) -> BatchStats:
    """Of one batch, as it was shown."""
    contrast = _scatter(real)
    across, down = jnp.diff(real, axis=2), jnp.diff(real, axis=1)
    return BatchStats(
        real_logit_std=jnp.std(real_logits),
        fake_logit_std=jnp.std(fake_logits),
        diversity=_scatter(fake) / jnp.maximum(contrast, 1e-6),
        contrast=contrast,
        edges=(jnp.mean(jnp.abs(across)) + jnp.mean(jnp.abs(down))) / 2,
    )


def step_stats(before: GanState, gradients: Any, batch_stats: BatchStats) -> StepStats:
    """Of a step that began in the state `before` and moved both players by `gradients` (`Players`)."""
    return StepStats(
        **batch_stats._asdict(),
        gen_grad_rms=rms(gradients.gen),
        disc_grad_rms=rms(gradients.disc),
        gen_grad_cosine=_cosine_to_momentum(gradients.gen, before.gen_opt),
        disc_grad_cosine=_cosine_to_momentum(gradients.disc, before.disc_opt),
        gen_param_rms=rms(before.gen),
        disc_param_rms=rms(before.disc),
    )


def rms(tree: Pytree) -> Float[Array, ""]:
    """Root of the mean square over all entries of a pytree.

    Example:
      >>> float(rms({"weight": jnp.array([[3.0, 4.0]]), "bias": jnp.array([0.0, 0.0])}))
      2.5
    """
    leaves = jax.tree.leaves(tree)
    return jnp.sqrt(_dot(tree, tree) / sum(leaf.size for leaf in leaves))


def _cosine_to_momentum(gradient: Pytree, optimiser_state: Pytree) -> Float[Array, ""]:
    """Cosine between a gradient and Adam's mean of those before (the last one where beta1 is 0); 0 where there is none.

    What a step of the learning rate would have been worth in the step before (Baydin et al. 2018, arXiv 1703.04782):
    below zero the last step went too far.
    """
    remembered = optax.tree_utils.tree_get(optimiser_state, "mu", default=None)
    if remembered is None:
        return jnp.zeros(())
    lengths = jnp.sqrt(_dot(gradient, gradient) * _dot(remembered, remembered))
    return _dot(gradient, remembered) / jnp.maximum(lengths, 1e-20)


def _dot(one: Pytree, other: Pytree) -> Float[Array, ""]:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), one, other)
    return jnp.asarray(sum(jax.tree.leaves(products)), jnp.float32)


def _scatter(images: Pixels) -> Float[Array, ""]:
    return jnp.sqrt(jnp.mean(jnp.var(images, axis=0)))
