"""Kernel inception distance: the squared maximum mean discrepancy under a polynomial kernel.

The kernel is `(a.b / d + 1)^3` (Binkowski et al. 2018, arXiv 1801.01401, section 4). Features are used as they
come; the shipped embedding standardises them with constants, which sets the scale of KID: 0 for real against
real, 0.01 to 1 for generators from good to poor, more for noise.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.metrics.mmd import MmdEstimate, mmd2, off_diagonal_means, real_side
from mulligan.types import Key


def polynomial(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """The kernel matrix `(a_i . b_j / d + 1)^3`, never in less than single precision."""
    return (jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST) / a.shape[1] + 1) ** 3


@jax.jit
def mmd2_unbiased(real: Float[Array, "n d"], fake: Float[Array, "m d"]) -> Float[Array, ""]:
    """KID without an interval: the U-statistic, without pairs of an image with itself (Gretton et al. 2012, eq. 3);
    n, m >= 2.
    """
    within_real = off_diagonal_means(polynomial(real, real)).mean()
    within_fake = off_diagonal_means(polynomial(fake, fake)).mean()
    return within_real + within_fake - 2 * polynomial(real, fake).mean()


def mmd2_of_few(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> float:
    """What `mmd2_unbiased` is, in numpy: nothing is compiled, so the numbers of images may differ from call to call.

    Example:
      >>> mmd2_of_few(np.zeros((4, 2)), np.ones((3, 2)))
      7.0
    """
    n, m = len(real), len(fake)
    rr, ff, rf = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((real, real), (fake, fake), (real, fake)))
    within_real = float((rr.sum() - np.trace(rr)) / (n * (n - 1)))
    within_fake = float((ff.sum() - np.trace(ff)) / (m * (m - 1)))
    return within_real + within_fake - 2 * float(rf.sum() / (n * m))


def kid(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], key: Key) -> MmdEstimate:
    """KID with its 95% interval (`metrics.mmd.mmd2`).

    With equal sides of real features the interval missed the truth in at most 6% of trials. With few real images and a
    bad generator it is too narrow (30 against 1,000: 19% missed), with fewer than about 20 images a side a rough guide.

    Args:
      real: features of real images.
      fake: of generated ones.
      key: of the bootstrap; the value does not depend on it.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> real, fake = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
      >>> kid(real, fake, jax.random.key(0)).value
      7.0
    """
    return mmd2(polynomial, real_side(polynomial, real, key), fake)
