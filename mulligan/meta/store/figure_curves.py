"""The figure that selects, on curves: its logarithm, its lowest value, and the points that events stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mulligan.events import Evaluated
from mulligan.meta.store.record import METRICS, Point
from mulligan.metrics.selection import SELECTS

LEAST = 1e-4  # what is below is noise, whatever the interval says
NORMAL_95 = 1.96  # standard errors on each side of a 95% interval


def log_figure(figures: Mapping[str, float | None]) -> float:
    """Natural logarithm of a point's figure that selects; NaN where it has none.

    The estimate is unbiased, so that it may be negative where a generator is good: below its own standard error it says
    no more than that, and counts as that.

    Example:
      >>> noise = {"energy": -0.01, "energy_low": -0.0296, "energy_high": 0.0096}
      >>> round(math.exp(log_figure(noise)), 3)
      0.01
    """
    value, low, high = SELECTS.of(figures)
    if value is None:
        return math.nan
    error = LEAST if low is None or high is None else (high - low) / (2 * NORMAL_95)
    return math.log(max(value, error, LEAST))


def lowest_log_figure(points: Sequence[Point]) -> float | None:
    """The lowest `log_figure` of a curve; None where there is none yet."""
    logs = [log_figure(point.figures) for point in points]
    return min((value for value in logs if not math.isnan(value)), default=None)


def lowest_figure(points: Sequence[Point]) -> float | None:
    """The lowest figure of a curve as it was estimated; None where there is none yet."""
    return min((point.value for point in points if point.value is not None), default=None)


def points_of(evaluations: Iterable[Evaluated], flops_per_image: float, until: float = math.inf) -> Iterator[Point]:
    """The curve of a run, from its evaluations: of the first average where there are several.

    Args:
      until: images beyond which nothing counts.
    """
    seen = -1
    for event in evaluations:
        nimg = int(event.nimg)
        if seen < nimg <= until:
            seen = nimg
            figures = {name: getattr(event, name) for name in METRICS}
            yield Point.measured(nimg, nimg * flops_per_image, event.seconds, figures)
