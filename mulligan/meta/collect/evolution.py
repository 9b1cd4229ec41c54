"""Recipes bred from those that did well, on several tasks at once.

Regularised evolution (Real et al. 2019, arXiv 1802.01548) with many tasks as the judge: a recipe's rank on a task is
the share of the recipes tried there, after equal operations, that did better; its fitness is the mean over tasks, with
a place in the middle for those that are yet to come. Parents win small tournaments among the youngest recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mulligan.meta.space.space import Space
from mulligan.meta.store.record import DONE, Trial
from mulligan.recipe import Recipe

YOUNG = 100  # recipes that may become parents: the last ones tried
TOURNAMENT = 5  # of them, of which the best is a parent
CROSSED = 0.3  # share of the children that have two parents
FRESH = 0.1  # share of the new recipes that have none
DOUBT = 2.0  # tasks on which a recipe is taken to have done middling, besides those where it was tried
PROMISING = 0.35  # mean rank up to which a recipe is tried on further tasks


@dataclass(frozen=True)
class Individual:
    """A recipe that was tried.

    Attributes:
      ranks: for each task where it was tried, the share of the other recipes that did better.
      born: when it was first tried.
    """

    recipe: Recipe
    ranks: Mapping[str, float]
    born: str

    @property
    def fitness(self) -> float:
        """0 (the best everywhere) to 1; 0.5 where nothing is known."""
        return (sum(self.ranks.values()) + DOUBT / 2) / (len(self.ranks) + DOUBT)


def candidates(trials: Iterable[Trial], budgets: Mapping[str, float]) -> list[Individual]:
    """All recipes with a trial of the given operations on each task, in the order in which they were first tried.

    Args:
      budgets: task to operations; other trials are left out.
    """
    losses: dict[str, dict[Recipe, list[float]]] = {task: {} for task in budgets}
    born: dict[Recipe, str] = {}
    for trial in trials:
        if budgets.get(trial.task) == trial.budget:
            losses[trial.task].setdefault(trial.recipe, []).append(loss(trial))
            born[trial.recipe] = min(born.get(trial.recipe, trial.finished), trial.finished)
    ranks: dict[Recipe, dict[str, float]] = {recipe: {} for recipe in born}
    for task, of_task in losses.items():
        # For each loss the share of the others that are less, where equal ones count half.
        values = np.array([float(np.mean(each)) for each in of_task.values()])
        less = (values[:, None] > values).sum(axis=1)
        equal = (values[:, None] == values).sum(axis=1) - 1
        shares = (less + equal / 2) / (len(values) - 1) if len(values) > 1 else np.full(len(values), 0.5)
        for recipe, rank in zip(of_task, shares.tolist(), strict=True):
            ranks[recipe][task] = rank
    ordered = sorted(born, key=lambda recipe: (born[recipe], recipe.hash()))
    return [Individual(recipe, ranks[recipe], born[recipe]) for recipe in ordered]


def loss(trial: Trial) -> float:
    """The figure that selects at the end; infinite where the trial failed."""
    return float("inf") if trial.status != DONE or trial.last is None else trial.last


def promising(known: Sequence[Individual], task: str) -> list[Recipe]:
    """Recipes that were not tried on `task` and did well elsewhere, the best first."""
    chosen = [each for each in known if task not in each.ranks and each.fitness <= PROMISING]
    return [each.recipe for each in sorted(chosen, key=lambda each: each.fitness)]


def child(known: Sequence[Individual], rng: np.random.Generator, affordable: Callable[[Recipe], bool]) -> Recipe:
    """A new recipe that can be trained: mutated, crossed, or now and then drawn from the whole space."""
    space, young = Space(), known[-YOUNG:]
    old = {each.recipe for each in known}
    while True:
        if not young or rng.random() < FRESH:
            bred = space.sample(rng)
        else:
            bred = _parent(young, rng)
            if rng.random() < CROSSED:
                bred = space.cross(bred, _parent(young, rng), rng)
            for _ in range(rng.geometric(0.5)):
                bred = space.mutate(bred, rng)
        if bred not in old and affordable(bred):
            return bred


def _parent(young: Sequence[Individual], rng: np.random.Generator) -> Recipe:
    entrants = [young[index] for index in rng.integers(len(young), size=TOURNAMENT)]
    return min(entrants, key=lambda each: each.fitness).recipe
