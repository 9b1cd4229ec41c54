"""Averages over the generators of a run: of their weights, and of their distributions."""

from mulligan.averaging.mixture import Discrepancy, discrepancy, draw_members, mixture_weights
from mulligan.averaging.posthoc import Snapshot, rebuild
from mulligan.averaging.soup import Soup, greedy_soup
from mulligan.averaging.weights import (
    AVERAGES,
    PLAIN,
    POWER_WIDTHS,
    AverageState,
    ema,
    exponent,
    last,
    power,
    power_name,
    several,
    slow,
    uniform,
)

__all__ = [
    "AVERAGES",
    "PLAIN",
    "POWER_WIDTHS",
    "AverageState",
    "Discrepancy",
    "Snapshot",
    "Soup",
    "discrepancy",
    "draw_members",
    "ema",
    "exponent",
    "greedy_soup",
    "last",
    "mixture_weights",
    "power",
    "power_name",
    "rebuild",
    "several",
    "slow",
    "uniform",
]
