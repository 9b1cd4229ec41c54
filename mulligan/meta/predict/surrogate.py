"""Curves predicted by regression trees from what recipe and task are.

Each tree is a predictor of its own: it was grown on some of the families and some of the recipes, and its prediction
counts wherever it is asked about others. So one forest says how well it does on families and recipes that it has not
seen (out of bag: Breiman 1996), and how much its trees disagree. They are extremely randomised: Geurts, Ernst and
Wehenkel 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mulligan.meta.predict.curves import FIDELITIES, ComparedTrials
from mulligan.meta.predict.ensembles import USUAL_SPREAD
from mulligan.meta.predict.task_similarity import MAX_DIFFERENCE, TaskSimilarity
from mulligan.meta.space.space import Space
from mulligan.meta.store.record import TaskRecord
from mulligan.recipe import Recipe

TREES = 64
SEED = 0
FAMILY_SHARE, RECIPE_SHARE = 0.6, 0.8  # of those there are, that a tree is grown on
LEAF = 3  # points that a leaf holds at least
FEATURE_SHARE = 0.5  # of the features, that a split may choose from
LEAST_SPREAD = 0.1  # in log distance, that a recipe which was never tried adds to what is uncertain


class TreeRows(NamedTuple):
    """What trees are grown on: a row for each fidelity of each trial's curve."""

    features: Float[np.ndarray, "n d"]
    difference: Float[np.ndarray, " n"]  # from the anchor's log distance, no farther than MAX_DIFFERENCE
    family: Int[np.ndarray, " n"]
    recipe: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]  # families count alike; sums to 1


@dataclass(frozen=True)
class Forest:
    """Trees, as predictors.

    Attributes:
      described: whether the trees look at the tasks' descriptors.
      knows_family: of each tree; families are in the order of their names.
      knows_recipe: of each tree; recipes are those of the comparison.
    """

    similarity: TaskSimilarity
    described: bool
    trees: tuple[Any, ...]
    knows_family: Bool[np.ndarray, "w f"]
    knows_recipe: Bool[np.ndarray, "w r"]

    def weights(self, task: TaskRecord, exclude_family: str | None = None) -> Float[np.ndarray, " w"]:
        families = _families(self.similarity.comparison)
        unaware = (
            ~self.knows_family[:, families.index(exclude_family)]
            if exclude_family in families
            else np.ones(len(self.trees), bool)
        )
        return unaware / max(unaware.sum(), 1)

    def differences(self, task: TaskRecord, recipes: Mapping[str, Recipe]) -> Float[np.ndarray, "w r g"]:
        description = self.similarity.numbers(task) if self.described else np.zeros(0)
        rows = np.concatenate([_features(recipe, description, FIDELITIES) for recipe in recipes.values()])
        found = self.predictions(rows).reshape(len(self.trees), len(recipes), len(FIDELITIES))
        known = list(self.similarity.comparison.recipes)
        anchors = np.array(
            [name in known and known.index(name) == self.similarity.comparison.anchor for name in recipes]
        )
        return np.where(anchors[:, None], 0.0, found)

    def own(self) -> Bool[np.ndarray, " w"]:
        """Every tree is grown on all sources, weighed as they are."""
        return np.ones(len(self.trees), bool)

    def predictions(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "w n"]:
        """What each tree says."""
        rows = np.ascontiguousarray(features, np.float32)  # what trees split on: checked once for all of them
        found = [tree.predict(rows, check_input=False) for tree in self.trees]
        return np.array(found, float).reshape(len(self.trees), len(rows))


def fit_forest(similarity: TaskSimilarity) -> tuple[Forest, float]:
    """The forest that predicts held-out families best: with the tasks' descriptors, or without where they do not help.

    Returns:
      The forest, and the standard deviation that a recipe which was never tried adds to what it leaves uncertain.
    """
    examples = {described: example_of(similarity, described) for described in (False, True)}
    forests = {described: _grown(similarity, described, example) for described, example in examples.items()}
    best = min(forests, key=lambda described: held_out_error(forests[described], examples[described], new=False))
    forest, example = forests[best], examples[best]
    if not forest.trees:
        return forest, USUAL_SPREAD
    more = held_out_error(forest, example, new=True) - held_out_error(forest, example, new=False)
    return forest, float(np.sqrt(max(more, LEAST_SPREAD**2)))


def _grown(similarity: TaskSimilarity, described: bool, example: TreeRows) -> Forest:
    """A forest in which each tree has seen some of the families and some of the recipes."""
    from sklearn.tree import ExtraTreeRegressor

    comparison, rng = similarity.comparison, np.random.default_rng(SEED)
    families, recipes = len(_families(comparison)), len(comparison.recipes)
    trees, knows_family, knows_recipe = [], [], []
    for index in range(TREES if len(example.difference) else 0):
        knows_family.append(_some(families, FAMILY_SHARE, rng))
        knows_recipe.append(_some(recipes, RECIPE_SHARE, rng))
        rows = knows_family[-1][example.family] & knows_recipe[-1][example.recipe]
        tree = ExtraTreeRegressor(min_samples_leaf=LEAF, max_features=FEATURE_SHARE, random_state=index)
        trees.append(tree.fit(example.features[rows], example.difference[rows], example.weight[rows]))
    return Forest(
        similarity,
        described,
        tuple(trees),
        np.array(knows_family, bool).reshape(len(trees), families),
        np.array(knows_recipe, bool).reshape(len(trees), recipes),
    )


def _some(number: int, share: float, rng: np.random.Generator) -> Bool[np.ndarray, " n"]:
    """Marks a share of so many at random, one at least."""
    marks = np.zeros(number, bool)
    marks[rng.permutation(number)[: max(round(share * number), 1)]] = True
    return marks


def held_out_error(forest: Forest, example: TreeRows, new: bool) -> float:
    """Mean squared error of what trees say together that know neither a row's family nor, where `new`, its recipe.

    Rows that every tree knows are left out.
    """
    unaware = ~forest.knows_family[:, example.family]
    if new:
        unaware &= ~forest.knows_recipe[:, example.recipe]
    judged = unaware.any(axis=0)
    if not judged.any():
        return 0.0
    said = (forest.predictions(example.features) * unaware).sum(axis=0)[judged] / unaware.sum(axis=0)[judged]
    return float(np.average((said - example.difference[judged]) ** 2, weights=example.weight[judged]))


def example_of(similarity: TaskSimilarity, described: bool) -> TreeRows:
    """What the comparison teaches, with the tasks' descriptors among the features or without."""
    comparison = similarity.comparison
    families, even = _families(comparison), comparison.family_weights()
    recipes = list(comparison.recipes.values())
    counts = np.bincount([row.task for row in comparison.rows], minlength=len(comparison.tasks))
    parts = []
    for row in comparison.rows:
        task = comparison.tasks[row.task]
        apart = row.curve - comparison.reference[row.task]
        seen = ~np.isnan(apart)
        size, weight = int(seen.sum()), even[row.task] / counts[row.task] / max(seen.sum(), 1)
        described_as = similarity.numbers(task) if described else np.zeros(0)
        parts.append(
            TreeRows(
                _features(recipes[row.column], described_as, FIDELITIES[seen]),
                np.clip(apart[seen], -MAX_DIFFERENCE, MAX_DIFFERENCE),
                np.full(size, families.index(task.family)),
                np.full(size, row.column),
                np.full(size, weight),
            )
        )
    if not parts:
        return TreeRows(np.zeros((0, 1)), np.zeros(0), np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    return TreeRows(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _features(
    recipe: Recipe, description: Float[np.ndarray, " d"], places: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k e"]:
    """A row for each fidelity."""
    fixed = np.concatenate([Space().encode(recipe), description])
    return np.column_stack([np.tile(fixed, (len(places), 1)), places])


def _families(comparison: ComparedTrials) -> list[str]:
    return sorted(set(comparison.families))
