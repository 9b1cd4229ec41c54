"""What an experience shows: which recipes win where, and how much each choice matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.meta.predict.curves import ComparedTrials, compare, weighted_mean
from mulligan.meta.predict.surrogate import Forest, TreeRows, example_of, fit_forest, held_out_error
from mulligan.meta.predict.task_similarity import MAX_DIFFERENCE, TaskSimilarity
from mulligan.meta.space.space import Space
from mulligan.meta.store.exchange import Records
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
      differences: by family, mean of log KID minus that of the anchor at the last fidelity that both saw.
    """

    recipe: Recipe
    name: str
    tasks: int
    wins: int
    rank: float
    differences: dict[str, float]


class Importance(NamedTuple):
    """How much a choice matters: by how much less of the differences between recipes is predicted without it.

    `share` is of the variance of log KID on families that no tree has seen; below 0 is noise.
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

    KIDs of different tasks never meet: what is compared is the difference from the anchor (`meta.predict.curves`) on
    the same task after equal operations. Differences count up to 3 nats; a recipe's rank is smoothed by one task on
    which it would have come out in the middle, so that one lucky task is no victory.
    """
    comparison = compare(list(known.tasks.values()), list(known.trials.values()))
    if not comparison.rows:
        return Findings(Recipe(), "", (), (), ())
    ends = _ends(comparison)
    standings = sorted(_rankings(comparison, ends), key=lambda each: (each.rank * each.tasks + 0.5) / (each.tasks + 1))
    name, anchor = list(comparison.recipes.items())[comparison.anchor]
    families = tuple(sorted(set(comparison.families)))
    return Findings(anchor, name, families, tuple(standings), tuple(_importances(comparison, ends)))


def _ends(comparison: ComparedTrials) -> Float[np.ndarray, "t r"]:
    """Differences from the anchor at the fidelity where the anchor's short trials end on most tasks."""
    seen = ~np.isnan(comparison.reference)
    place = int(np.flatnonzero(seen.sum(axis=0) >= 0.9 * seen.sum(axis=0).max())[-1])
    return np.clip(comparison.differences[:, :, place], -MAX_DIFFERENCE, MAX_DIFFERENCE)


def _rankings(comparison: ComparedTrials, ends: Float[np.ndarray, "t r"]) -> Iterator[RecipeRanking]:
    even, lowest = comparison.family_weights(), np.nanmin(ends, axis=1)
    for column, (name, recipe) in enumerate(comparison.recipes.items()):
        tried = np.flatnonzero(~np.isnan(ends[:, column]))
        if not len(tried):
            continue
        ranks = [_rank(ends[task], column) for task in tried]
        by_family = {
            family: float(weighted_mean(ends[:, column], even * (np.array(comparison.families) == family)))
            for family in {comparison.families[task] for task in tried}
        }
        wins = int(sum(ends[task, column] <= lowest[task] for task in tried))
        yield RecipeRanking(recipe, name, len(tried), wins, float(np.mean(ranks)), by_family)


def _rank(ends: Float[np.ndarray, " r"], column: int) -> float:
    """The share of the other recipes tried on a task that ended lower; the middle where there were none."""
    others = np.delete(ends, column)
    others = others[~np.isnan(others)]
    return float(np.mean(others < ends[column])) if len(others) else 0.5


def _importances(comparison: ComparedTrials, ends: Float[np.ndarray, "t r"]) -> list[Importance]:
    """For every choice that varies, by permutation: Breiman 2001, "Random forests", section 10.

    A choice's values are dealt out anew among the recipes; trees judge families and recipes that they did not see.
    """
    if len(comparison.recipes) < LEAST_RECIPES:
        return []
    similarity = TaskSimilarity(comparison)
    forest, _ = fit_forest(similarity)
    lesson = _last_rows(example_of(similarity, forest.described))
    variance = float(np.average((lesson.difference - lesson.difference.mean()) ** 2, weights=lesson.weight))
    if not forest.trees or variance == 0:
        return []
    recipes, rng = list(comparison.recipes.values()), np.random.default_rng(SEED)
    encoded = np.array([Space().encode(recipe) for recipe in recipes], float)
    found = []
    for choice, columns in _columns():
        if np.ptp(encoded[:, columns], axis=0).any():
            worse = _worsened(forest, lesson, encoded[:, columns], columns, rng)
            found.append(Importance(choice, worse / variance, tuple(_values(choice, recipes, ends))))
    return sorted(found, key=lambda each: -each.share)


def _last_rows(lesson: TreeRows) -> TreeRows:
    """Of each trial the last fidelity: rows of a trial are neighbours, in the order of their fidelities."""
    place = lesson.features[:, -1]
    last = np.append(np.diff(place) <= 0, True) if len(place) else np.zeros(0, bool)
    return TreeRows(*(column[last] for column in lesson))


def _columns() -> Iterator[tuple[str, slice]]:
    """Each choice of the space, and where its numbers are in an encoded recipe."""
    begin = 0
    for choice in Space().choices:
        end = begin + 1 + len(choice.domain.labels)
        yield choice.name, slice(begin, end)
        begin = end


def _worsened(
    forest: Forest, lesson: TreeRows, values: Float[np.ndarray, "r d"], columns: slice, rng: np.random.Generator
) -> float:
    """By how much the mean squared error grows when recipes exchange these columns."""
    before = held_out_error(forest, lesson, new=True)
    errors = []
    for _ in range(SHUFFLES):
        features = lesson.features.copy()
        features[:, columns] = values[rng.permutation(len(values))][lesson.recipe]
        errors.append(held_out_error(forest, lesson._replace(features=features), new=True))
    return float(np.mean(errors)) - before


def _values(choice: str, recipes: Sequence[Recipe], ends: Float[np.ndarray, "t r"]) -> Iterator[tuple[str, int, float]]:
    """Each value of a choice that at least two recipes share, with their mean difference from the anchor."""
    means = [float(np.mean(column[~np.isnan(column)])) if (~np.isnan(column)).any() else np.nan for column in ends.T]
    groups: dict[str, list[float]] = {}
    for recipe, mean in zip(recipes, means, strict=True):
        values = Space().values(recipe)
        if choice in values and np.isfinite(mean):
            groups.setdefault(_word(values[choice]), []).append(mean)
    for value, of_value in sorted(groups.items(), key=lambda pair: float(np.mean(pair[1]))):
        if len(of_value) > 1:
            yield value, len(of_value), float(np.mean(of_value))


def _word(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
