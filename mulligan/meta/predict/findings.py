"""What an experience shows: which recipes win where, and how much each choice matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import ComparedTrials, compare, weighted_mean
from mulligan.meta.predict.surrogate import TreeRows, example_of, fit_forest, held_out_error
from mulligan.meta.predict.task_similarity import MAX_DIFFERENCE, TaskSimilarity
from mulligan.meta.space.space import Space
from mulligan.meta.store.record import Records
from mulligan.recipe import Recipe

SHUFFLES = 5
SEED = 0
LEAST_RECIPES = 8  # below which the importance of choices is noise


class RecipeRanking(NamedTuple):
    """How one recipe did.

    Attributes:
      tasks: on which it was tried.
      wins: of these, those on which it ended lowest.
      rank: mean share of the other recipes tried there that ended lower; 0 is the best everywhere.
      differences: by family, mean of log distance minus that of the anchor at the last fidelity that both saw.
    """

    recipe: Recipe
    name: str
    tasks: int
    wins: int
    rank: float
    differences: dict[str, float]


class Importance(NamedTuple):
    """How much a choice matters: by how much less of the differences between recipes is predicted without it.

    `share` is of the variance of log distance on families that no tree has seen; below 0 is noise.
    """

    choice: str
    share: float
    values: tuple[tuple[str, int, float], ...]  # value, recipes that have it, mean difference from the anchor


class Findings(NamedTuple):
    """What the trials of an experience say when put side by side; all empty where no recipe can be compared."""

    anchor: Recipe  # that the others are compared with
    anchor_name: str
    families: tuple[str, ...]
    rankings: tuple[RecipeRanking, ...]  # the best mean rank first
    importances: tuple[Importance, ...]  # the most important first


def findings(known: Records) -> Findings:
    """Puts all trials side by side.

    Distances of different tasks never meet: what is compared is the difference from the anchor (`meta.predict.curves`)
    on the same task after equal operations. Differences count up to 3 nats; a recipe's rank is smoothed by one task on
    which it would have come out in the middle, so that one lucky task is no victory.
    """
    comparison = compare(list(known.tasks.values()), list(known.trials.values()))
    if not comparison.rows:
        return Findings(Recipe(), "", (), (), ())
    # Differences from the anchor at the fidelity where the anchor's short trials end on most tasks.
    seen = (~np.isnan(comparison.reference)).sum(axis=0)
    place = int(np.flatnonzero(seen >= 0.9 * seen.max())[-1])
    ends = np.clip(comparison.differences[:, :, place], -MAX_DIFFERENCE, MAX_DIFFERENCE)
    standings = sorted(_rankings(comparison, ends), key=lambda each: (each.rank * each.tasks + 0.5) / (each.tasks + 1))
    name, anchor = list(comparison.recipes.items())[comparison.anchor]
    families = tuple(sorted(set(comparison.families)))
    return Findings(anchor, name, families, tuple(standings), tuple(_importances(comparison, ends)))


def _rankings(comparison: ComparedTrials, ends: Float[np.ndarray, "t r"]) -> Iterator[RecipeRanking]:
    even, lowest = comparison.family_weights(), np.nanmin(ends, axis=1)
    for column, (name, recipe) in enumerate(comparison.recipes.items()):
        tried = np.flatnonzero(~np.isnan(ends[:, column]))
        if not len(tried):
            continue
        ranks = []  # shares of the other recipes tried on a task that ended lower; the middle where there were none
        for task in tried:
            others = np.delete(ends[task], column)
            others = others[~np.isnan(others)]
            ranks.append(float(np.mean(others < ends[task, column])) if len(others) else 0.5)
        by_family = {
            family: float(weighted_mean(ends[:, column], even * (np.array(comparison.families) == family)))
            for family in {comparison.families[task] for task in tried}
        }
        wins = int(sum(ends[task, column] <= lowest[task] for task in tried))
        yield RecipeRanking(recipe, name, len(tried), wins, float(np.mean(ranks)), by_family)


def _importances(comparison: ComparedTrials, ends: Float[np.ndarray, "t r"]) -> list[Importance]:
    """For every choice that varies, by permutation: Breiman 2001, "Random forests", section 10.

    A choice's values are dealt out anew among the recipes; trees judge families and recipes that they did not see.
    """
    if len(comparison.recipes) < LEAST_RECIPES:
        return []
    similarity = TaskSimilarity(comparison)
    forest, _ = fit_forest(similarity)
    # Of each trial the last fidelity: rows of a trial are neighbours, in the order of their fidelities.
    lesson = example_of(similarity, forest.described)
    place = lesson.features[:, -1]
    last = np.append(np.diff(place) <= 0, True) if len(place) else np.zeros(0, bool)
    lesson = TreeRows(*(column[last] for column in lesson))
    variance = float(np.average((lesson.difference - lesson.difference.mean()) ** 2, weights=lesson.weight))
    if not forest.trees or variance == 0:
        return []
    recipes, rng = list(comparison.recipes.values()), np.random.default_rng(SEED)
    encoded = np.array([Space().encode(recipe) for recipe in recipes], float)
    before = held_out_error(forest, lesson, new=True)
    found, end = [], 0
    for choice in Space().choices:
        begin, end = end, end + 1 + len(choice.domain.labels)  # where its numbers are in an encoded recipe
        values = encoded[:, begin:end]
        if not np.ptp(values, axis=0).any():
            continue
        errors = []
        for _ in range(SHUFFLES):
            features = lesson.features.copy()
            features[:, begin:end] = values[rng.permutation(len(values))][lesson.recipe]
            errors.append(held_out_error(forest, lesson._replace(features=features), new=True))
        share = (float(np.mean(errors)) - before) / variance
        found.append(Importance(choice.name, share, tuple(_values(choice.name, recipes, ends))))
    return sorted(found, key=lambda each: -each.share)


def _values(choice: str, recipes: Sequence[Recipe], ends: Float[np.ndarray, "t r"]) -> Iterator[tuple[str, int, float]]:
    """Each value of a choice that at least two recipes share, with their mean difference from the anchor."""
    means = [float(np.mean(column[~np.isnan(column)])) if (~np.isnan(column)).any() else np.nan for column in ends.T]
    groups: dict[str, list[float]] = {}
    for recipe, mean in zip(recipes, means, strict=True):
        values = Space().values(recipe)
        if choice in values and np.isfinite(mean):
            value = values[choice]
            groups.setdefault(f"{value:.3g}" if isinstance(value, float) else str(value), []).append(mean)
    for value, of_value in sorted(groups.items(), key=lambda pair: float(np.mean(pair[1]))):
        if len(of_value) > 1:
            yield value, len(of_value), float(np.mean(of_value))
