"""Greedy portfolios: few recipes, of which one at least does well by each of many predictors.

A predictor is a task seen before, or one prediction among several on a task to come. Xu, Hoos and Leyton-Brown 2010
(Hydra); Feurer et al. 2022, arXiv 2007.04074 (auto-sklearn 2.0), algorithm 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

DOUBT = 2.0  # predictors more, by which a recipe is as the others are on average, besides those where it was tried
TIE = 1e-6  # weight of a recipe's own mean loss, which decides where none brings anything


def ranks(losses: Float[np.ndarray, "w r"]) -> Float[np.ndarray, "w r"]:
    """The share of a predictor's other recipes that are better, ties counting half; NaN stays.

    Example:
      >>> ranks(np.array([[0.5, -3.0, np.nan, 9.0]])).tolist()
      [[0.5, 0.0, nan, 1.0]]
    """
    shares = np.full(losses.shape, np.nan)
    for row, share in zip(losses, shares, strict=True):
        known = ~np.isnan(row)
        ascending = np.sort(row[known])
        better, no_worse = (np.searchsorted(ascending, row[known], side) for side in ("left", "right"))
        share[known] = (better + no_worse - 1) / 2 / max(len(ascending) - 1, 1)
    return shares


def imputed(
    losses: Float[np.ndarray, "w r"], weights: Float[np.ndarray, " w"], own: Bool[np.ndarray, " w"] | None = None
) -> Float[np.ndarray, "w r"]:
    """What is missing as it is to be expected; NaN stays for recipes that were tried nowhere.

    A recipe's mean over the predictors where it was tried, with DOUBT more by which it is the mean of all recipes: what
    was tried in few predictors is not trusted far beyond them.

    Args:
      own: the predictors that are trusted beyond themselves: what only the others tried is expected to be as recipes
        are on average. None for all.

    Example:
      >>> imputed(np.array([[-1.0, 3.0], [-1.0, 3.0], [np.nan, 3.0]]), np.full(3, 1 / 3)).round(2).tolist()
      [[-1.0, 3.0], [-1.0, 3.0], [0.0, 3.0]]
    """
    own = np.ones(len(weights), bool) if own is None or not own.any() else own
    known = ~np.isnan(losses)
    shares = weights[:, None] * known
    total, trusted = shares.sum(axis=0), shares[own].sum(axis=0)
    tried, tried_here = total > 0, trusted > 0
    if not tried_here.any():
        return losses
    ensemble = np.where(tried_here, trusted**2 / np.where(tried_here, (shares[own] ** 2).sum(axis=0), 1), 0)
    mean = (shares * np.nan_to_num(losses)).sum(axis=0) / np.where(tried, total, 1)
    expected = (ensemble * mean + DOUBT * mean[tried_here].mean()) / (ensemble + DOUBT)
    return np.where(known, losses, np.where(tried, expected, np.nan))


def greedy(losses: Float[np.ndarray, "w r"], weights: Float[np.ndarray, " w"], number: int) -> list[int]:
    """Columns, one after the other, each lowering most the mean over predictors of the least loss of those chosen.

    A recipe of which a predictor has no prediction brings nothing there.
    """
    known = np.where(np.isnan(losses), np.inf, losses)
    top = np.max(losses, axis=1, initial=0.0, where=~np.isnan(losses))
    filled = np.minimum(known, top[:, None])
    least, own = top, weights @ filled
    chosen: list[int] = []
    while len(chosen) < min(number, losses.shape[1]):
        reached = weights @ np.minimum(least[:, None], filled) + TIE * own
        reached[chosen] = np.inf
        chosen.append(int(np.argmin(reached)))
        least = np.minimum(least, filled[:, chosen[-1]])
    return chosen


def chances(
    losses: Float[np.ndarray, "w k"], weights: Float[np.ndarray, " w"], ensemble: float
) -> Float[np.ndarray, " k"]:
    """How probable it is that each of these recipes is the best of them; all are > 0 and sum to 1.

    The share of the predictors in which it is; there are `ensemble` independent ones, and one more in which any may be.
    """
    count = losses.shape[1]
    known = np.where(np.isnan(losses), np.inf, losses)
    least = known.min(axis=1, keepdims=True)
    best = (known == least) & np.isfinite(least)
    wins = weights @ (best / np.maximum(best.sum(axis=1, keepdims=True), 1))
    return (ensemble * wins + 1 / count) / (ensemble * wins.sum() + 1)
