"""What to try next while experience is gathered.

All tasks get the same recipes in the same order, so that recipes can be compared across tasks: the default, the
textbook's, then in turn mutations of the default and recipes drawn from the whole space. Every fourth is tried with a
second seed. Most trials are short; in proportion to their number, longer ones follow of the two fixed recipes and then
of those that ended best, with another seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count

import numpy as np

from mulligan.meta.default import default_recipe, textbook_recipe
from mulligan.meta.footprint import Limits, refusal
from mulligan.meta.record import DONE, Trial
from mulligan.meta.space import Space
from mulligan.meta.trial import Assignment, budget_flops
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget

SEED = 0  # of the sequence of recipes
AGAIN = 4  # every so many recipes, one is tried with two seeds
LONGER = ((4, 6), (8, 24))  # trials so many times longer, one for every so many short ones
LONGER_SEED = 2
TYPICAL = (28, 28, 1)  # the shape that recipes must be affordable for
LEAST_SHARE = 1 / 16  # of the yardstick's images, that a recipe must be able to see
MOST_BYTES = 2.0**31
FIXED = 2  # recipes that come first, and are tried at every length


def wanted(task: Task, images: int, ended: Iterable[Trial]) -> Iterator[Assignment]:
    """Assignments on a task, the most wanted first, without end; those that are taken are for the caller to skip.

    Args:
      images: of the yardstick, that a short trial lasts; see `meta.trial`.
      ended: trials on this task so far.
    """
    yield from _longer(task, images, list(ended))
    for index in count():
        recipe = recipe_at(index, task, images)
        yield Assignment(task, recipe, 0, images)
        if index % AGAIN == 0:
            yield Assignment(task, recipe, 1, images)


def recipe_at(index: int, task: Task, images: int) -> Recipe:
    """The recipe at a place of the sequence; only the first, the default, depends on the task."""
    if index == 0:
        return default_recipe(task.shape, len(task.train), Budget(images, None))
    return textbook_recipe() if index == 1 else _drawn(index, images)


@lru_cache(maxsize=4096)
def _drawn(index: int, images: int) -> Recipe:
    space, rng = Space(), np.random.default_rng((SEED, index))
    limits = Limits(budget_flops(TYPICAL, images), int(images * LEAST_SHARE), int(MOST_BYTES))
    start = default_recipe(TYPICAL, 10_000, Budget(images, None))
    while True:
        recipe = space.sample(rng) if index % 2 else start
        for _ in range(0 if index % 2 else rng.geometric(0.5)):
            recipe = space.mutate(recipe, rng)
        if refusal(recipe, TYPICAL, 0, limits) is None:
            return recipe


def _longer(task: Task, images: int, ended: list[Trial]) -> Iterator[Assignment]:
    """Longer trials that are due: of the fixed recipes first, then of those that ended best."""
    short = [trial for trial in ended if trial.budget == budget_flops(task.shape, images)]
    ranked = [trial.recipe for trial in sorted(filter(_judged, short), key=_kid)]
    fixed = [recipe_at(index, task, images) for index in range(FIXED)]
    best = list(dict.fromkeys([*fixed, *ranked]))
    for times, every in LONGER:
        for recipe in best[: len(short) // every]:
            yield Assignment(task, recipe, LONGER_SEED, times * images)


def _judged(trial: Trial) -> bool:
    return trial.status == DONE and bool(trial.curve) and trial.curve[-1].figures["kid"] is not None


def _kid(trial: Trial) -> float:
    return float(trial.curve[-1].figures["kid"] or 0.0)
