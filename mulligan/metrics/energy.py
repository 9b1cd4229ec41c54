"""The energy distance between two sets of features: how far the two are apart, beyond how far each is spread.

`2 E|x - y| - E|x - x'| - E|y - y'|` for x, x' real and y, y' generated (Szekely and Rizzo 2013, section 2). It is 0
only where the two distributions are equal. It is the squared MMD under the kernel `-|a - b|` (Sejdinovic et al. 2013,
arXiv 1207.6076, theorem 22), so its estimate and interval are those of KID. In the features of `metrics.pixels` it is 0
for real against real, 0.1 to 5 for generators from good to poor.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.metrics.mmd import MmdEstimate, mmd2, real_side
from mulligan.types import Key


def negative_distance(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """The kernel matrix `-|a_i - b_j|`, never in less than single precision."""
    product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * product
    return -jnp.sqrt(jnp.maximum(squared, 0))


def energy_distance(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], key: Key) -> MmdEstimate:
    """The energy distance, unbiased (no image is compared with itself), with its 95% interval (`metrics.mmd.mmd2`).

    The interval missed the truth in at most 5% of trials, with 30 real images too.

    Args:
      real: features of real images.
      fake: of generated ones.
      key: of the bootstrap; the value does not depend on it.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> real, fake = np.array([[0.0], [1.0]], np.float32), np.array([[3.0], [4.0]], np.float32)
      >>> energy_distance(real, fake, jax.random.key(0)).value
      4.0
    """
    return mmd2(negative_distance, real_side(negative_distance, real, key), fake)
