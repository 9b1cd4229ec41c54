"""Recipes that train when an allocator says so: `benchmarks/meta/replay.py` with real training in place of records."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.meta.replay import Moves, Trace
from mulligan.meta.collect.trial import TrialRunner, TrialSpec
from mulligan.meta.space.fidelity import reference_flops, rungs
from mulligan.meta.store.figure_curves import log_figure
from mulligan.meta.store.record import Point
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.session import copy_tree

LEAST = 0.01  # of the budget: less is not worth a look


class Best(NamedTuple):
    """The generator with the lowest validation distance so far."""

    distance: float  # as a logarithm
    recipe: Recipe
    gen: Any


class Live:
    """Arms on one task that share a budget in images of the yardstick.

    Attributes:
      arms: recipes on their way, in the order in which they were added.
      spent: operations by all of them.
      best: None where no arm came to anything.
    """

    def __init__(self, task: Task, images: int, seed: int):
        self.task, self.images, self.seed = task, images, seed
        self.budget = reference_flops(task.shape, images)
        self.arms: list[TrialRunner] = []
        self.spent = 0.0
        self.best: Best | None = None
        self.trace: list[tuple[float, float]] = []

    def add(self, recipe: Recipe) -> int:
        """One more arm; its number."""
        self.arms.append(TrialRunner(TrialSpec(self.task, recipe, self.seed, self.images)))
        return len(self.arms) - 1

    @property
    def left(self) -> float:
        return self.budget - self.spent

    def look(self, arm: int) -> Point | None:
        """Trains an arm on to its next look, or for what is left; None where it cannot go on."""
        runner, unit = self.arms[arm], reference_flops(self.task.shape, 1)
        had = runner.curve[-1].flops if runner.curve else 0.0
        ahead = [look for look in rungs(self.images) if look * unit > had * 1.1]
        if runner.reason or not ahead:
            return None
        point = runner.advance(min(ahead[0], (had + self.left) / unit))
        self.spent += runner.progress.nimg * runner.spec.flops_per_image - had
        value = math.nan if point is None else log_figure(point.figures)
        if value < (math.inf if self.best is None else self.best.distance):
            self.best = Best(value, runner.spec.recipe, copy_tree(runner.gen))
        if self.best is not None:
            self.trace.append((self.spent, self.best.distance))
        return point


def run(live: Live, allocator: Callable[[Live], Moves]) -> Trace:
    """Lets an allocator spend the budget; `live` then holds what came of it."""
    moves = allocator(live)
    answer: Point | None = None
    started, idle = False, 0
    while live.left > LEAST * live.budget and idle <= len(live.arms):
        try:
            arm = moves.send(answer) if started else next(moves)
        except StopIteration:
            break
        started, answer = True, live.look(arm)
        idle = idle + 1 if answer is None else 0
    spent, lowest = np.array(live.trace, float).reshape(-1, 2).T
    return Trace(spent, lowest)
