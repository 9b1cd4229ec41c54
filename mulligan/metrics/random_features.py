"""Features of a network that was never trained: they see what no embedding was taught to see."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from mulligan.metrics.embed import Embedding, embedded
from mulligan.metrics.embedding_network import DESIGNS, random_weights, weight_shapes

SEED = 11


@functools.cache
def random_features(design: str = "m1", seed: int = SEED) -> Embedding:
    """An embedding whose weights are drawn (He et al. 2015, arXiv 1502.01852); its features are not scaled.

    Args:
      design: of its network, one in `DESIGNS`.
      seed: of the weights.
    """
    drawn = {**random_weights(weight_shapes(DESIGNS[design]), seed), "mean": 0.0, "deviation": 1.0}
    return embedded(f"random {seed}", DESIGNS[design], {name: jnp.float32(array) for name, array in drawn.items()})
