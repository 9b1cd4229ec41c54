"""What the experience says before a run begins: which recipes should race, and what may be expected of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from mulligan.errors import MulliganError
from mulligan.meta.experience import NONE, own, shipped_and_own
from mulligan.meta.predict.prior import PRIORS, Forecast, Prior, Query
from mulligan.meta.race.arms import Arm, arms_within, explorers, race_from, with_explorers
from mulligan.meta.race.extrapolation import ForecastCurve
from mulligan.meta.space.cost import Limits, footprint, refusal
from mulligan.meta.space.default import WIDTHS, default_recipe, is_large, textbook_recipe
from mulligan.meta.store.record import Records, TaskRecord
from mulligan.metrics import EMBEDDING
from mulligan.metrics.selection import SELECTS
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import NOMINAL_FLOPS, Budget
from mulligan.training.device import memory_bytes

PRIOR = "nearest"  # of PRIORS: what the table chose (docs/log/2026-11-26-prior-leads-shrink.md)
MOST_SAVED = 64.0  # times the compute, up to which the textbook's recipe is followed
NEAREST, OTHERS = 3, 3  # tasks that are named, and recipes that a longer budget would try
FEWEST_RECIPES = 8  # tried on one task above 16x16, before such trials propose; `learn` tries so many on each
BY_LAW = "its width, batch and rates follow from the budget and the images' size"  # the origin of that recipe


@dataclass(frozen=True)
class RacePlan:
    """What to try on a task within a budget, and why.

    Attributes:
      arms: recipes that should race, the likeliest first; one where the budget is too short for a race.
      tasks, trials: that this rests on.
      expected: the figure that selects at the end of the budget, with the ends of an 80% interval; None where nothing
        is known.
      figure, embedding: which figure that is, and in what it is taken.
      nearest: names of the tasks that count most, with their weights.
      saving: how many times the compute the textbook's recipe would take for the same; None where it is not known, or
        not expected to get there within what was ever tried.
      trouble: why the experience could not be used.
      skipped: that rows of it could not be read.
      compared: recipes that the likeliest one was chosen from; 0 where none was chosen.
      race_from: the budget from which recipes race; None where more time would change nothing.
      others: where recipes come from that would then race with it.
    """

    arms: tuple[Arm, ...]
    tasks: int = 0
    trials: int = 0
    expected: tuple[float, float, float] | None = None
    figure: str = SELECTS.name
    embedding: str = EMBEDDING
    nearest: tuple[tuple[str, float], ...] = ()
    saving: float | None = None
    trouble: str | None = None
    skipped: str | None = None
    compared: int = 0
    race_from: Budget | None = None
    others: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the arms: `race.json` holds these."""
        expected = self.expected and dict(zip(("median", "low", "high"), self.expected, strict=True))
        names = ("tasks", "trials", "figure", "embedding", "saving", "trouble", "skipped", "compared")
        known = {name: getattr(self, name) for name in names}
        known |= {"expected": expected, "nearest": list(self.nearest), "recipes": len(self.arms)}
        known |= {"origin": self.arms[0].origin, "others": list(self.others)}
        known |= {"trained": self.arms[0].recipe.in_words() if len(self.arms) == 1 else None}
        return known | {"race_from": self.race_from and self.race_from.to_json()}


def plan_race(task: Task, budget: Budget, place: str | None, seed: int) -> RacePlan:
    """Asks the experience, shipped and the user's own; goes on without it, saying so, where it cannot be used.

    What was tried at 16x16 and below says nothing of larger images: these rest on trials of such images, and where no
    task has enough of them, the default recipe trains alone.

    Args:
      place: of the user's experience; `NONE` to do without any, None where the user has none.
    """
    known, trouble, large = Records({}, {}), None, is_large(task.shape)
    if place != NONE:
        try:
            # What ships takes a second to read, and alone it says nothing of large images.
            known = own(place) if large else shipped_and_own(place)
            known = shipped_and_own(place) if large and _knows_large(known) else known
        except MulliganError as error:
            trouble = str(error)

    usual = default_recipe(task.shape, len(task.train), budget)
    if large and not _knows_large(known):
        return RacePlan((Arm(_narrowed(usual, task), 1.0, BY_LAW),), trouble=trouble, skipped=known.told())
    tasks = {name: each for name, each in known.tasks.items() if not large or is_large(each.shape)}
    trials = [each for each in known.trials.values() if each.comparable and each.task in tasks]

    # The operations of the budget: at the device's nominal speed, or for the default recipe's images.
    if budget.seconds is not None:
        flops = NOMINAL_FLOPS[jax.default_backend()] * budget.seconds
    else:
        flops = footprint(usual, task.shape, len(task.classes or ())).flops_per_image * (budget.images or 1)
    query = Query(TaskRecord.of(task, task.name.partition("/")[0]), flops)

    prior = PRIORS[PRIOR if trials else "default"](tuple(tasks.values()), tuple(trials))
    number = arms_within(budget)
    proposals = prior.propose(query, number - explorers(number))
    proposed = [
        Arm(recipe, weight, origin, ForecastCurve(tuple(forecast.flops.tolist()), tuple(forecast.median.tolist())))
        for recipe, weight, forecast, origin in proposals
    ]
    arms = with_explorers(proposed, number, task.shape, flops, np.random.default_rng(seed))

    end, enough = proposals[0].forecast, len(trials) > 0
    low, high = sorted((end.low[-1], end.high[-1]))
    # What a longer budget would try beside the first, where this one is too short for a race.
    longer, others = race_from(budget) if number == 1 else None, ()
    if longer is not None:
        times = (longer.images or longer.seconds or 1) / (budget.images or budget.seconds or 1)
        found = prior.propose(query._replace(flops=query.flops * times), OTHERS)
        others = tuple(proposal.origin for proposal in found if proposal.origin != proposals[0].origin)
    return RacePlan(
        arms=arms,
        tasks=len({trial.task for trial in trials}),
        trials=len(trials),
        expected=(math.exp(end.median[-1]), math.exp(low), math.exp(high)) if enough else None,
        nearest=tuple((found.name, round(weight, 3)) for found, weight in prior.nearest(query)[:NEAREST]),
        saving=_saving(prior, query, end) if enough else None,
        trouble=trouble,
        skipped=known.told(),
        compared=len({trial.recipe for trial in trials} | {proposals[0].recipe}),
        race_from=longer,
        others=others,
    )


def _knows_large(known: Records) -> bool:
    """Whether recipes enough were tried on one task of large images."""
    trials = [each for each in known.trials.values() if each.comparable]
    compared = {(each.task, each.recipe) for each in trials if is_large(known.tasks[each.task].shape)}
    return max(Counter(name for name, _ in compared).values(), default=0) >= FEWEST_RECIPES


def _narrowed(recipe: Recipe, task: Task) -> Recipe:
    """The recipe in networks that the memory holds: the law of sizes counts operations alone."""
    widths = (width for width in sorted(WIDTHS, reverse=True) if width <= recipe.architecture.gen_width)
    narrower = [replace(recipe, architecture=replace(recipe.architecture, gen_width=w, disc_width=w)) for w in widths]
    within = Limits(bytes=memory_bytes())
    fitting = (each for each in narrower if refusal(each, task.shape, len(task.classes or ()), within) is None)
    return next(fitting, narrower[-1])


def _saving(prior: Prior, query: Query, end: Forecast) -> float | None:
    """Operations of the textbook's recipe until it is expected where the best proposal ends, over the budget."""
    longer = query._replace(flops=query.flops * MOST_SAVED)
    textbook = prior.forecast(longer, textbook_recipe())
    there = textbook.median <= end.median[-1]
    return float(textbook.flops[there.argmax()] / query.flops) if there.any() else None
