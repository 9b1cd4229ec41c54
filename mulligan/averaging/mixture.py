"""A mixture of generators: the weights at which its samples are nearest to the validation images.

The squared maximum mean discrepancy (Gretton et al. 2012) of a mixture with weights `w` is a quadratic in them,
`w' Q w - 2 l' w + c`, where `Q` holds the mean kernel between members, `l` that between a member and the real images
and `c` that among the real images. Its least point on the simplex is the best mixture of distributions that the
members can make, where an average of weights makes one network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mulligan.errors import MulliganError
from mulligan.types import Key

Features = Float[np.ndarray, "_ d"]
Kernel = Callable[[Features, Features], Float[np.ndarray, "_ _"]]  # every row with every row
Weights = Float[Array | np.ndarray, " k"]
Matrix = Float[np.ndarray, "k k"]
Solver = Callable[[Matrix, Weights], Weights]


class Discrepancy(NamedTuple):
    """`MMD**2` of a mixture with weights `w`: `w' quadratic w - 2 linear' w + constant`, in float64.

    Unbiased: no image is compared with itself. So the quadratic may have slightly negative eigenvalues, and the
    value may be slightly negative, as that of an unbiased KID may.
    """

    quadratic: Matrix
    linear: Float[np.ndarray, " k"]
    constant: float

    def of(self, weights: Weights) -> float:
        """The squared discrepancy of the mixture with these weights [k]."""
        w = np.asarray(weights, np.float64)
        return float(w @ self.quadratic @ w - 2 * self.linear @ w + self.constant)


def discrepancy(members: Sequence[Features], real: Features, kernel: Kernel) -> Discrepancy:
    """Reduces features to the quadratic, one pair of members at a time.

    Args:
      members: features of samples of each member, `[n_i, d]`, at least 2 rows each.
      real: features of validation images, `[n, d]`, at least 2 rows.
      kernel: positive definite, at least for weights that add up to 0; `(a [n, d], b [m, d]) -> [n, m]`.

    Raises:
      MulliganError: no members, or one with fewer than 2 samples.
    """
    if not members or min(len(features) for features in (*members, real)) < 2:
        raise MulliganError("a mixture needs at least one member, and two samples of each and of the real images.")
    k = len(members)
    quadratic = np.zeros((k, k))
    for i in range(k):
        quadratic[i, i] = _within(kernel, members[i])
        for j in range(i):
            quadratic[i, j] = quadratic[j, i] = float(kernel(members[i], members[j]).mean())
    linear = np.array([kernel(features, real).mean() for features in members])
    return Discrepancy(quadratic, linear, _within(kernel, real))


def mixture_weights(found: Discrepancy, solve: Solver) -> Float[np.ndarray, " k"]:
    """The weights on the simplex with the least discrepancy; never worse than the best single member.

    Args:
      found: of the members, on validation images.
      solve: `(quadratic, linear) -> w` minimises `w' quadratic w / 2 - linear' w` on the simplex for a quadratic
        without negative eigenvalues, for example `online.minimise_quadratic`.

    Returns:
      float64, >= 0, summing to 1.
    """
    # An unbiased estimate may curve down: the nearest matrix is taken that is convex in every direction that keeps the
    # sum of the weights.
    k = len(found.quadratic)
    keep = np.eye(k) - 1 / k
    values, vectors = np.linalg.eigh(keep @ found.quadratic @ keep)
    convex = found.quadratic - (vectors * np.minimum(values, 0)) @ vectors.T
    weights = np.asarray(solve(convex, found.linear), np.float64)
    candidates = [weights / weights.sum(), *np.eye(len(weights))]
    return min(candidates, key=found.of)


def draw_members(key: Key, weights: Weights, n: int) -> Int[Array, " n"]:
    """Which member each of `n` samples of the mixture is to come from, independently."""
    return jax.random.categorical(key, jnp.log(jnp.asarray(weights)), shape=(n,))


def _within(kernel: Kernel, features: Features) -> float:
    """The mean kernel between two different elements of one set."""
    square, n = kernel(features, features), len(features)
    return float((square.sum() - square.trace()) / (n * (n - 1)))
