"""What the experience says about a task and a budget: which recipes to try, and how their curves will go.

A prior is made from tasks and trials, and asked with a task and the operations there are to spend. What is best for two
minutes is not best for two hours: recipes are compared after equal operations, and by the lowest distance until then.

`default` proposes the default recipe and nothing else; `portfolio` the greedy portfolio over all tasks; `nearest` the
same with weights for the tasks that look alike; `surrogate` the same over the predictions of many regression trees. All
propose what was tried before, and predict any recipe's curve, with intervals that held on held-out families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import (
    DEFAULT,
    FIDELITIES,
    HANDMADE,
    NAMED,
    Curve,
    compare,
    lowest_so_far,
    recipe_name,
)
from mulligan.meta.predict.ensembles import (
    CurveEnsemble,
    TaskEnsemble,
    cross_validated_residuals,
    expectation,
    recipe_spread,
)
from mulligan.meta.predict.portfolio import chances, greedy, imputed, ranks
from mulligan.meta.predict.residual_gp import (
    ResidualModel,
    concatenate,
    fit_residual_model,
    observations_of,
)
from mulligan.meta.predict.surrogate import fit_forest
from mulligan.meta.predict.task_similarity import TaskSimilarity, fit_similarity
from mulligan.meta.space.cost import refusal
from mulligan.meta.space.fidelity import fidelity_of, flops_at, limits_of, reference_flops
from mulligan.meta.store.record import Point, TaskRecord, Trial
from mulligan.recipe import Recipe


class Query(NamedTuple):
    """A task, and the operations to be spent on it."""

    task: TaskRecord
    flops: float

    @property
    def fidelity(self) -> float:
        return fidelity_of(self.task.shape, self.flops)

    @property
    def images(self) -> float:
        """The budget in reference images."""
        return self.flops / reference_flops(self.task.shape, 1)


class Forecast(NamedTuple):
    """The log of the lowest distance reached after so many operations: its median, and an interval that holds 80%."""

    flops: Float[np.ndarray, " k"]  # ascending; the last is the budget
    median: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]


class PartialCurve(NamedTuple):
    """Another trial on the task, and its points so far."""

    recipe: Recipe
    seen: Sequence[Point]


class Proposal(NamedTuple):
    """A recipe to try."""

    recipe: Recipe
    weight: float  # the chance that it is the best of those proposed
    forecast: Forecast
    origin: str  # for people


@runtime_checkable
class Prior(Protocol):
    """What is believed before a race, and how a curve's beginning changes it."""

    def propose(self, query: Query, number: int) -> tuple[Proposal, ...]:
        """Up to `number` recipes that can be trained within the budget, best first; their weights sum to 1.

        From two on, the default recipe is among them.
        """
        ...

    def forecast(
        self, query: Query, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[PartialCurve] = ()
    ) -> Forecast:
        """How the recipe's curve will go, from the last point `seen` of it (or the first rung) to the budget.

        What `others` reached on the task says how hard it is, for all recipes alike.
        """
        ...

    def nearest(self, query: Query) -> tuple[tuple[TaskRecord, float], ...]:
        """Tasks that the answer rests on with their weights, the heaviest first."""
        ...


@dataclass(frozen=True)
class LearnedPrior:
    """A prior made of parts: what the anchor does on a task, how far from it recipes are, and what is left.

    Attributes:
      spread: standard deviation between recipes in log distance, for those that were never tried.
      origin: name of the prior, for people.
      fallback: name of the recipe that is never refused; HANDMADE where families are held out: DEFAULT rests on all.
    """

    similarity: TaskSimilarity
    ensemble: CurveEnsemble
    residuals: ResidualModel
    spread: float
    origin: str
    fallback: str = DEFAULT
    _curves: dict[tuple[str, str], Curve] = field(default_factory=dict, repr=False, compare=False)

    def propose(self, query: Query, number: int) -> tuple[Proposal, ...]:
        recipe = NAMED[self.fallback](query.task, query.images)
        default = {recipe_name(query.task, recipe, query.images): recipe}
        offered = default | self.similarity.comparison.recipes
        offered |= {name: NAMED[name](query.task, query.images) for name in NAMED if name in offered} | default
        weights = self.ensemble.weights(query.task)
        losses = at_fidelity(self.ensemble.differences(query.task, offered), query.fidelity)
        losses = imputed(losses, weights, self.ensemble.own())
        columns = self._chosen(query, list(offered.values()), losses, number)
        shares = chances(losses[:, columns], weights, self.similarity.comparison.independent())
        comparison, names, found = self.similarity.comparison, list(offered), []
        for column, share in zip(columns, shares.tolist(), strict=True):
            name, origin = names[column], "the default"
            if column:
                losses = at_fidelity(comparison.differences[:, list(comparison.recipes).index(name)], query.fidelity)
                best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
                origin = f"{self.origin}, best on {comparison.tasks[best].name}"
            found.append(Proposal(offered[name], share, self.forecast(query, offered[name]), origin))
        return tuple(sorted(found, key=lambda proposal: -proposal.weight))

    def _chosen(
        self, query: Query, recipes: Sequence[Recipe], losses: Float[np.ndarray, "w r"], number: int
    ) -> list[int]:
        """Columns of the greedy portfolio; the first column is the default's, which comes last if need be."""
        weights, limits = self.ensemble.weights(query.task), limits_of(query.task.shape, query.flops)
        left = [0, *(column for column in range(1, len(recipes)) if not np.isnan(losses[:, column]).all())]
        while True:
            chosen = [left[index] for index in greedy(ranks(losses[:, left]), weights, number)]
            refused = {
                column
                for column in chosen
                if column and refusal(recipes[column], query.task.shape, query.task.classes, limits)
            }
            if not refused:
                break
            left = [column for column in left if column not in refused]
        return chosen if number == 1 or 0 in chosen else [*chosen[: number - 1], 0]

    def forecast(
        self, query: Query, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[PartialCurve] = ()
    ) -> Forecast:
        known = []
        for arm, trial in enumerate([PartialCurve(recipe, seen), *others]):
            expected, more = self._expected(query, trial.recipe)
            where, values = lowest_so_far(query.task.shape, trial.seen)
            known.append(observations_of(where, values - np.interp(where, FIDELITIES, expected), arm, more))

        # Fidelities a rung apart from the last of those seen, or the first rung, to the end.
        where, values = lowest_so_far(query.task.shape, seen)
        start = where[-1] + 1 if len(where) else min(0.0, query.fidelity)
        ahead = np.append(np.arange(start, query.fidelity, 1.0), query.fidelity)
        expected, more = self._expected(query, recipe)
        quantiles = np.interp(ahead, FIDELITIES, expected) + self.residuals.posterior(concatenate(known), ahead, more)
        quantiles = np.minimum.accumulate(quantiles, axis=1)
        if len(where):  # what was reached stays reached
            quantiles = np.minimum(quantiles, np.interp(ahead, where, values))
        flops = np.array([flops_at(query.task.shape, each) for each in ahead])
        low, median, high = quantiles
        return Forecast(flops, median, low, high)

    def _expected(self, query: Query, recipe: Recipe) -> tuple[Curve, float]:
        """A recipe's expected curve, kept for the next time; and a deviation of its level if it was never tried."""
        name = recipe_name(query.task, recipe, query.images)
        key = query.task.id, name
        if key not in self._curves:
            self._curves[key] = expectation(self.similarity, self.ensemble, query.task, {name: recipe})[0]
        known = name in NAMED or name in self.similarity.comparison.recipes
        return self._curves[key], 0.0 if known else self.spread

    def nearest(self, query: Query) -> tuple[tuple[TaskRecord, float], ...]:
        weights = self.similarity.weights(query.task)
        pairs = [(task, float(weight)) for task, weight in zip(self.similarity.comparison.tasks, weights, strict=True)]
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))


@dataclass(frozen=True)
class DefaultOnly:
    """Proposes the default recipe alone; predicts as `learned` does."""

    learned: LearnedPrior

    def propose(self, query: Query, number: int) -> tuple[Proposal, ...]:
        recipe = NAMED[self.learned.fallback](query.task, query.images)
        return (Proposal(recipe, 1.0, self.forecast(query, recipe), "the default"),)

    def forecast(
        self, query: Query, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[PartialCurve] = ()
    ) -> Forecast:
        return self.learned.forecast(query, recipe, seen, others)

    def nearest(self, query: Query) -> tuple[tuple[TaskRecord, float], ...]:
        return self.learned.nearest(query)


def at_fidelity(curves: Float[np.ndarray, "... g"], where: float) -> Float[np.ndarray, "..."]:
    """Values of curves at FIDELITIES at another fidelity, between two on a straight line; the ends' beyond them."""
    inside = float(np.clip(where, FIDELITIES[0], FIDELITIES[-1]))
    below = min(int(inside), len(FIDELITIES) - 2)
    share = inside - below
    return (1 - share) * curves[..., below] + share * curves[..., below + 1]


# --- priors by name


def default(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> DefaultOnly:
    """Nothing but the default recipe, with the forecast that it has on all tasks alike."""
    return DefaultOnly(portfolio(tasks, trials))


def portfolio(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> LearnedPrior:
    """All tasks count alike, whatever they look like."""
    return _of_tasks(TaskSimilarity(compare(tasks, trials)), "portfolio")


def nearest(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> LearnedPrior:
    """Tasks that look alike count more, where that helped on held-out families."""
    return _of_tasks(fit_similarity(compare(tasks, trials)), "nearest tasks")


def surrogate(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> LearnedPrior:
    """Trees that look at recipe, task and fidelity; the anchor's own curve is as on the nearest tasks."""
    similarity = fit_similarity(compare(tasks, trials))
    forest, spread = fit_forest(similarity)
    return LearnedPrior(
        similarity, forest, fit_residual_model(cross_validated_residuals(similarity, forest)), spread, "surrogate"
    )


def _of_tasks(similarity: TaskSimilarity, origin: str) -> LearnedPrior:
    ensemble = TaskEnsemble(similarity)
    return LearnedPrior(
        similarity,
        ensemble,
        fit_residual_model(cross_validated_residuals(similarity, ensemble)),
        recipe_spread(similarity),
        origin,
    )


def with_handmade_default(prior: Prior) -> Prior:
    """The same prior with the hand-made recipe for a default."""
    if isinstance(prior, DefaultOnly):
        return replace(prior, learned=replace(prior.learned, fallback=HANDMADE))
    assert isinstance(prior, LearnedPrior)
    return replace(prior, fallback=HANDMADE)


PRIORS: dict[str, Callable[[Sequence[TaskRecord], Sequence[Trial]], Prior]] = {
    "default": default,
    "portfolio": portfolio,
    "nearest": nearest,
    "surrogate": surrogate,
}
