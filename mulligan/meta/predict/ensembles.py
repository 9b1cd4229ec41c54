"""What recipes will do on a task: the predictions of an ensemble, and their expectation.

A predictor says how far each recipe will be from the anchor: a recorded task says what it was there, where it was
tried, and a model what it has learned. The anchor's own curve is expected to be the mean of those on recorded tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from mulligan.meta.predict.curves import FIDELITIES, Curve, fill_forward, mean_curve, weighted_mean
from mulligan.meta.predict.residual_gp import HeldOutResiduals
from mulligan.meta.predict.task_similarity import TaskSimilarity
from mulligan.meta.store.record import HERE, TaskRecord
from mulligan.recipe import Recipe

# Log distance at fidelity 0 and its change to the next, where nothing is known: on 18 tasks the default has -0.7 and
# -0.2, the recipe made by hand 2.2 and -0.4.
USUAL_START, USUAL_STEP = 1.6, -0.33
TREND_STEPS = 4  # at the end of what is known, whose slope goes on
FARTHEST = 8  # fidelities that it goes on for: sixteen times the operations
USUAL_SPREAD = 1.5  # standard deviation between recipes in log distance, where too few were tried to tell


@runtime_checkable
class CurveEnsemble(Protocol):
    """Predictions of how far recipes will be from the anchor on a task, in log distance at equal operations."""

    def weights(self, task: TaskRecord, exclude_family: str | None = None) -> Float[np.ndarray, " w"]:
        """How much each predictor counts: their sum is 1, or 0 where there is none.

        Predictors that know the family `exclude_family` count nothing.
        """
        ...

    def differences(self, task: TaskRecord, recipes: Mapping[str, Recipe]) -> Float[np.ndarray, "w r g"]:
        """NaN where a predictor makes no prediction; recipes come with their names in the comparison."""
        ...

    def own(self) -> Bool[np.ndarray, " w"]:
        """Predictors that do not rest on an import alone."""
        ...


@dataclass(frozen=True)
class TaskEnsemble:
    """Each recorded task is a predictor: recipes do again what they did there."""

    similarity: TaskSimilarity

    def weights(self, task: TaskRecord, exclude_family: str | None = None) -> Float[np.ndarray, " w"]:
        return self.similarity.weights(task, exclude_family)

    def differences(self, task: TaskRecord, recipes: Mapping[str, Recipe]) -> Float[np.ndarray, "w r g"]:
        comparison = self.similarity.comparison
        columns = {name: column for column, name in enumerate(comparison.recipes)}
        found = np.full((len(comparison.tasks), len(recipes), len(FIDELITIES)), np.nan)
        for index, name in enumerate(recipes):
            if name in columns:
                found[:, index] = comparison.differences[:, columns[name]]
        return found

    def own(self) -> Bool[np.ndarray, " w"]:
        return np.array([source == HERE for source in self.similarity.comparison.sources], bool)


def expectation(
    similarity: TaskSimilarity,
    ensemble: CurveEnsemble,
    task: TaskRecord,
    recipes: Mapping[str, Recipe],
    exclude_family: str | None = None,
) -> Float[np.ndarray, "r g"]:
    """Expected curves of recipes on a task, from all families but `exclude_family`.

    A predictor without an prediction on a recipe takes it to be as the others are on average.
    """
    return reference(similarity, task, exclude_family) + differences(
        similarity, ensemble, task, recipes, exclude_family
    )


def reference(similarity: TaskSimilarity, task: TaskRecord, exclude_family: str | None = None) -> Curve:
    """The anchor's expected curve; beyond what was seen its slope goes on for a while."""
    mean = mean_curve(similarity.comparison.reference, similarity.weights(task, exclude_family))
    seen = np.flatnonzero(~np.isnan(mean))
    if not len(seen):
        return USUAL_START + USUAL_STEP * np.minimum(FIDELITIES, FARTHEST + TREND_STEPS)
    last, first = seen[-1], max(seen[0], seen[-1] - TREND_STEPS)
    slope = np.clip((mean[last] - mean[first]) / max(last - first, 1), USUAL_STEP, 0.0)
    return fill_forward(mean) + slope * np.clip(FIDELITIES - FIDELITIES[last], 0, FARTHEST)


def differences(
    similarity: TaskSimilarity,
    ensemble: CurveEnsemble,
    task: TaskRecord,
    recipes: Mapping[str, Recipe],
    exclude_family: str | None = None,
) -> Float[np.ndarray, "r g"]:
    """Expected differences from the anchor; those of a recipe far beyond what was seen of it are taken from its end."""
    weights = ensemble.weights(task, exclude_family)
    predictions = fill_forward(ensemble.differences(task, recipes))
    sure = np.tensordot(weights, ~np.isnan(predictions), 1)
    mean = np.nan_to_num(weighted_mean(predictions, weights))
    # Where no predictor knows a recipe, it is taken to be as the others are on average.
    others = _means_of_others(similarity, similarity.weights(task, exclude_family))
    usual = fill_forward(weighted_mean(others, np.ones(len(others))))
    return sure * mean + (1 - sure) * np.nan_to_num(usual)


def recipe_spread(similarity: TaskSimilarity) -> float:
    """Standard deviation between recipes of their mean difference, at the end of what was seen."""
    means = fill_forward(_means_of_others(similarity, similarity.comparison.family_weights()))[:, -1]
    known = means[~np.isnan(means)]
    return float(np.std(known)) if len(known) > 2 else USUAL_SPREAD


def _means_of_others(similarity: TaskSimilarity, weights: Float[np.ndarray, " t"]) -> Float[np.ndarray, "r g"]:
    """Each recipe's mean difference from the anchor over the tasks, the anchor's own left out."""
    comparison = similarity.comparison
    if not comparison.tasks:
        return np.full((0, len(FIDELITIES)), np.nan)
    return np.delete(weighted_mean(comparison.differences, weights), comparison.anchor, axis=0)


def cross_validated_residuals(similarity: TaskSimilarity, ensemble: CurveEnsemble) -> HeldOutResiduals:
    """What expectations made without a task's family leave of its trials' curves.

    Of recipes that other families know. Every family has a weight of 1, shared evenly by its tasks and by their trials.
    """
    comparison = similarity.comparison
    even = comparison.family_weights() * len(set(comparison.families))
    curves, tasks, weights = [], [], []
    for index, task in enumerate(comparison.tasks):
        expected = expectation(similarity, ensemble, task, comparison.recipes, exclude_family=task.family)
        elsewhere = np.array([family != task.family for family in comparison.families])
        tried = {comparison.anchor, *np.argwhere(~np.isnan(comparison.differences[elsewhere, :, 0]))[:, 1].tolist()}
        rows = [row for row in comparison.rows if row.task == index and row.column in tried]
        curves += [row.curve - expected[row.column] for row in rows]
        tasks += [index] * len(rows)
        weights += [even[index] / len(rows)] * len(rows)
    return HeldOutResiduals(
        np.array(curves, float).reshape(-1, len(FIDELITIES)), np.array(tasks, int), np.array(weights, float)
    )
