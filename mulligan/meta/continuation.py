"""How curves differ from what was expected of them, and how a curve that has begun goes on.

What is left of a log KID when the expectation is taken away is a Gaussian process over places: a level that differs
between tasks and trials, a drift that is forgotten over some places, and noise. A curve's beginning tells its level, so
its end is better known than before. Its three quantiles are then moved to where those of held-out families lay
(conformal prediction, by families): what holds there holds for a new family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.meta.curves import GRID

PRIOR_SPREAD = 0.7  # standard deviation of the logarithms of the four numbers of a kernel
LEAST_DEVIATION = 0.02  # of each part of a kernel: what a KID's own error leaves uncertain in any case
PRIOR_FAMILIES = 2.0  # that a normal distribution counts for, among those whose quantiles were seen
LEVELS = (0.1, 0.5, 0.9)  # of an 80% interval and its median
BEGINNINGS = (0.25, 0.5, 0.75)  # of its points, after which a curve's end is foretold

Places = Float[np.ndarray, " k"]


class Kernel(NamedTuple):
    """Standard deviations of log KID, and a length in places."""

    level: float = 0.8
    drift: float = 0.6
    length: float = 5.0
    noise: float = 0.15

    def covariance(self, ones: Places, others: Float[np.ndarray, " m"], more: float = 0.0) -> Float[np.ndarray, "k m"]:
        """Between two sets of places, without noise; `more` is a further standard deviation of the level."""
        apart = np.abs(ones[:, None] - others[None, :])
        return self.level**2 + more**2 + self.drift**2 * np.exp(-apart / self.length)


class Gaussian(NamedTuple):
    """A normal distribution at each of some places."""

    mean: Places
    deviation: Places


class Quantiles(NamedTuple):
    """Where the quantiles of LEVELS lie, in standard deviations from the mean."""

    low: float
    median: float
    high: float


class Residuals(NamedTuple):
    """What is known of residuals: their kernel, and their quantiles before and after a curve has begun."""

    kernel: Kernel
    fresh: Quantiles
    begun: Quantiles

    def after(
        self, where: Places, seen: Places, ahead: Float[np.ndarray, " m"], more: float = 0.0
    ) -> Float[np.ndarray, "q m"]:
        """The three quantiles of the residual at the places `ahead`.

        Args:
          where: places of the points seen.
          seen: residuals there.
          more: a further standard deviation of the level, for a recipe that was never tried.
        """
        known = condition(self.kernel, where, seen, ahead, more)
        factors = np.array(self.begun if len(where) else self.fresh)
        return known.mean + factors[:, None] * known.deviation


def condition(
    kernel: Kernel, where: Places, seen: Places, ahead: Float[np.ndarray, " m"], more: float = 0.0
) -> Gaussian:
    """The process at `ahead`, noise included, when it was `seen` at `where`."""
    prior = kernel.covariance(ahead, ahead, more).diagonal() + kernel.noise**2
    if not len(where):
        return Gaussian(np.zeros(len(ahead)), np.sqrt(prior))
    known = kernel.covariance(where, where, more) + kernel.noise**2 * np.eye(len(where))
    gains = np.linalg.solve(known, kernel.covariance(where, ahead, more))
    left = prior - (gains * kernel.covariance(where, ahead, more)).sum(axis=0)
    return Gaussian(gains.T @ seen, np.sqrt(np.maximum(left, kernel.noise**2)))


def learn_residuals(residuals: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]) -> Residuals:
    """Learns from residuals at GRID, NaN where not seen, of families that the expectation had not seen.

    Args:
      weights: of the curves; they sum to the number of families.
    """
    kernel = fit_kernel(residuals, weights)
    fresh = [_fresh_scores(kernel, curve) for curve in residuals]
    begun = [_end_scores(kernel, curve) for curve in residuals]
    return Residuals(kernel, _quantiles(fresh, weights), _quantiles(begun, weights))


def fit_kernel(residuals: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]) -> Kernel:
    """The most probable kernel, near the usual one where there is little to learn from."""
    from scipy.optimize import minimize

    usual = np.log(Kernel())
    groups = list(_patterns(residuals, weights))

    def loss(logs: np.ndarray) -> float:
        kernel = Kernel(*np.exp(logs))
        misfit = sum(_misfit(kernel, *group) for group in groups)
        return misfit + 0.5 * (((logs - usual) / PRIOR_SPREAD) ** 2).sum()

    if not groups:
        return Kernel()
    bounds = [(np.log(LEAST_DEVIATION), None)] * len(usual)
    return Kernel(*np.exp(minimize(loss, usual, method="Nelder-Mead", bounds=bounds).x).tolist())


def _patterns(
    residuals: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]
) -> Iterator[tuple[Places, Float[np.ndarray, "m k"], Float[np.ndarray, " m"]]]:
    """Curves that were seen at the same places: those places, the curves there and their weights."""
    seen = ~np.isnan(residuals)
    for pattern in np.unique(seen, axis=0):
        rows = (seen == pattern).all(axis=1)
        if pattern.any():
            yield GRID[pattern], residuals[rows][:, pattern], weights[rows]


def _misfit(kernel: Kernel, where: Places, values: Float[np.ndarray, "n k"], weights: Float[np.ndarray, " n"]) -> float:
    """Negative log likelihood, up to a constant."""
    known = kernel.covariance(where, where) + kernel.noise**2 * np.eye(len(where))
    factor = np.linalg.cholesky(known)
    white = np.linalg.solve(factor, values.T)
    return float(weights @ (0.5 * (white**2).sum(axis=0) + np.log(factor.diagonal()).sum()))


def _fresh_scores(kernel: Kernel, curve: Float[np.ndarray, " g"]) -> Float[np.ndarray, " k"]:
    """Residuals of a curve in standard deviations, of which nothing was seen."""
    return curve[~np.isnan(curve)] / condition(kernel, GRID[:0], GRID[:0], GRID[:1]).deviation


def _end_scores(kernel: Kernel, curve: Float[np.ndarray, " g"]) -> Float[np.ndarray, " k"]:
    """A curve's last residual in standard deviations, after parts of the curve were seen."""
    places, values = GRID[~np.isnan(curve)], curve[~np.isnan(curve)]
    cuts = [round(share * len(places)) for share in BEGINNINGS]
    ends = [condition(kernel, places[:cut], values[:cut], places[-1:]) for cut in cuts]
    return np.array([(values[-1] - end.mean[0]) / end.deviation[0] for end in ends])


def _quantiles(scores: Sequence[Float[np.ndarray, " k"]], weights: Float[np.ndarray, " n"]) -> Quantiles:
    """Quantiles of the scores of weighted curves, mixed with a few families' worth of a normal distribution.

    They are moved outwards as Student's are from the normal distribution's, for there are only so many families.
    """
    from scipy.stats import norm, t

    normal = norm.ppf((np.arange(99) + 0.5) / 99)
    values = np.concatenate([normal, *scores])
    shares = np.concatenate([np.full(99, PRIOR_FAMILIES / 99), *map(_shared, scores, weights)])
    order = np.argsort(values)
    reached = (np.cumsum(shares[order]) - shares[order] / 2) / shares.sum()
    few = float(t.ppf(LEVELS[-1], shares.sum()) / norm.ppf(LEVELS[-1]))
    low, median, high = np.interp(LEVELS, reached, values[order]).tolist()
    return Quantiles(median + few * (low - median), median, median + few * (high - median))


def _shared(scores: Float[np.ndarray, " k"], weight: float) -> Float[np.ndarray, " k"]:
    return np.full(len(scores), weight / max(len(scores), 1))
