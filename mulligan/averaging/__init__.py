"""Averages over the generators of a run: of their weights, and of their distributions."""

from mulligan.averaging.weights import (
    AVERAGES,
    AverageState,
    ema,
    exponent,
    last,
    power,
    several,
    slow,
    uniform,
)

__all__ = ["AVERAGES", "AverageState", "ema", "exponent", "last", "power", "several", "slow", "uniform"]
