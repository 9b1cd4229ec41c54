"""The energy distance between two sets of features: how far the two are apart, beyond how far each is spread.

`2 E|x - y| - E|x - x'| - E|y - y'|` for x, x' real and y, y' generated (Szekely and Rizzo 2013, section 2). It is 0
only where the two distributions are equal. It is the squared MMD under the kernel `-|a - b|` (Sejdinovic et al. 2013,
arXiv 1207.6076, theorem 22), so its estimate and interval are those of KID. In the features of `metrics.pixels` it is 0
for real against real, 0.1 to 5 for generators from good to poor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mulligan.metrics.mmd import MmdEstimate, mmd2, real_side


def negative_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """The kernel matrix `-|a_i - b_j|`."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return -np.sqrt(np.maximum(squared, 0))


def energy_distance(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], seed: int = 0) -> MmdEstimate:
    """The energy distance, unbiased (no image is compared with itself), with its 95% interval (`metrics.mmd.mmd2`).

    The interval missed the truth in at most 5% of trials, with 30 real images too.

    Args:
      real: features of real images.
      fake: of generated ones.
      seed: of the bootstrap; the value does not depend on it.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> real, fake = np.array([[0.0], [1.0]], np.float32), np.array([[3.0], [4.0]], np.float32)
      >>> energy_distance(real, fake).value
      4.0
    """
    return mmd2(negative_distance, real_side(negative_distance, real, seed), fake)
