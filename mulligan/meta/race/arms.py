"""Which recipes race: what the prior proposes, a mutation of its best, and one drawn from the whole space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mulligan.meta.race.extrapolation import ForecastCurve
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.fidelity import limits_of
from mulligan.meta.space.space import Space
from mulligan.networks.layers import ImageShape
from mulligan.recipe import Recipe
from mulligan.training.budget import Budget

COMPILE_SECONDS = 6.0  # that an arm takes before it trains
OVERHEAD_SHARE = 0.03  # of a time budget that may go into compiling
ARM_IMAGES = 200_000  # of a budget in images, for each arm
MOST_ARMS = 8
MUTATED_FROM, DRAWN_FROM = 4, 5  # arms of a race with a mutation, and with a recipe from the whole space
MUTATED_WEIGHT, DRAWN_WEIGHT = 0.1, 0.03
LEAST_WEIGHT = 0.02  # of every arm, so that none is given up before it was seen
TRIES = 1000


class Arm(NamedTuple):
    """A recipe in a race.

    Attributes:
      weight: in the prior over the arms, > 0.
      origin: where it comes from, in a few words for people.
      forecast: how it is expected to go, where that is known.
    """

    recipe: Recipe
    weight: float
    origin: str
    forecast: ForecastCurve | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "recipe": self.recipe.to_json(),
            "forecast": self.forecast and self.forecast._asdict(),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Arm:
        forecast = document["forecast"] and ForecastCurve(
            *(tuple(document["forecast"][name]) for name in ForecastCurve._fields)
        )
        return Arm(Recipe.from_json(document["recipe"]), document["weight"], document["origin"], forecast)


def arms_within(budget: Budget) -> int:
    """How many recipes may race within a budget.

    Example:
      >>> [arms_within(Budget(None, minutes * 60.0)) for minutes in (1, 10, 60)]
      [1, 3, 8]
    """
    enough = (
        budget.images / ARM_IMAGES
        if budget.images is not None
        else OVERHEAD_SHARE * (budget.seconds or 0.0) / COMPILE_SECONDS
    )
    return int(np.clip(enough, 1, MOST_ARMS))


def race_from(budget: Budget) -> Budget:
    """The shortest budget of the same kind within which recipes race.

    Example:
      >>> race_from(Budget(None, 60.0)), race_from(Budget(64_000, None))
      (Budget(images=None, seconds=400.0), Budget(images=400000, seconds=None))
    """
    if budget.images is not None:
        return Budget(2 * ARM_IMAGES, None)
    return Budget(None, round(2 * COMPILE_SECONDS / OVERHEAD_SHARE, 6))


def explorers(number: int) -> int:
    """How many of a race's arms are not the prior's."""
    return (number >= MUTATED_FROM) + (number >= DRAWN_FROM)


def with_explorers(
    proposed: Sequence[Arm], number: int, shape: ImageShape, flops: float, rng: np.random.Generator
) -> tuple[Arm, ...]:
    """The arms of a race: those proposed, and from four arms on a mutation of the best, from five on a drawn recipe.

    Args:
      proposed: the best first; at most `number - explorers(number)`.
      number: of arms in all.
      flops: operations of the whole budget; each arm must see enough images for them.
    """
    limits = limits_of(shape, flops)
    arms = list(proposed)
    space = Space()
    if number >= MUTATED_FROM:
        mutated = _affordable(lambda: space.mutate(proposed[0].recipe, rng), arms, shape, limits)
        arms += [Arm(mutated, MUTATED_WEIGHT, f"a mutation of {proposed[0].origin}")] if mutated else []
    if number >= DRAWN_FROM:
        drawn = _affordable(lambda: space.sample(rng), arms, shape, limits)
        arms += [Arm(drawn, DRAWN_WEIGHT, "drawn from the whole space")] if drawn else []
    return tuple(arm._replace(weight=max(arm.weight, LEAST_WEIGHT)) for arm in arms)


def _affordable(draw: Callable[[], Recipe], arms: Sequence[Arm], shape: ImageShape, limits: Limits) -> Recipe | None:
    """The first new recipe drawn that can be trained; None where there is none to be found."""
    known = {arm.recipe for arm in arms}
    candidates = (draw() for _ in range(TRIES))
    return next((each for each in candidates if each not in known and not refusal(each, shape, 0, limits)), None)
