"""What the experience says about a task and a budget: which recipes to try, and how their curves will go.

A prior is made from tasks and trials, and asked with a task and the operations there are to spend. What is best for two
minutes is not best for two hours: recipes are compared after equal operations, and by the lowest KID until then.

`default` proposes the default recipe and nothing else; `portfolio` the greedy portfolio over all tasks; `nearest` the
same with weights for the tasks that look alike; `surrogate` the same over the opinions of many regression trees. All
propose what was tried before, and foretell any recipe's curve, with intervals that held on held-out families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import DEFAULT, GRID, HANDMADE, NAMED, Curve, compare, lowest_so_far, name_of
from mulligan.meta.predict.ensembles import TaskWorlds, Worlds, expectation, left_over, spread_of
from mulligan.meta.predict.portfolio import chances, greedy, imputed, ranks
from mulligan.meta.predict.residual_gp import Residuals, Seen, learn_residuals, of_trial, together
from mulligan.meta.predict.surrogate import grow
from mulligan.meta.predict.task_similarity import Kinship, learn_kinship
from mulligan.meta.space.cost import refusal
from mulligan.meta.space.fidelity import fidelity_of, flops_at, limits_of, reference_flops
from mulligan.meta.store.record import Point, TaskRecord, Trial
from mulligan.recipe import Recipe


class Question(NamedTuple):
    """A task, and the operations to be spent on it."""

    task: TaskRecord
    flops: float

    @property
    def fidelity(self) -> float:
        return fidelity_of(self.task.shape, self.flops)

    @property
    def images(self) -> float:
        """The budget in images of the yardstick."""
        return self.flops / reference_flops(self.task.shape, 1)


class Forecast(NamedTuple):
    """The lowest KID reached after so many operations, as a logarithm: its median, and an interval that holds 80%."""

    flops: Float[np.ndarray, " k"]  # ascending; the last is the budget
    median: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]


class Begun(NamedTuple):
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

    def propose(self, question: Question, number: int) -> tuple[Proposal, ...]:
        """Up to `number` recipes that can be trained within the budget, best first; their weights sum to 1.

        From two on, the default recipe is among them.
        """
        ...

    def forecast(
        self, question: Question, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[Begun] = ()
    ) -> Forecast:
        """How the recipe's curve will go, from the last point `seen` of it (or the first look) to the budget.

        What `others` reached on the task says how hard it is, for all recipes alike.
        """
        ...

    def nearest(self, question: Question) -> tuple[tuple[TaskRecord, float], ...]:
        """Tasks that the answer rests on with their weights, the heaviest first."""
        ...


@dataclass(frozen=True)
class Learned:
    """A prior made of parts: what the anchor does on a task, how far from it recipes are, and what is left.

    Attributes:
      spread: standard deviation between recipes in log KID, for those that were never tried.
      origin: name of the prior, for people.
      fallback: name of the recipe that is never refused; HANDMADE where families are held out: DEFAULT rests on all.
    """

    kinship: Kinship
    worlds: Worlds
    residuals: Residuals
    spread: float
    origin: str
    fallback: str = DEFAULT
    _curves: dict[tuple[str, str], Curve] = field(default_factory=dict, repr=False, compare=False)

    def propose(self, question: Question, number: int) -> tuple[Proposal, ...]:
        recipe = NAMED[self.fallback](question.task, question.images)
        default = {name_of(question.task, recipe, question.images): recipe}
        offered = default | self.kinship.comparison.recipes
        offered |= {name: NAMED[name](question.task, question.images) for name in NAMED if name in offered} | default
        weights = self.worlds.weights(question.task)
        losses = imputed(at_place(self.worlds.differences(question.task, offered), question.fidelity), weights)
        columns = self._chosen(question, list(offered.values()), losses, number)
        shares = chances(losses[:, columns], weights, len(set(self.kinship.comparison.families)))
        names, found = list(offered), []
        for column, share in zip(columns, shares.tolist(), strict=True):
            name = names[column]
            origin = self._origin(question, name) if column else "the default"
            found.append(Proposal(offered[name], share, self.forecast(question, offered[name]), origin))
        return tuple(sorted(found, key=lambda proposal: -proposal.weight))

    def _chosen(
        self, question: Question, recipes: Sequence[Recipe], losses: Float[np.ndarray, "w r"], number: int
    ) -> list[int]:
        """Columns of the greedy portfolio; the first column is the default's, which takes the last place if need be."""
        weights = self.worlds.weights(question.task)
        left = [0, *(column for column in range(1, len(recipes)) if not np.isnan(losses[:, column]).all())]
        while True:
            chosen = [left[index] for index in greedy(ranks(losses[:, left]), weights, number)]
            refused = {column for column in chosen if column and _refused(question, recipes[column])}
            if not refused:
                break
            left = [column for column in left if column not in refused]
        return chosen if number == 1 or 0 in chosen else [*chosen[: number - 1], 0]

    def _origin(self, question: Question, name: str) -> str:
        comparison = self.kinship.comparison
        losses = at_place(comparison.differences[:, list(comparison.recipes).index(name)], question.fidelity)
        known = np.where(np.isnan(losses), np.inf, losses)
        return f"{self.origin}, best on {comparison.tasks[int(np.argmin(known))].name}"

    def forecast(
        self, question: Question, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[Begun] = ()
    ) -> Forecast:
        where, values = lowest_so_far(question.task.shape, seen)
        trials = [Begun(recipe, seen), *others]
        known = together([self._residuals(question, arm, *trial) for arm, trial in enumerate(trials)])
        ahead = _ahead(where, question.fidelity)
        expected, more = self._expected(question, recipe)
        quantiles = np.interp(ahead, GRID, expected) + self.residuals.after(known, ahead, more)
        quantiles = np.minimum.accumulate(quantiles, axis=1)
        if len(where):  # what was reached stays reached
            quantiles = np.minimum(quantiles, np.interp(ahead, where, values))
        flops = np.array([flops_at(question.task.shape, each) for each in ahead])
        low, median, high = quantiles
        return Forecast(flops, median, low, high)

    def _residuals(self, question: Question, arm: int, recipe: Recipe, seen: Sequence[Point]) -> Seen:
        expected, more = self._expected(question, recipe)
        where, values = lowest_so_far(question.task.shape, seen)
        return of_trial(where, values - np.interp(where, GRID, expected), arm, more)

    def _expected(self, question: Question, recipe: Recipe) -> tuple[Curve, float]:
        """A recipe's expected curve, kept for the next time; and a deviation of its level if it was never tried."""
        name = name_of(question.task, recipe, question.images)
        key = question.task.id, name
        if key not in self._curves:
            self._curves[key] = expectation(self.kinship, self.worlds, question.task, {name: recipe})[0]
        known = name in NAMED or name in self.kinship.comparison.recipes
        return self._curves[key], 0.0 if known else self.spread

    def nearest(self, question: Question) -> tuple[tuple[TaskRecord, float], ...]:
        weights = self.kinship.weights(question.task)
        pairs = [(task, float(weight)) for task, weight in zip(self.kinship.comparison.tasks, weights, strict=True)]
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))


@dataclass(frozen=True)
class DefaultOnly:
    """Proposes the default recipe alone; foretells as `learned` does."""

    learned: Learned

    def propose(self, question: Question, number: int) -> tuple[Proposal, ...]:
        recipe = NAMED[self.learned.fallback](question.task, question.images)
        return (Proposal(recipe, 1.0, self.forecast(question, recipe), "the default"),)

    def forecast(
        self, question: Question, recipe: Recipe, seen: Sequence[Point] = (), others: Sequence[Begun] = ()
    ) -> Forecast:
        return self.learned.forecast(question, recipe, seen, others)

    def nearest(self, question: Question) -> tuple[tuple[TaskRecord, float], ...]:
        return self.learned.nearest(question)


def at_place(curves: Float[np.ndarray, "... g"], where: float) -> Float[np.ndarray, "..."]:
    """Values of curves at GRID at another place, between two on a straight line; the ends' beyond them."""
    inside = float(np.clip(where, GRID[0], GRID[-1]))
    below = min(int(inside), len(GRID) - 2)
    share = inside - below
    return (1 - share) * curves[..., below] + share * curves[..., below + 1]


def _ahead(where: Float[np.ndarray, " k"], end: float) -> Float[np.ndarray, " m"]:
    """Places a look apart from the last of those seen, or the first look, to the end."""
    start = where[-1] if len(where) else min(0.0, end)
    return np.append(np.arange(start + 1 if len(where) else start, end, 1.0), end)


def _refused(question: Question, recipe: Recipe) -> bool:
    """Whether it would see too few images for the budget, or needs too much memory."""
    limits = limits_of(question.task.shape, question.flops)
    return refusal(recipe, question.task.shape, question.task.classes, limits) is not None


# --- priors by name


def default(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> DefaultOnly:
    """Nothing but the default recipe, with the forecast that it has on all tasks alike."""
    return DefaultOnly(portfolio(tasks, trials))


def portfolio(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> Learned:
    """All tasks count alike, whatever they look like."""
    return _of_tasks(Kinship(compare(tasks, trials)), "portfolio")


def nearest(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> Learned:
    """Tasks that look alike count more, where that helped on held-out families."""
    return _of_tasks(learn_kinship(compare(tasks, trials)), "nearest tasks")


def surrogate(tasks: Sequence[TaskRecord], trials: Sequence[Trial]) -> Learned:
    """Trees that look at recipe, task and place; the anchor's own curve is as on the nearest tasks."""
    kinship = learn_kinship(compare(tasks, trials))
    forest, spread = grow(kinship)
    return Learned(kinship, forest, learn_residuals(left_over(kinship, forest)), spread, "surrogate")


def _of_tasks(kinship: Kinship, origin: str) -> Learned:
    worlds = TaskWorlds(kinship)
    return Learned(kinship, worlds, learn_residuals(left_over(kinship, worlds)), spread_of(kinship), origin)


def unlearned(prior: Prior) -> Prior:
    """The same prior with the hand-made recipe for a default."""
    if isinstance(prior, DefaultOnly):
        return replace(prior, learned=replace(prior.learned, fallback=HANDMADE))
    assert isinstance(prior, Learned)
    return replace(prior, fallback=HANDMADE)


PRIORS: dict[str, Callable[[Sequence[TaskRecord], Sequence[Trial]], Prior]] = {
    "default": default,
    "portfolio": portfolio,
    "nearest": nearest,
    "surrogate": surrogate,
}
