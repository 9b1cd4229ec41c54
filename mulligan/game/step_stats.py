"""What a step shows besides its losses: the signs that a learned schedule reads.

They are taken only where a schedule reads them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mulligan.types import Pixels, Pytree, StepStats


def step_stats(before: Any, gradients: Any, seen: Any) -> StepStats:
    """Statistics of a step.

    Args:
      before: the `GanState` in which it began.
      gradients: of both players, `Players`.
      seen: what the discriminator saw, `Seen`.
    """
    real, fake = seen.real, seen.fake
    contrast = _scatter(real)
    across, down = jnp.diff(real, axis=2), jnp.diff(real, axis=1)
    return StepStats(
        real_logit_std=jnp.std(seen.real_logits),
        fake_logit_std=jnp.std(seen.fake_logits),
        diversity=_scatter(fake) / jnp.maximum(contrast, 1e-6),
        contrast=contrast,
        edges=(jnp.mean(jnp.abs(across)) + jnp.mean(jnp.abs(down))) / 2,
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
    # The floor under the product of lengths makes the cosine of nothing 0 instead of NaN.
    lengths = jnp.sqrt(_dot(gradient, gradient) * _dot(remembered, remembered))
    return _dot(gradient, remembered) / jnp.maximum(lengths, 1e-20)


def _dot(one: Pytree, other: Pytree) -> Float[Array, ""]:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), one, other)
    return jnp.asarray(sum(jax.tree.leaves(products)), jnp.float32)


def _scatter(images: Pixels) -> Float[Array, ""]:
    return jnp.sqrt(jnp.mean(jnp.var(images, axis=0)))
