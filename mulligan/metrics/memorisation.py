"""Does a generator repeat its training images?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mulligan.metrics.distances import ENTRIES, neighbours, relative_spread, squared_distances
from mulligan.metrics.embed import check_pair

CLOSE = 0.05  # share of unseen real images that count as close


class Memorisation(NamedTuple):
    """`ratio`: 1 for unseen real images, 0 for copies. `share`: 0.05 for unseen real images, 1 for copies."""

    ratio: float
    share: float


def memorisation(
    samples: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    held_out: Float[np.ndarray, "v d"],
    own: Int[np.ndarray, " v"] | None = None,
) -> Memorisation:
    """How near samples lie to training images, against how near unseen real images do.

    `ratio` is the median distance of samples to their nearest training image over the same median for
    `held_out`. `share` is the part of the samples at least as near as the nearest 5% of `held_out`; the
    threshold is the order statistic at `0.05 (v + 1)`, so that a new real image falls below it with
    probability 0.05 exactly (with v < 19 it is the smallest, hence 1 / (v + 1)).

    A high share is a reason to look at the neighbours, no proof: dull images (blurred, empty, of the
    commonest kind) are near to some training image as well. A low one clears the generator in this embedding
    only.

    Args:
      samples, train, held_out: features.
      own: row of each held-out image among `train`, -1 for none: where no image was kept back, training images stand in
        for unseen ones, each compared with the others.

    Raises:
      MulliganError: fewer than two images anywhere, features that are not finite, or different dimensions.

    Example:
      >>> train, held_out = np.arange(100.0)[:, None], np.arange(100.0)[:, None] + 0.5
      >>> memorisation(train[:10], train, held_out)
      Memorisation(ratio=0.0, share=1.0)
    """
    check_pair(samples, train)
    check_pair(held_out, train)
    of_samples, of_held_out = neighbours(samples, train)[1][:, 0], distances_to(train, held_out, own)
    threshold = np.quantile(of_held_out, CLOSE, method="weibull")
    ratio = relative_spread(float(np.median(of_samples)), float(np.median(of_held_out)))
    return Memorisation(ratio, float((of_samples <= threshold).mean()))


def distances_to(
    train: Float[np.ndarray, "m d"], held_out: Float[np.ndarray, "v d"], own: Int[np.ndarray, " v"] | None = None
) -> Float[np.ndarray, " v"]:
    """From each held-out image to the nearest training image that is another one; 0 where there is no other.

    Its own row is left out, and so are exact copies of it, wherever they are: what occurs in the training set is not
    unseen.

    Example:
      >>> train = np.array([[0.0], [0.0], [3.0]])
      >>> distances_to(train, train, np.arange(3)).tolist(), distances_to(train, np.array([[0.0], [1.0]])).tolist()
      ([3.0, 3.0, 3.0], [3.0, 1.0])
    """
    own = np.full(len(held_out), -1) if own is None else own
    nearest = np.empty(len(held_out))
    rows = max(1, ENTRIES // len(train))
    for start in range(0, len(held_out), rows):
        block = slice(start, start + rows)
        squared = squared_distances(held_out[block], train)
        mine = np.flatnonzero(own[block] >= 0)
        # `squared_distances` is exactly 0 for copies, so that one rule leaves out the row itself and its copies.
        squared[mine, own[block][mine]] = 0
        squared[squared == 0] = np.inf
        nearest[block] = np.sqrt(squared.min(axis=1))
    return np.where(np.isfinite(nearest), nearest, 0)
