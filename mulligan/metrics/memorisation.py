"""Does a generator repeat its training images?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.metrics.distances import neighbours, relative_spread
from mulligan.metrics.embed import check_pair

CLOSE = 0.05  # share of unseen real images that count as close


class Memorisation(NamedTuple):
    """`ratio`: 1 for unseen real images, 0 for copies. `share`: 0.05 for unseen real images, 1 for copies."""

    ratio: float
    share: float


def memorisation(
    samples: Float[np.ndarray, "n d"], train: Float[np.ndarray, "m d"], held_out: Float[np.ndarray, "v d"]
) -> Memorisation:
    """How near samples lie to training images, against how near unseen real images do.

    `ratio` is the median distance of samples to their nearest training image over the same median for
    `held_out`. `share` is the part of the samples at least as near as the nearest 5% of `held_out`; the
    threshold is the order statistic at `0.05 (v + 1)`, so that a new real image falls below it with
    probability 0.05 exactly (with v < 19 it is the smallest, hence 1 / (v + 1)).

    Where `held_out` are the training images themselves, each is compared with the others: the best that can be had
    where no image was kept back.

    A high share is a reason to look at the neighbours, no proof: dull images (blurred, empty, of the
    commonest kind) are near to some training image as well. A low one clears the generator in this embedding
    only.

    Raises:
      MulliganError: fewer than two images anywhere, features that are not finite, or different dimensions.

    Example:
      >>> train, held_out = np.arange(100.0)[:, None], np.arange(100.0)[:, None] + 0.5
      >>> memorisation(train[:10], train, held_out)
      Memorisation(ratio=0.0, share=1.0)
    """
    check_pair(samples, train)
    check_pair(held_out, train)
    of_samples, of_held_out = neighbours(samples, train)[1][:, 0], distances_to(train, held_out)
    threshold = np.quantile(of_held_out, CLOSE, method="weibull")
    ratio = relative_spread(float(np.median(of_samples)), float(np.median(of_held_out)))
    return Memorisation(ratio, float((of_samples <= threshold).mean()))


def distances_to(train: Float[np.ndarray, "m d"], held_out: Float[np.ndarray, "v d"]) -> Float[np.ndarray, " v"]:
    """From each held-out image to its nearest training image that is not itself.

    Example:
      >>> distances_to(np.array([[0.0], [3.0]]), np.array([[0.0], [3.0]])).tolist()
      [3.0, 3.0]
    """
    itself = len(train) > 1 and train.shape == held_out.shape and np.array_equal(train, held_out)
    return neighbours(held_out, train, 2 if itself else 1)[1][:, -1]
