"""Modes covered, where a classifier can name the modes: classes of a set, or three stacked digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mulligan.errors import MulliganError
from mulligan.metrics.embed import AnyImages


class Modes(NamedTuple):
    """`covered` of `total` modes have a sample; `kl` (nats) is 0 when the samples have the real shares."""

    covered: int
    total: int
    kl: float


def modes(predicted: Int[np.ndarray, " n"], real_share: Float[np.ndarray, " k"]) -> Modes:
    """Counts the modes among `predicted`, numbers in [0, k), and takes `KL(samples || real)` of their shares.

    `real_share` is the real share of each mode, > 0, and is divided by its sum. The convention is that of
    stacked MNIST (Metz et al. 2017, arXiv 1611.02163; Lin et al. 2018, arXiv 1712.04086, section 4.2: 26,000
    samples). Finite samples alone give about `(k - 1) / 2n`.

    Raises:
      MulliganError: no prediction, one outside [0, k), or a real share that is not positive.

    Example:
      >>> modes(np.array([0, 1, 1, 0]), np.ones(4))
      Modes(covered=2, total=4, kl=0.693...)
    """
    total = len(real_share)
    if len(predicted) == 0 or predicted.min() < 0 or predicted.max() >= total:
        raise MulliganError(f"modes need at least one prediction, each from 0 to {total - 1}.")
    if not (real_share > 0).all():
        raise MulliganError("each mode needs a positive share of the real images.")
    counts = np.bincount(predicted, minlength=total)
    share, expected = counts / counts.sum(), real_share / real_share.sum()
    seen = share > 0
    divergence = (share[seen] * np.log(share[seen] / expected[seen])).sum()
    return Modes(int(seen.sum()), total, float(max(0.0, divergence)))


def stacked_digits(classify: Callable[[AnyImages], Int[np.ndarray, " n"]], images: AnyImages) -> Int[np.ndarray, " n"]:
    """The three-digit number each stacked-digit image shows: the class of red, green and blue, in this order.

    `classify` takes uint8 `[n, h, w, 1]` and gives digits, int `[n]`; it is called once with `3n` images.

    Raises:
      MulliganError: the images have not three channels.
    """
    if images.shape[-1] != 3:
        raise MulliganError(f"stacked digits have 3 channels, not {images.shape[-1]}.")
    planes = np.moveaxis(np.asarray(images), -1, 0).reshape(-1, *images.shape[1:3], 1)
    red, green, blue = np.asarray(classify(planes)).reshape(3, -1)
    return 100 * red + 10 * green + blue
