"""How much each recorded task says about a new one, by what both look like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import ComparedTrials, weighted_mean
from mulligan.meta.store.record import TaskRecord

BANDWIDTHS = (
    0.25,
    0.5,
    1.0,
    2.0,
    math.inf,
)  # distances at which a task's weight falls to a tenth; inf leaves them even
MAX_DIFFERENCE = 3.0  # difference in log distance beyond which a recipe is just as bad


@dataclass(frozen=True)
class TaskSimilarity:
    """Weights of the tasks of a comparison: even over families, and less for those far off.

    Attributes:
      bandwidth: the distance at which a weight falls to a tenth. Distances are root mean squares over the descriptor's
        numbers, in their standard deviations between tasks.
    """

    comparison: ComparedTrials
    bandwidth: float = math.inf

    def weights(self, task: TaskRecord, exclude_family: str | None = None) -> Float[np.ndarray, " t"]:
        """They sum to 1, or are all 0 where there is no task; tasks of the family `exclude_family` have none."""
        even = self.comparison.family_weights() * np.array(
            [family != exclude_family for family in self.comparison.families], float
        )
        if not even.any():
            return even
        apart = self._numbers - self.numbers(task)
        distances = np.sqrt((apart**2).sum(axis=1) / max(apart.shape[1], 1))
        decay = math.log(10) * (distances / self.bandwidth) ** 2
        near = even * np.exp(decay[even > 0].min() - decay)
        return self.comparison.bounded(near / near.sum())

    def numbers(self, task: TaskRecord) -> Float[np.ndarray, " d"]:
        """A descriptor in standard deviations from the mean of those recorded; a number that it lacks is there."""
        names, centre, scale = self._scale
        known = [task.descriptor.get(name, middle) for name, middle in zip(names, centre, strict=True)]
        return (np.array(known, float) - centre) / scale

    @cached_property
    def _numbers(self) -> Float[np.ndarray, "t d"]:
        return np.array([self.numbers(task) for task in self.comparison.tasks], float)

    @cached_property
    def _scale(self) -> tuple[list[str], Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """Names of the numbers that differ between tasks, with their means and standard deviations."""
        descriptors = [task.descriptor for task in self.comparison.tasks]
        columns: dict[str, list[float]] = {}
        for name, number in (pair for descriptor in descriptors for pair in descriptor.items()):
            columns.setdefault(name, []).append(number)
        varied = [name for name in sorted(columns) if np.std(columns[name]) > 0]
        centre, scale = ([measure(columns[name]) for name in varied] for measure in (np.mean, np.std))
        return varied, np.array(centre, float), np.array(scale, float)


def fit_similarity(comparison: ComparedTrials) -> TaskSimilarity:
    """The reach that best predicts the differences on held-out families: without end where nearness does not help."""
    candidates = [TaskSimilarity(comparison, bandwidth) for bandwidth in sorted(BANDWIDTHS, reverse=True)]
    return min(candidates, key=_error)


def _error(similarity: TaskSimilarity) -> float:
    """Mean squared error over held-out tasks, families counting alike; 0 where there is nothing to predict."""
    comparison = similarity.comparison
    known = np.clip(comparison.differences, -MAX_DIFFERENCE, MAX_DIFFERENCE)
    errors = []
    for index, task in enumerate(comparison.tasks):
        foretold = weighted_mean(known, similarity.weights(task, exclude_family=task.family))
        squares = (known[index] - foretold) ** 2
        errors.append(float(np.nanmean(squares)) if not np.isnan(squares).all() else 0.0)
    return float(comparison.family_weights() @ np.array(errors, float))
