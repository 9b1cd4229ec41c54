"""KID, or another figure, on curves: its logarithm, its lowest value so far, and the points that events stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mulligan.events import Evaluated
from mulligan.meta.store.record import METRICS, Point
from mulligan.metrics.selection import KID, Figure

MIN_KID = 1e-4  # what is below is noise, whatever the interval says
NORMAL_95 = 1.96  # standard errors on each side of a 95% interval


def log_kid(figures: Mapping[str, float | None], which: Figure = KID) -> float:
    """Natural logarithm of a point's KID, or of another figure; NaN where it has none.

    The estimate is unbiased, so that it may be negative where a generator is good: below its own standard error it says
    no more than that, and counts as that.

    Example:
      >>> round(log_kid({"kid": -0.01, "kid_low": -0.0296, "kid_high": 0.0096}), 3) == round(math.log(0.01), 3)
      True
    """
    value, low, high = which.of(figures)
    if value is None:
        return math.nan
    error = MIN_KID if low is None or high is None else (high - low) / (2 * NORMAL_95)
    return math.log(max(value, error, MIN_KID))


def lowest_log_kid(points: Sequence[Point], which: Figure = KID) -> float | None:
    """The lowest `log_kid` of a curve; None where there is none yet."""
    logs = [log_kid(point.figures, which) for point in points]
    return min((value for value in logs if not math.isnan(value)), default=None)


def lowest_kid(points: Sequence[Point]) -> float | None:
    """The lowest KID of a curve as it was estimated; None where there is none yet."""
    return min((kid for point in points if (kid := point.figures["kid"]) is not None), default=None)


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
            yield Point(nimg, nimg * flops_per_image, event.seconds, figures)
