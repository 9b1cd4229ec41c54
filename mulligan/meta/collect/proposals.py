"""What to try next while experience is gathered.

All tasks first get the same recipes in the same order, so that recipes can be compared across tasks: the default, the
textbook's, the one made by hand that others are compared with, then in turn mutations of the default and recipes drawn
from the whole space; every fourth with a second seed. From then on recipes are bred (`meta.collect.evolution`): those
that did well elsewhere are tried first, then new ones. Most trials are short; in proportion to their number, longer
ones follow of the fixed recipes and then of those that ended best, with another seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from mulligan.averaging.weights import PLAIN
from mulligan.meta.collect.evolution import candidates, child, loss, promising
from mulligan.meta.collect.trial import TrialSpec
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.default import default_recipe, handmade_recipe, textbook_recipe
from mulligan.meta.space.fidelity import MAX_BYTES, MIN_IMAGES_SHARE, reference_flops
from mulligan.meta.space.space import Space
from mulligan.meta.store.record import Trial
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget

SEED = 0  # of the sequence of recipes
AGAIN = 4  # every so many recipes, one is tried with two seeds
LONGER = ((4, 6), (8, 24))  # trials so many times longer, one for every so many short ones
LONGER_SEED = 2
TYPICAL_SHAPE = (28, 28, 1)  # the shape that recipes must be affordable for
SMALLEST_SHAPE = (16, 16, 1)  # the shape whose default recipe is mutated: short trials were made there
SHARED = 8  # recipes that every task gets
TRIAL_AVERAGES = (PLAIN,)  # the average that a trial is judged by; others would only cost time
FIXED = 3  # recipes that come first, and are tried at every length


def propose_trials(
    task: Task, images: int, ended: Sequence[Trial], budgets: Mapping[str, float]
) -> Iterator[TrialSpec]:
    """Assignments on a task, the most wanted first, without end; those that are taken are for the caller to skip.

    Args:
      images: of the reference recipe, that a short trial lasts; see `meta.collect.trial`.
      ended: trials on all tasks so far.
      budgets: task to operations of a short trial.
    """
    yield from _longer(task, images, [trial for trial in ended if trial.task == task.hash])
    for index in range(SHARED):
        recipe = recipe_at(index, task, images)
        yield TrialSpec(task, recipe, 0, images)
        if index % AGAIN == 0:
            yield TrialSpec(task, recipe, 1, images)
    known = candidates(ended, budgets)
    for recipe in promising(known, task.hash):
        yield TrialSpec(task, recipe, 0, images)
    rng = np.random.default_rng([SEED, len(ended), int(task.hash[:8], 16)])
    within = limits(images)
    while True:
        bred = child(known, rng, lambda recipe: refusal(recipe, TYPICAL_SHAPE, 0, within) is None)
        yield TrialSpec(task, bred, 0, images)


def recipe_at(index: int, task: Task, images: int) -> Recipe:
    """The recipe at a place of the sequence; only the default and the hand-made one depend on the task."""
    if index == 1:
        return textbook_recipe()
    if index >= FIXED:
        return _drawn(index, images)
    make = handmade_recipe if index else default_recipe
    return dataclasses.replace(make(task.shape, len(task.train), Budget(images, None)), averages=TRIAL_AVERAGES)


@lru_cache(maxsize=4096)
def _drawn(index: int, images: int) -> Recipe:
    space, rng = Space(), np.random.default_rng((SEED, index))
    within = limits(images)
    start = default_recipe(SMALLEST_SHAPE, 10_000, Budget(images, None))  # the same for tasks of all sizes
    while True:
        recipe = space.sample(rng) if index % 2 else start
        for _ in range(0 if index % 2 else rng.geometric(0.5)):
            recipe = space.mutate(recipe, rng)
        if refusal(recipe, TYPICAL_SHAPE, 0, within) is None:
            return recipe


def limits(images: int) -> Limits:
    """What a recipe may need that is tried on all tasks, for a short trial of `images` reference images."""
    return Limits(reference_flops(TYPICAL_SHAPE, images), int(images * MIN_IMAGES_SHARE), MAX_BYTES)


def _longer(task: Task, images: int, ended: Sequence[Trial]) -> Iterator[TrialSpec]:
    """Longer trials that are due: of the fixed recipes first, then of those that ended best."""
    short = [trial for trial in ended if trial.budget == reference_flops(task.shape, images)]
    ranked = [trial.recipe for trial in sorted(short, key=loss) if math.isfinite(loss(trial))]
    fixed = [recipe_at(index, task, images) for index in range(FIXED)]
    best = list(dict.fromkeys([*fixed, *ranked]))
    for times, every in LONGER:
        for recipe in best[: len(short) // every]:
            yield TrialSpec(task, recipe, LONGER_SEED, times * images)
