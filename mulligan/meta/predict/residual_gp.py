"""How curves differ from what was expected of them, and how a curve that has begun goes on.

What is left of a log distance when the expectation is taken away is a Gaussian process over fidelities: a level that
differs between tasks and trials, a drift that is forgotten over some fidelities, and noise. Part of level and drift is
common to all trials on a task. So a curve's beginning tells much of its end, and something of the others on its task.
The three quantiles are then moved to where those of held-out families lay (conformal prediction, by families): what
holds there holds for a new family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mulligan.meta.predict.curves import FIDELITIES

PRIOR_SPREAD = 0.7  # standard deviation of the logarithms of the four numbers of a kernel
LEAST_DEVIATION = 0.02  # of each part of a kernel: what a distance's own error leaves uncertain in any case
PRIOR_FAMILIES = 2.0  # that a normal distribution counts for, among those whose quantiles were seen
LEVELS = (0.1, 0.5, 0.9)  # of an 80% interval and its median
OBSERVED_SHARES = (0.25, 0.5, 0.75)  # of its points, after which a curve's end is predicted

Fidelities = Float[np.ndarray, " k"]


class Observations(NamedTuple):
    """Points of several trials on one task, as residuals."""

    trial: Int[np.ndarray, " k"]  # which trial; 0 is the one that is asked about
    fidelity: Fidelities
    residual: Fidelities
    extra_std: Fidelities  # a further standard deviation of that trial's level, for a recipe that was never tried


NO_OBSERVATIONS = Observations(np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0))


class Kernel(NamedTuple):
    """Standard deviations of log distance, a length in fidelities, and the share of variance common to a task."""

    level: float = 0.8
    drift: float = 0.6
    length: float = 5.0
    noise: float = 0.15
    shared: float = 0.5

    def covariance(self, one: Observations, other: Observations) -> Float[np.ndarray, "k m"]:
        """Between two sets of points, without noise."""
        apart = np.abs(one.fidelity[:, None] - other.fidelity[None, :])
        same = one.trial[:, None] == other.trial[None, :]
        common = self.level**2 + self.drift**2 * np.exp(-apart / self.length)
        return common * np.where(same, 1.0, self.shared) + same * one.extra_std[:, None] * other.extra_std[None, :]


class Posterior(NamedTuple):
    """A normal distribution at each of some fidelities."""

    mean: Fidelities
    deviation: Fidelities


class Quantiles(NamedTuple):
    """Where the quantiles of LEVELS lie, in standard deviations from the mean."""

    low: float
    median: float
    high: float


class ResidualModel(NamedTuple):
    """What is known of residuals: their kernel, and their quantiles before and after a curve has begun."""

    kernel: Kernel
    fresh: Quantiles
    begun: Quantiles

    def posterior(
        self, seen: Observations, ahead: Float[np.ndarray, " m"], extra_std: float = 0.0
    ) -> Float[np.ndarray, "q m"]:
        """The three quantiles of trial 0's residual at the fidelities `ahead`; `extra_std` as in `Observations`."""
        known = condition(self.kernel, seen, ahead, extra_std)
        factors = np.array(self.begun if (seen.trial == 0).any() else self.fresh)
        return known.mean + factors[:, None] * known.deviation


def observations_of(fidelity: Fidelities, residual: Fidelities, trial: int = 0, extra_std: float = 0.0) -> Observations:
    """The points of one trial."""
    return Observations(np.full(len(fidelity), trial), fidelity, residual, np.full(len(fidelity), extra_std))


def concatenate(trials: Sequence[Observations]) -> Observations:
    """The points of several."""
    return Observations(*(np.concatenate(parts) for parts in zip(NO_OBSERVATIONS, *trials, strict=True)))


def condition(kernel: Kernel, seen: Observations, ahead: Float[np.ndarray, " m"], extra_std: float = 0.0) -> Posterior:
    """Trial 0 at the fidelities `ahead`, noise included, when all that was `seen`."""
    gains, deviation = _gains(kernel, seen, observations_of(ahead, np.zeros(len(ahead)), extra_std=extra_std))
    return Posterior(gains.T @ seen.residual, deviation)


def _gains(
    kernel: Kernel, seen: Observations, asked: Observations
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, " m"]]:
    """What a unit of each residual seen adds to the mean of each point asked for, and the deviation that is left."""
    known = kernel.covariance(seen, seen) + kernel.noise**2 * np.eye(len(seen.fidelity))
    across = kernel.covariance(seen, asked)
    gains = np.linalg.solve(known, across)
    left = kernel.covariance(asked, asked).diagonal() + kernel.noise**2 - (gains * across).sum(axis=0)
    return gains, np.sqrt(np.maximum(left, kernel.noise**2))


class HeldOutResiduals(NamedTuple):
    """What expectations left of curves at FIDELITIES, of families that the expectations had not seen."""

    residuals: Float[np.ndarray, "n g"]  # NaN where not seen
    task: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]  # sums to the number of families


def fit_residual_model(leftover: HeldOutResiduals) -> ResidualModel:
    """Learns from what was left over."""
    kernel = fit_kernel(leftover.residuals, leftover.weight)._replace(shared=_shared_share(leftover))
    # Curves of which nothing was seen, in standard deviations.
    deviation = condition(kernel, NO_OBSERVATIONS, FIDELITIES[:1]).deviation
    fresh = [curve[~np.isnan(curve)] / deviation for curve in leftover.residuals]

    # Last residuals of curves seen at the same fidelities, in standard deviations, after parts of them were seen.
    ends, weights = [], [np.zeros(0)]
    for where, values, of_group in _patterns(leftover.residuals, leftover.weight):
        scores = []
        for share in OBSERVED_SHARES:
            cut = round(share * len(where))
            seen, end = observations_of(where[:cut], np.zeros(cut)), observations_of(where[-1:], np.zeros(1))
            gains, deviation = _gains(kernel, seen, end)
            scores.append((values[:, -1] - values[:, :cut] @ gains[:, 0]) / deviation)
        ends += [*np.stack(scores, axis=1)]
        weights.append(of_group)
    weights = np.concatenate(weights)
    return ResidualModel(kernel, _quantiles(fresh, leftover.weight), _quantiles(ends, weights))


def _shared_share(leftover: HeldOutResiduals) -> float:
    """One minus the variance between the trials of a task over the variance of all, near the usual one at first."""
    within = total = 0.0
    for task in np.unique(leftover.task):
        rows = leftover.task == task
        curves, weight = leftover.residuals[rows], leftover.weight[rows].sum()
        several = curves[:, (~np.isnan(curves)).sum(axis=0) > 1]
        if several.size:
            within += weight * np.nanmean(np.nanvar(several, axis=0, ddof=1))
            total += weight * np.nanmean(np.nanmean(several**2, axis=0))
    if total == 0:
        return Kernel().shared
    pseudo = PRIOR_FAMILIES * total / max(leftover.weight.sum(), 1.0)
    return float(np.clip(1 - (within + (1 - Kernel().shared) * pseudo) / (total + pseudo), 0.0, 1.0))


def fit_kernel(residuals: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]) -> Kernel:
    """The most probable kernel, near the usual one where there is little to learn from."""
    from scipy.optimize import minimize

    usual = np.log(Kernel()[:4])
    groups = list(_patterns(residuals, weights))

    def loss(logs: np.ndarray) -> float:
        """Negative log likelihood, up to a constant, and that of the kernel around the usual one."""
        kernel, misfit = Kernel(*np.exp(logs)), 0.0
        for where, values, of_group in groups:
            points = observations_of(where, np.zeros(len(where)))
            known = kernel.covariance(points, points) + kernel.noise**2 * np.eye(len(where))
            factor = np.linalg.cholesky(known)
            white = np.linalg.solve(factor, values.T)
            misfit += float(of_group @ (0.5 * (white**2).sum(axis=0) + np.log(factor.diagonal()).sum()))
        return misfit + 0.5 * (((logs - usual) / PRIOR_SPREAD) ** 2).sum()

    if not groups:
        return Kernel()
    bounds = [(np.log(LEAST_DEVIATION), None)] * len(usual)
    return Kernel(*np.exp(minimize(loss, usual, method="Nelder-Mead", bounds=bounds).x).tolist())


def _patterns(
    residuals: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]
) -> Iterator[tuple[Fidelities, Float[np.ndarray, "m k"], Float[np.ndarray, " m"]]]:
    """Curves that were seen at the same fidelities: those fidelities, the curves there and their weights."""
    seen = ~np.isnan(residuals)
    for pattern in np.unique(seen, axis=0):
        rows = (seen == pattern).all(axis=1)
        if pattern.any():
            yield FIDELITIES[pattern], residuals[rows][:, pattern], weights[rows]


def _quantiles(scores: Sequence[Float[np.ndarray, "_"]], weights: Float[np.ndarray, " n"]) -> Quantiles:
    """Quantiles of the scores of weighted curves, mixed with a few families' worth of a normal distribution.

    They are moved outwards as Student's are from the normal distribution's, for there are only so many families.
    """
    from scipy.special import ndtri, stdtrit  # scipy.stats takes half a second to import

    normal = ndtri((np.arange(99) + 0.5) / 99)
    values = np.concatenate([normal, *scores])
    counts = np.array([len(curve) for curve in scores], int)  # a curve's scores share its weight
    shares = np.append(np.full(99, PRIOR_FAMILIES / 99), np.repeat(weights / np.maximum(counts, 1), counts))
    order = np.argsort(values)
    reached = (np.cumsum(shares[order]) - shares[order] / 2) / shares.sum()
    few = float(stdtrit(shares.sum(), LEVELS[-1]) / ndtri(LEVELS[-1]))
    low, median, high = np.interp(LEVELS, reached, values[order]).tolist()
    return Quantiles(median + few * (low - median), median, median + few * (high - median))
