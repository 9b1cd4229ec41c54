"""What an arm of a race is expected to end with, from its forecast and the beginning of its curve.

A pure function of what the run folder holds: a race that is resumed decides as it would have, whatever was learned in
between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mulligan.meta.record import Point

LEAST_KID = 1e-4  # what is below is noise
MEMORY = 2.0  # nats of operations over which a deviation from the forecast falls to a third
SLOPE = -0.5  # of log KID over log operations, where nothing better is known


class Course(NamedTuple):
    """A forecast: natural logarithms of KID after so many operations, which ascend."""

    flops: tuple[float, ...]
    log_kid: tuple[float, ...]

    def at(self, flops: float) -> float:
        """Straight lines between the points over the logarithm of operations; level beyond the ends."""
        return float(np.interp(math.log(max(flops, 1.0)), np.log(self.flops), self.log_kid))


def log_kid(kid: float) -> float:
    """Natural logarithm of a KID, of 0.0001 at least."""
    return math.log(max(kid, LEAST_KID))


def lowest(points: Sequence[Point]) -> float | None:
    """Natural logarithm of the lowest KID of a curve; None where there is none yet."""
    kids = [kid for point in points if (kid := point.figures["kid"]) is not None]
    return log_kid(min(kids)) if kids else None


def expected_end(course: Course | None, seen: Sequence[Point], flops: float) -> float | None:
    """The logarithm of the lowest KID expected after `flops` operations in all; None where there is nothing to go by.

    A curve that deviates from its forecast is expected to return to it, the more so the further it has to go:
    `course(end) + exp(-log(end / seen) / 2) * (seen - course(seen))`. Without a forecast it is continued with the
    slope -1/2. What was reached stays reached.

    Example:
      >>> course = Course((1e9, 1e12), (0.0, -4.0))
      >>> seen = [Point(1, 1e12, 0.0, {"kid": math.exp(-3.0)})]
      >>> expected_end(course, (), 1e12), round(expected_end(course, seen, 1e12), 3)
      (-4.0, -3.0)
    """
    reached = lowest(seen)
    if reached is None:
        return None if course is None else course.at(flops)
    ahead = math.log(max(flops / max(seen[-1].flops, 1.0), 1.0))
    if course is None:
        return reached + SLOPE * ahead
    deviation = reached - course.at(seen[-1].flops)
    return min(reached, course.at(flops) + math.exp(-ahead / MEMORY) * deviation)
