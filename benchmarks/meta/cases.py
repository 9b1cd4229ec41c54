"""Tasks with their recorded recipes, as a contender in the table meets them, and the priors that others teach."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mulligan.errors import MulliganError
from mulligan.meta.learn import IMAGES
from mulligan.meta.predict.curves import handmade_for, recipe_name
from mulligan.meta.predict.prior import PRIORS, Prior, Query, with_handmade_default
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import FAILED, Point, Records, TaskRecord, Trial
from mulligan.metrics.selection import SELECTS
from mulligan.recipe import Recipe

FEWEST_FAMILIES = 2


class Arm(NamedTuple):
    """A recipe with one of its recorded trials on a task."""

    name: str
    recipe: Recipe
    curve: tuple[Point, ...]


class Case(NamedTuple):
    """One task and one draw of seeds, as a contender meets it."""

    task: TaskRecord
    arms: tuple[Arm, ...]
    budget: float  # operations
    length: float  # of a short trial
    seed: int
    priors: dict[str, Prior]  # learned from other families

    @property
    def query(self) -> Query:
        return Query(self.task, self.budget)


Taught = dict[str, dict[str, Prior]]  # by held-out family and name


def held_out(records: Records) -> Taught:
    """For each family that can be judged, the priors that all other families teach.

    Raises:
      MulliganError: there are too few families.
    """
    families = {task.family for task in judged(records)}
    if len(families) < FEWEST_FAMILIES:
        raise MulliganError(f"the table needs {FEWEST_FAMILIES} families with two recipes on a task each: learn more.")
    found = {}
    for family in sorted(families):
        tasks = [task for task in records.tasks.values() if task.family != family]
        known = {task.id for task in tasks}
        trials = [trial for trial in records.trials.values() if trial.task in known]
        found[family] = {name: with_handmade_default(PRIORS[name](tasks, trials)) for name in PRIORS}
    return found


def judged(records: Records) -> list[TaskRecord]:
    """Tasks on which the hand-made recipe and another were tried, by family and name."""
    names: dict[str, set[str]] = {}
    for trial in records.trials.values():
        names.setdefault(trial.task, set()).add(recipe_name(records.tasks[trial.task], trial.recipe))
    kept = [
        task for task in records.tasks.values() if handmade(task) in names.get(task.id, ()) and len(names[task.id]) > 1
    ]
    return sorted(kept, key=lambda task: (task.family, task.name))


def cases_of(records: Records, priors: Taught, budget: float, seeds: int) -> list[Case]:
    """All tasks that can be judged, with each draw of seeds; the budget is in short trials."""
    return [
        Case(task, arms_of(task, records.trials.values(), seed), budget * length, length, seed, priors[task.family])
        for task in judged(records)
        for length in [reference_flops(task.shape, IMAGES)]
        for seed in range(seeds)
    ]


def of_size(records: Records, size: int | None) -> Records:
    """Tasks of this side and their trials; all of them where it is None."""
    if size is None:
        return records
    tasks = {name: task for name, task in records.tasks.items() if task.shape[0] == size}
    return Records(tasks, {name: trial for name, trial in records.trials.items() if trial.task in tasks})


def handmade(task: TaskRecord) -> str:
    """The name of the hand-made recipe on a task, where it may still be the default."""
    return recipe_name(task, handmade_for(task, 1.0))


def arms_of(task: TaskRecord, trials: Iterable[Trial], seed: int) -> tuple[Arm, ...]:
    """Each recipe with one of its longest trials on the task, drawn at random; the hand-made one comes first."""
    by_name: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.id):
        if trial.task == task.id:
            by_name.setdefault(recipe_name(task, trial.recipe), []).append(trial)
    rng, arms = rng_of(task, seed), []
    for name in sorted(by_name, key=lambda name: (name != handmade(task), name)):
        longest = max(trial.budget for trial in by_name[name])
        among = [trial for trial in by_name[name] if trial.budget == longest]
        chosen = among[rng.integers(len(among))]
        arms.append(Arm(name, chosen.recipe, recorded(chosen)))
    return tuple(arms)


def recorded(trial: Trial) -> tuple[Point, ...]:
    """A trial's curve; what a failed one cost after its last look is a point without a figure."""
    if trial.status != FAILED:
        return trial.curve
    spent = max([trial.cost.get("flops", 0.0), *(point.flops for point in trial.curve)])
    return (*trial.curve, Point(int(trial.cost.get("images", 0)), spent, 0.0, {SELECTS.name: None}))


def rng_of(task: TaskRecord, seed: int) -> np.random.Generator:
    """The same for all contenders, another for each task and seed."""
    return np.random.default_rng([seed, zlib.crc32(task.id.encode())])
