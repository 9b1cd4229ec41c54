"""The values that a choice may take: names, steps of an ordered list, or a range of numbers.

A domain is `sample`d, and a value of it `mutate`d, which never gives the value itself, or moved by one small step to
its `neighbours`. `encode` gives a coordinate for each of `labels`, which a choice's name precedes; different values of
the domain have different coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

DIGITS = 3  # significant ones of a number drawn from a range, so that recipes stay readable
STRIDE = 0.1  # of a range's length on its scale: from a number to its neighbours, and a mutation's standard deviation


@dataclass(frozen=True)
class _Options:
    """A list to choose from: a mutation is any of the neighbours that a subclass names."""

    options: tuple[Any, ...]

    def neighbours(self, value: Any) -> Iterator[Any]:
        raise NotImplementedError

    def sample(self, rng: np.random.Generator) -> Any:
        return self.options[rng.integers(len(self.options))]

    def mutate(self, value: Any, rng: np.random.Generator) -> Any:
        others = list(self.neighbours(value))
        return others[rng.integers(len(others))]


@dataclass(frozen=True)
class Names(_Options):
    """Names without an order: one coordinate each."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"={option}" for option in self.options)

    def neighbours(self, value: str) -> Iterator[str]:
        return (option for option in self.options if option != value)

    def encode(self, value: str) -> list[float]:
        return [float(option == value) for option in self.options]


@dataclass(frozen=True)
class Steps(_Options):
    """An ascending list of numbers, or off and on: the coordinate is the place in it, from 0 to 1.

    Example:
      >>> Steps((8, 16, 32)).encode(16), list(Steps((8, 16, 32)).neighbours(16))
      ([0.5], [8, 32])
    """

    labels: ClassVar = ("",)

    def neighbours(self, value: Any) -> Iterator[Any]:
        """The next option on each side."""
        below = [option for option in self.options if option < value]
        above = [option for option in self.options if option > value]
        yield from (*below[-1:], *above[:1])

    def encode(self, value: Any) -> list[float]:
        """A value between two options lies between their places; beyond the ends it takes theirs."""
        places = np.linspace(0, 1, len(self.options))
        return [float(np.interp(float(value), np.asarray(self.options, float), places))]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, even on a `log` or `linear` scale; the coordinate is the place on it.

    Example:
      >>> [round(place, 3) for place in Range(1e-3, 1e3, "log").encode(1.0)]
      [0.5]
    """

    low: float
    high: float
    scale: str
    labels: ClassVar = ("",)

    def sample(self, rng: np.random.Generator) -> float:
        return self._number(rng.random())

    def mutate(self, value: float, rng: np.random.Generator) -> float:
        """A normal step on the scale, half of the time; else anywhere."""
        place = self.encode(value)[0]
        while True:
            drawn = rng.normal(place, STRIDE) if rng.random() < 0.5 else rng.random()
            changed = self._number(float(np.clip(drawn, 0, 1)))
            if changed != value:
                return changed

    def neighbours(self, value: float) -> Iterator[float]:
        place = self.encode(value)[0]
        for moved in (place - STRIDE, place + STRIDE):
            if 0 <= moved <= 1:
                yield self._number(moved)

    def encode(self, value: float) -> list[float]:
        """Beyond the ends it goes below 0 or above 1; what no logarithm has takes the lower end."""
        if self.scale == "linear":
            return [(value - self.low) / (self.high - self.low)]
        if value <= 0:
            return [0.0]
        return [math.log(value / self.low) / math.log(self.high / self.low)]

    def _number(self, place: float) -> float:
        if self.scale == "linear":
            exact = self.low + place * (self.high - self.low)
        else:
            exact = self.low * (self.high / self.low) ** place
        return float(f"{exact:.{DIGITS}g}")


Domain = Names | Steps | Range
