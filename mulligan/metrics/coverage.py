"""Fidelity and diversity apart: what part of the fakes looks real, what part of the real is covered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.metrics.distances import squared_distances
from mulligan.metrics.embed import check_pair

PRECISION_NEIGHBOURS = 3  # as Kynkaanniemi et al. 2019 use
DENSITY_NEIGHBOURS = 5  # as Naeem et al. 2020 use


class Prdc(NamedTuple):
    """Four estimates; 1 is best for each, and only density can exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> Prdc:
    """Compares supports through balls round each image that reach its k-th nearest neighbour of the same set.

    Precision: share of fakes inside some ball of a real image; recall: the same with the sides exchanged
    (Kynkaanniemi et al. 2019, arXiv 1904.06991, eq. 2, k = 3). Density: mean number of real balls a fake lies
    in, over k; coverage: share of real balls that hold a fake (Naeem et al. 2020, arXiv 2002.09797, section
    3, k = 5). Balls are closed; k is at most n - 1. All depend on n and m: compare figures with equal counts
    only. For real against real coverage is about `1 - 2^-k` = 0.97 with n = m, so 1 is not to be expected.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> points = np.arange(12.0)[:, None]
      >>> prdc(points, points).precision, prdc(points, points + 100).coverage
      (1.0, 0.0)
    """
    check_pair(real, fake)
    within_real, within_fake = squared_distances(real, real), squared_distances(fake, fake)
    between = squared_distances(real, fake)
    wide = between <= radii(within_real, DENSITY_NEIGHBOURS)[:, None]
    return Prdc(
        precision=float((between <= radii(within_real, PRECISION_NEIGHBOURS)[:, None]).any(0).mean()),
        recall=float((between <= radii(within_fake, PRECISION_NEIGHBOURS)).any(1).mean()),
        density=float(wide.sum(0).mean() / min(DENSITY_NEIGHBOURS, len(real) - 1)),
        coverage=float(wide.any(1).mean()),
    )


def radii(within: Float[np.ndarray, "n n"], k: int) -> Float[np.ndarray, " n"]:
    """Squared distance of each row to its k-th nearest other row, or to its farthest if there are fewer."""
    k = min(k, len(within) - 1)
    return np.partition(within, k, axis=1)[:, k]  # position 0 is the row itself, at distance 0
