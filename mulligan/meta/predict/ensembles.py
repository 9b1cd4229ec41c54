"""What recipes will do on a task, as several opinions and as one expectation.

A world is an opinion on how far each recipe will be from the anchor: that of a remembered task, where it was seen, or
of a model. The anchor's own curve is expected to be the mean of those on remembered tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import GRID, Curve, carried, mean_curve, weighted_mean
from mulligan.meta.predict.residual_gp import Leftover
from mulligan.meta.predict.task_similarity import Kinship
from mulligan.meta.store.record import TaskRecord
from mulligan.recipe import Recipe

USUAL_START, USUAL_STEP = 1.6, -0.33  # log KID of the default at place 0 and its change a place: 18 tasks, 2026-11-24
TREND_PLACES = 4  # at the end of what is known, whose slope goes on
FARTHEST = 8  # places that it goes on for: sixteen times the operations
USUAL_SPREAD = 1.5  # standard deviation between recipes in log KID, where too few were tried to tell


@runtime_checkable
class Worlds(Protocol):
    """Opinions on how far recipes will be from the anchor on a task, in log KID at equal operations."""

    def weights(self, task: TaskRecord, apart: str | None = None) -> Float[np.ndarray, " w"]:
        """How much each world counts: their sum is 1, or 0 where there is none.

        Worlds that know the family `apart` count nothing.
        """
        ...

    def differences(self, task: TaskRecord, recipes: Mapping[str, Recipe]) -> Float[np.ndarray, "w r g"]:
        """NaN where a world has no opinion; recipes come with their names in the comparison."""
        ...


@dataclass(frozen=True)
class TaskWorlds:
    """Each remembered task is a world, in which recipes do again what they did there."""

    kinship: Kinship

    def weights(self, task: TaskRecord, apart: str | None = None) -> Float[np.ndarray, " w"]:
        return self.kinship.weights(task, apart)

    def differences(self, task: TaskRecord, recipes: Mapping[str, Recipe]) -> Float[np.ndarray, "w r g"]:
        comparison = self.kinship.comparison
        columns = {name: column for column, name in enumerate(comparison.recipes)}
        found = np.full((len(comparison.tasks), len(recipes), len(GRID)), np.nan)
        for index, name in enumerate(recipes):
            if name in columns:
                found[:, index] = comparison.differences[:, columns[name]]
        return found


def expectation(
    kinship: Kinship, worlds: Worlds, task: TaskRecord, recipes: Mapping[str, Recipe], apart: str | None = None
) -> Float[np.ndarray, "r g"]:
    """Expected curves of recipes on a task, from all families but `apart`.

    A world without an opinion on a recipe takes it to be as the others are on average.
    """
    return reference(kinship, task, apart) + differences(kinship, worlds, task, recipes, apart)


def reference(kinship: Kinship, task: TaskRecord, apart: str | None = None) -> Curve:
    """The anchor's expected curve; beyond what was seen its slope goes on for a while."""
    mean = mean_curve(kinship.comparison.reference, kinship.weights(task, apart))
    seen = np.flatnonzero(~np.isnan(mean))
    if not len(seen):
        return USUAL_START + USUAL_STEP * np.minimum(GRID, FARTHEST + TREND_PLACES)
    last, first = seen[-1], max(seen[0], seen[-1] - TREND_PLACES)
    slope = np.clip((mean[last] - mean[first]) / max(last - first, 1), USUAL_STEP, 0.0)
    return carried(mean) + slope * np.clip(GRID - GRID[last], 0, FARTHEST)


def differences(
    kinship: Kinship, worlds: Worlds, task: TaskRecord, recipes: Mapping[str, Recipe], apart: str | None = None
) -> Float[np.ndarray, "r g"]:
    """Expected differences from the anchor; those of a recipe far beyond what was seen of it are taken from its end."""
    weights = worlds.weights(task, apart)
    opinions = carried(worlds.differences(task, recipes))
    sure = np.tensordot(weights, ~np.isnan(opinions), 1)
    mean = np.nan_to_num(weighted_mean(opinions, weights))
    return sure * mean + (1 - sure) * np.nan_to_num(others(kinship, kinship.weights(task, apart)))


def others(kinship: Kinship, weights: Float[np.ndarray, " t"]) -> Curve:
    """The mean over recipes of their difference from the anchor; NaN where none but the anchor was tried."""
    means = _of_others(kinship, weights)
    return carried(weighted_mean(means, np.ones(len(means))))


def spread_of(kinship: Kinship) -> float:
    """Standard deviation between recipes of their mean difference, at the end of what was seen."""
    means = carried(_of_others(kinship, kinship.comparison.even()))[:, -1]
    known = means[~np.isnan(means)]
    return float(np.std(known)) if len(known) > 2 else USUAL_SPREAD


def _of_others(kinship: Kinship, weights: Float[np.ndarray, " t"]) -> Float[np.ndarray, "r g"]:
    comparison = kinship.comparison
    if not comparison.tasks:
        return np.full((0, len(GRID)), np.nan)
    return np.delete(weighted_mean(comparison.differences, weights), comparison.anchor, axis=0)


def left_over(kinship: Kinship, worlds: Worlds) -> Leftover:
    """What expectations made without a task's family leave of its trials' curves.

    Of recipes that other families know. Every family has a weight of 1, shared evenly by its tasks and by their trials.
    """
    comparison = kinship.comparison
    even = comparison.even() * len(set(comparison.families))
    curves, tasks, weights = [], [], []
    for index, task in enumerate(comparison.tasks):
        expected = expectation(kinship, worlds, task, comparison.recipes, apart=task.family)
        elsewhere = np.array([family != task.family for family in comparison.families])
        tried = {comparison.anchor, *np.argwhere(~np.isnan(comparison.differences[elsewhere, :, 0]))[:, 1].tolist()}
        rows = [row for row in comparison.rows if row.task == index and row.column in tried]
        curves += [row.curve - expected[row.column] for row in rows]
        tasks += [index] * len(rows)
        weights += [even[index] / len(rows)] * len(rows)
    return Leftover(np.array(curves, float).reshape(-1, len(GRID)), np.array(tasks, int), np.array(weights, float))
