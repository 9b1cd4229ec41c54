"""The figures by which generators may be compared, and the one that selects.

`SELECTS` says by which a run keeps its best generator, forks, goes back and ends, and by which recipes race. Another
judge is another `Figure` here, its kernel in `metrics.score`, and its name in that one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

BESIDE_PIXELS = "+pixels"  # in the name of a space: the embedding's features, and the pixels after them


class Figure(NamedTuple):
    """A distance to real images: lower is better, real against real has 0 on average, with noise below it as well.

    Attributes:
      name: its key among the figures of an evaluation.
      title: as sentences call it.
      label: as figures call it.
      space: that it is taken in: the embedding's own features (no more is said), or these `BESIDE_PIXELS`.
    """

    name: str
    title: str
    label: str
    space: str

    @property
    def keys(self) -> tuple[str, str, str]:
        """Of the value and of the ends of its 95% interval."""
        return self.name, f"{self.name}_low", f"{self.name}_high"

    def at(self, embedding: str) -> str:
        """The figure with the space that it is taken in.

        >>> KID.at("m1"), ENERGY.at("m1")
        ('KID@m1', 'energy@m1+pixels')
        """
        return f"{self.label}@{embedding}{self.space}"

    def of(self, figures: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The value and its interval among those of an evaluation; None for what is not there."""
        value, low, high = (figures.get(key) for key in self.keys)
        return value, low, high


KID = Figure("kid", "KID", "KID", "")
ENERGY = Figure("energy", "energy distance", "energy", BESIDE_PIXELS)
FIGURES = (KID, ENERGY)
SELECTS = ENERGY


def figure_named(name: str) -> Figure:
    """The figure of this name; the one that selects for a name that is not known."""
    return next((each for each in FIGURES if each.name == name), SELECTS)
