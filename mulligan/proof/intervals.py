"""Estimates with intervals: what paired classifiers differ by, how two samples rank, shares of a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import norm, rankdata, t

from mulligan.errors import MulliganError

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value, and the interval that covers the truth in 95 of 100 repetitions unless said otherwise."""

    value: float
    low: float
    high: float


class Variances(NamedTuple):
    """What a mean over seeds and images varies by: its parts, each the variance of the mean, and degrees of freedom."""

    seeds: float
    images: float
    rest: float  # what is left of single outcomes; the other two contain it
    seeds_freedom: float
    images_freedom: float


def over_seeds_and_images(
    outcomes: Float[np.ndarray, "seeds n"], labels: Integer[np.ndarray, " n"]
) -> tuple[Estimate, dict[int, Estimate]]:
    """The mean over classes of the mean outcome, and that of each class, for new seeds *and* new images.

    Images are drawn within their class. What is estimated, be it a class or all, counts as if it held one image more in
    which one of a pair of classifiers is right, by halves either (Agresti and Min 2005): a few images that agree are no
    certainty.

    Args:
      outcomes: of each seed on each image, in [-1, 1]: of a pair, 1 where only the first is right, -1 where only the
        second.
      labels: the images' classes.

    Returns:
      The overall estimate, and one for each class; the intervals of the classes cover *together* in 95 of 100
      repetitions (Bonferroni).

    Raises:
      MulliganError: fewer than two seeds.

    Example:
      >>> overall, _ = over_seeds_and_images(np.zeros((5, 400)), np.repeat([0, 1], 200))
      >>> overall.value, overall.high < 0.01
      (0.0, True)
    """
    if len(outcomes) < 2:
        raise MulliganError("an interval over seeds needs at least two of them.")
    parts = {label: outcomes[:, labels == label] for label in np.unique(labels).tolist()}
    together = 1 - (1 - CONFIDENCE) / len(parts)
    each = {label: _estimate(part.mean(), _variances(part, 1), together) for label, part in parts.items()}
    variances = [_variances(part, 1 / len(parts)) for part in parts.values()]
    by_seed = np.mean([part.mean(1) for part in parts.values()], axis=0)
    overall = Variances(
        seeds=by_seed.var(ddof=1) / len(by_seed),
        images=sum(variance.images for variance in variances) / len(parts) ** 2,
        rest=sum(variance.rest for variance in variances) / len(parts) ** 2,
        seeds_freedom=len(by_seed) - 1,
        images_freedom=sum(variance.images_freedom for variance in variances),
    )
    return _estimate(by_seed.mean(), overall, CONFIDENCE), each


def _variances(outcomes: Float[np.ndarray, "seeds n"], added: float) -> Variances:
    """Of the mean outcome in one class, to which so many images are added that differ by 1 from the mean."""
    seeds, n = outcomes.shape
    by_seed, by_image = outcomes.mean(1), outcomes.mean(0)
    left = outcomes - by_seed[:, None] - by_image + outcomes.mean()
    return Variances(
        seeds=by_seed.var(ddof=1) / seeds,
        images=(((by_image - by_image.mean()) ** 2).sum() + added) / ((n + added) * (n + 2 * added)),
        rest=(left**2).sum() / ((seeds - 1) * max(n - 1, 1)) / outcomes.size,
        seeds_freedom=seeds - 1,
        images_freedom=n + added,
    )


def _estimate(value: float, variances: Variances, confidence: float) -> Estimate:
    seeds, images, rest, seeds_freedom, images_freedom = variances
    # Variance of the mean where every seed meets every image (Searle, Casella and McCulloch 1992, chapter 4): what is
    # left of single outcomes is in both parts. Its degrees of freedom are Satterthwaite's (1946).
    total = max(seeds + images - rest, seeds, images)
    freedom = max((seeds + images) ** 2 / (seeds**2 / seeds_freedom + images**2 / images_freedom), seeds_freedom)
    reach = float(t.ppf((1 + confidence) / 2, freedom) * total**0.5)
    return Estimate(float(value), float(value) - reach, float(value) + reach)


def ranking(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> Estimate:
    """How much oftener than not a value of `first` exceeds one of `second`: `P(>) - P(<)`, 0 by chance, 1 always.

    That is `2 AUC - 1`; the interval is that of DeLong, DeLong and Clarke-Pearson (1988), on the scale of the AUC's
    logarithm of odds, where it stays within bounds.

    Raises:
      MulliganError: fewer than two values on either side.

    Example:
      >>> ranking(np.array([3.0, 4.0]), np.array([1.0, 2.0])).value
      1.0
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise MulliganError(f"two samples of {n} and {m} cannot be ranked: each needs at least two.")
    ranks = rankdata(np.concatenate([first, second]))
    above = (ranks[:n] - rankdata(first)) / m  # share of the other sample that lies below, ties by half
    below = 1 - (ranks[n:] - rankdata(second)) / n
    auc = float(above.mean())
    edge = 1 / (n + m + 2)  # samples that are wholly apart have an estimated variance of 0
    inside = min(max(auc, edge), 1 - edge)
    deviation = max(above.var(ddof=1) / n + below.var(ddof=1) / m, edge**2 * (1 - edge)) ** 0.5
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * deviation / (inside * (1 - inside))
    odds = np.log(inside / (1 - inside))
    low, high = (float(np.tanh((odds + sign * reach) / 2)) for sign in (-1, 1))
    value = 2 * auc - 1
    return Estimate(value, min(low, value), max(high, value))


def excess(found: int, n: int, expected: int, m: int) -> Estimate:
    """A share `found / n` less another, `expected / m`: Newcombe's (1998) interval for independent shares, method 10.

    Args:
      found, n: how many of how many, n >= 1.
      expected, m: the same of the sample to compare with.

    Example:
      >>> estimate = excess(50, 100, 5, 100)
      >>> round(estimate.value, 2), round(estimate.low, 2), round(estimate.high, 2)
      (0.45, 0.34, 0.55)
    """
    (p, p_low, p_high), (q, q_low, q_high) = _share(found, n), _share(expected, m)
    below, above = ((p - p_low) ** 2 + (q_high - q) ** 2) ** 0.5, ((p_high - p) ** 2 + (q - q_low) ** 2) ** 0.5
    return Estimate(p - q, p - q - below, p - q + above)


def _share(found: int, n: int) -> Estimate:
    """Wilson's (1927) interval of a share."""
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    p = found / n
    middle, reach = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return Estimate(p, (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n))
