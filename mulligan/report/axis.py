"""Axes: from values to their places, and the ticks that people expect."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOG_ABOVE = 30  # a logarithmic axis when the largest value is this many times the smallest
DECADES = 1e-12  # the smallest value that a logarithmic axis shows, as a share of the largest


@dataclass(frozen=True)
class Axis:
    """A range of values, linear or logarithmic."""

    low: float
    high: float
    log: bool

    def place(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`; beyond them within [-9, 10].

        On a logarithmic axis, values of 0 and below lie at 0.
        """
        if self.log and value <= 0:
            return 0.0
        if self.log:
            place = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(10.0, max(-9.0, place))

    def ticks(self, most: int = 5) -> list[float]:
        """Round values within the range, at most `most`."""
        if not self.log:
            return linear_ticks(self.low, self.high, most)
        # Powers of ten: with steps between them where there is room, only every few where there is not.
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ticks: list[float] = []
        for factors in ((1, 2, 5), (1, 3), (1,)):
            rounds = [factor * 10.0**power for power in powers for factor in factors]
            ticks = [tick for tick in rounds if self.low <= tick <= self.high]
            if len(ticks) <= most:
                return ticks
        return ticks[:: math.ceil(len(ticks) / most)]


def fitted(values: Iterable[float], reference: float | None = None) -> Axis:
    """An axis that shows all `values`, with a little room, and `reference` if there is one.

    Logarithmic when the values span more than a factor of 30; those at zero and below do not count for that.

    Example:
      >>> fitted([0.01, 1.0]).log, fitted([0.5, 1.0]).log
      (True, False)
    """
    shown = [*values] + ([reference] if reference is not None else [])
    positive = [value for value in shown if value > 0]
    few_below = len(shown) - len(positive) <= len(shown) / 4  # an unbiased estimate of about 0 may be negative
    if positive and few_below and max(positive) > LOG_ABOVE * min(positive):
        low, high = max(min(positive), max(positive) * DECADES), max(positive)
        room = (high / low) ** 0.06
        return Axis(low / room, high * room, log=True)
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    # Where 0 is near, it is shown: heights then compare.
    if 0 <= low < 0.5 * high:
        low = 0.0
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low if low == 0 else low - room, high + room, log=False)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten.

    >>> linear_ticks(0.0, 1.0, 6)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step for factor in (1, 2, 2.5, 5, 10, 20) if (step := factor * power) >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + index) * step, 12 - math.floor(math.log10(step))) for index in range(count)][:most]
