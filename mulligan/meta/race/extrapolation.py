"""What an arm of a race is expected to end with, from its forecast and the beginning of its curve.

A pure function of what the run folder holds: a race that is resumed decides as it would have, whatever was learned in
between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mulligan.meta.store.figure_curves import lowest_log_figure
from mulligan.meta.store.record import Point

MEMORY = 2.0  # nats of operations over which a deviation from the forecast falls to a third
DOUBT = 0.5  # weight of there being no common deviation
SLOPE = -0.5  # of the logarithm of the figure that selects over that of operations, where nothing better is known


class ForecastCurve(NamedTuple):
    """A forecast: natural logarithms of the figure that selects after so many operations, which ascend."""

    flops: tuple[float, ...]
    logs: tuple[float, ...]

    def at(self, flops: float) -> float:
        """Straight lines between the points over the logarithm of operations; level beyond the ends."""
        return float(np.interp(math.log(max(flops, 1.0)), np.log(self.flops), self.logs))


class ArmHistory(NamedTuple):
    """What is known of an arm: its forecast, if any, its curve so far, and the operations it can have in all."""

    forecast: ForecastCurve | None
    points: Sequence[Point]
    flops: float


def predict_final(arms: Sequence[ArmHistory]) -> list[float | None]:
    """The logarithm of the lowest value that each arm is expected to end with; None where there is nothing to go by.

    A curve that deviates from its forecast is expected to return to it, the more so the further it has to go: a
    deviation seen after `points` operations counts `exp(-log(end / points) / 2)` at the end. Forecasts of one task err
    together: what is left of each arm's deviation is the weighted mean of all, so that an arm which has hardly begun is
    judged by what the others have shown of the task, and not by what the forecast did not know. Without a forecast a
    curve is continued with the slope -1/2. What was reached stays reached.

    Example:
      >>> forecast = ForecastCurve((1e9, 1e12), (0.0, -4.0))
      >>> ended = ArmHistory(forecast, [Point(1, 1e12, 0.0, {"energy": math.exp(-5.0)})], 1e12)
      >>> begun = ArmHistory(forecast, (), 1e12)
      >>> [round(end, 3) for end in predict_final([ended, begun])]
      [-5.0, -4.667]
    """
    deviations = []  # what an arm's deviation from its forecast counts at its end, 0 to 1, and the deviation
    for arm in arms:
        reached = lowest_log_figure(arm.points)
        if reached is None or arm.forecast is None:
            deviations.append((0.0, 0.0))
        else:
            seen = arm.forecast.at(arm.points[-1].flops)
            deviations.append((math.exp(-_ahead(arm) / MEMORY), reached - seen))
    total = sum(weight for weight, _ in deviations)
    common = sum(weight * deviation for weight, deviation in deviations) / (total + DOUBT)

    ends = []
    for arm, (weight, deviation) in zip(arms, deviations, strict=True):
        reached = lowest_log_figure(arm.points)
        if arm.forecast is None:
            ends.append(None if reached is None else reached + SLOPE * _ahead(arm))
        else:
            expected = arm.forecast.at(arm.flops) + common + weight * (deviation - common)
            ends.append(expected if reached is None else min(reached, expected))
    return ends


def _ahead(arm: ArmHistory) -> float:
    """Nats of operations from the last point seen to the end."""
    return math.log(max(arm.flops / max(arm.points[-1].flops, 1.0), 1.0))
