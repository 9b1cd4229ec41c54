"""Kernel inception distance: the squared maximum mean discrepancy under a polynomial kernel.

The kernel is `(a.b / d + 1)^3` (Binkowski et al. 2018, arXiv 1801.01401, section 4). Features are used as they
come; the shipped embedding standardises them with constants, which sets the scale of KID: 0 for real against
real, 0.01 to 1 for generators from good to poor, more for noise.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from mulligan.metrics.mmd import AnyArray, MmdEstimate, mmd2, off_diagonal_means, real_side


def polynomial(a: Float[AnyArray, "n d"], b: Float[AnyArray, "m d"]) -> Float[AnyArray, "n m"]:
    """The kernel matrix `(a_i . b_j / d + 1)^3`."""
    product = a @ b.T / a.shape[1] + 1
    return product * product * product  # pyright: ignore[reportReturnType] (numpy's power is many times slower)


def mmd2_unbiased(real: Float[AnyArray, "n d"], fake: Float[AnyArray, "m d"]) -> Float[Array, ""] | np.floating:
    """KID without an interval: the U-statistic, without pairs of an image with itself (Gretton et al. 2012, eq. 3).

    Args:
      real: features of at least two real images, in numpy or on a device.
      fake: of at least two generated ones.

    Example:
      >>> float(mmd2_unbiased(np.zeros((4, 2)), np.ones((3, 2))))
      7.0
    """
    within_real = off_diagonal_means(polynomial(real, real)).mean()
    within_fake = off_diagonal_means(polynomial(fake, fake)).mean()
    return within_real + within_fake - 2 * polynomial(real, fake).mean()


def kid(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], seed: int = 0) -> MmdEstimate:
    """KID with its 95% interval (`metrics.mmd.mmd2`).

    With equal sides of real features the interval missed the truth in at most 6% of trials. With few real images and a
    bad generator it is too narrow (30 against 1,000: 19% missed), with fewer than about 20 images a side a rough guide.

    Args:
      real: features of real images.
      fake: of generated ones.
      seed: of the bootstrap; the value does not depend on it.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> real, fake = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
      >>> kid(real, fake).value
      7.0
    """
    return mmd2(polynomial, real_side(polynomial, real, seed), fake)
