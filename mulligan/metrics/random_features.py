"""Features of a network that was never trained: they see what no embedding was taught to see."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from mulligan.metrics.embed import Embedding, embedded
from mulligan.metrics.embedding_network import DESIGNS, weight_shapes

SEED = 11


@functools.cache
def random_features(design: str = "m1", seed: int = SEED) -> Embedding:
    """An embedding whose weights are drawn: He-normal kernels (He et al. 2015), biases 0; its features are not scaled.

    Args:
      design: of its network, one in `DESIGNS`.
      seed: of the weights.
    """
    rng, drawn = np.random.default_rng(seed), {}
    for name, shape in weight_shapes(DESIGNS[design]).items():
        scale = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.0
        drawn[name] = jnp.asarray(rng.normal(size=shape) * scale, jnp.float32)
    return embedded(f"random {seed}", DESIGNS[design], drawn | {"mean": jnp.float32(0), "deviation": jnp.float32(1)})
