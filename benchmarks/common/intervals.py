"""What a figure varies by: ranges over rounds, and means over families with intervals by resampling them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLED = 1000


class Interval(NamedTuple):
    """A mean over families, with where 95% of the means of resampled families and seeds lie."""

    mean: float
    low: float
    high: float


def interval(pairs: Sequence[tuple[str, float]]) -> Interval:
    """Of (family, value) pairs: families count alike, whatever their number of tasks."""
    by_family: dict[str, list[float]] = {}
    for family, value in pairs:
        by_family.setdefault(family, []).append(value)
    rng = np.random.default_rng(0)
    groups = [np.array(values) for values in by_family.values()]
    inner = np.stack([rng.choice(group, (RESAMPLED, len(group))).mean(axis=1) for group in groups])
    drawn = rng.integers(len(groups), size=(len(groups), RESAMPLED))
    low, high = np.quantile(inner[drawn, np.arange(RESAMPLED)].mean(axis=0), (0.025, 0.975))
    return Interval(float(np.mean([group.mean() for group in groups])), float(low), float(high))


def spread(values: list[float], digits: int = 2) -> str:
    """Median and range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
