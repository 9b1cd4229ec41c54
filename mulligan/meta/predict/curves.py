"""Curves of many trials made comparable: the lowest distance so far, as a logarithm, at fixed fidelities
(`meta.space.fidelity`). A distance is the figure that selects.

Distances of different tasks never meet: what recipes have in common across tasks is how far they are from an anchor, a
recipe tried on nearly all tasks, after equal operations on the same task.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from mulligan.meta.space.default import default_recipe, handmade_recipe, is_large
from mulligan.meta.space.fidelity import fidelity_of, reference_flops
from mulligan.meta.store.figure_curves import log_figure
from mulligan.meta.store.record import FAILED, HERE, SHIPPED, Point, TaskRecord, Trial
from mulligan.networks.layers import ImageShape
from mulligan.recipe import Recipe
from mulligan.training.budget import NOMINAL_FLOPS, Budget

FIDELITIES = np.arange(25.0)  # fidelities, up to four million reference images
DEFAULT, HANDMADE = "default", "handmade"  # names of recipes that differ between tasks: see `meta.space.default`
HELD = 4  # fidelities past its end for which a difference is held: a short trial says nothing of a long run
IMPORTED = 1 / 4  # what imports may weigh together, of what weighs all that was tried here or shipped
PAST_END = 0.25  # fidelities by which a curve that ends between two fidelities still counts for the next

Curve = Float[np.ndarray, " g"]  # log distance at FIDELITIES, NaN where not seen


def lowest_so_far(
    shape: ImageShape, points: Iterable[Point]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Fidelities of the points that have a distance, and the logarithm of the lowest up to each."""
    seen = [
        (fidelity_of(shape, point.flops), value)
        for point in points
        if math.isfinite(value := log_figure(point.figures))
    ]
    where, values = np.array(seen, float).reshape(-1, 2).T
    return where, np.minimum.accumulate(values)


def on_grid(shape: ImageShape, points: Sequence[Point]) -> Curve:
    """A curve at FIDELITIES, between its points on straight lines."""
    where, values = lowest_so_far(shape, points)
    if not len(where):
        return np.full(len(FIDELITIES), math.nan)
    inside = np.clip(FIDELITIES, where[0] - PAST_END, where[-1] + PAST_END) == FIDELITIES
    return np.where(inside, np.interp(FIDELITIES, where, values), math.nan)


def mean_curve(curves: Float[np.ndarray, "n g"], weights: Float[np.ndarray, " n"]) -> Curve:
    """The mean of curves that begin and end at different fidelities, without a jump where one ends.

    It is that of the values at the fidelity which most have seen; from there it follows the mean of the curves' steps.
    NaN beyond the fidelities that any has seen.
    """
    level = weighted_mean(curves, weights)
    if np.isnan(level).all():
        return level
    anchor = int(np.argmax((~np.isnan(curves) * weights[:, None]).sum(axis=0)))
    steps = weighted_mean(np.diff(curves, axis=1), weights)
    ahead = level[anchor] + np.cumsum(steps[anchor:])
    behind = level[anchor] - np.cumsum(steps[:anchor][::-1])[::-1]
    return np.concatenate([behind, [level[anchor]], ahead])


def weighted_mean(values: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, "..."]:
    """The mean over the first axis of what is not NaN; NaN where all is, or where the weights are 0."""
    seen = ~np.isnan(values)
    shares = seen * weights.reshape(-1, *[1] * (values.ndim - 1))
    total = shares.sum(axis=0)
    return np.where(total > 0, (shares * np.where(seen, values, 0)).sum(axis=0) / np.where(total > 0, total, 1), np.nan)


def fill_forward(
    curves: Float[np.ndarray, "... g"], places: int = len(FIDELITIES), kept: Float[np.ndarray, " steps"] | float = 1.0
) -> Float[np.ndarray, "... g"]:
    """Curves with their first value before it, and their last one for so many fidelities after it; all NaN stays so.

    Args:
      kept: what of a negative value is left one fidelity later, of each fidelity if it depends on it.

    Example:
      >>> fill_forward(np.array([np.nan, 1.0, -2.0, np.nan, np.nan]), places=1, kept=0.5).tolist()
      [1.0, 1.0, -2.0, -1.0, nan]
    """
    filled = curves.copy()
    kept = np.broadcast_to(kept, curves.shape[-1] - 1)
    left = np.where(np.isnan(filled[..., 0]), 0, places)
    for column in range(1, filled.shape[-1]):
        missing = np.isnan(filled[..., column])
        left = np.where(missing, left - 1, places)
        last = filled[..., column - 1]
        last = np.where(last < 0, kept[column - 1] * last, last)
        filled[..., column] = np.where(missing & (left >= 0), last, filled[..., column])
    for column in range(filled.shape[-1] - 2, -1, -1):
        before = np.isnan(filled[..., column]) & np.isnan(filled[..., : column + 1]).all(axis=-1)
        filled[..., column] = np.where(before, filled[..., column + 1], filled[..., column])
    return filled


def lead_decay(differences: Float[np.ndarray, "t r g"]) -> Float[np.ndarray, " steps"]:
    """What is left at each next fidelity of a lead, which is a negative difference: as a rule leads shrink, and lags
    stay.

    By least squares from what was seen at both fidelities, a tenth of it as at all fidelities together; 1 where nothing
    was.

    Example:
      >>> lead_decay(-2.0 * 0.9 ** FIDELITIES.reshape(1, 1, -1))[:3].round(6).tolist()
      [0.9, 0.9, 0.9]
    """
    before, after = differences[..., :-1], differences[..., 1:]
    both = (before < 0) & ~np.isnan(after)
    squares = np.where(both, before**2, 0).sum(axis=(0, 1))
    products = np.where(both, before * after, 0).sum(axis=(0, 1))
    if not squares.sum():
        return np.ones(differences.shape[-1] - 1)
    everywhere = 0.1 * squares.mean()
    usual = products.sum() / squares.sum()
    return np.clip((products + usual * everywhere) / (squares + everywhere), 0.0, 1.0)


class Row(NamedTuple):
    """One trial among others."""

    task: int  # index of its task
    column: int  # index of its recipe
    curve: Curve


class ComparedTrials(NamedTuple):
    """Trials that can be compared: tasks with the anchor's curve, and how far other recipes are from it.

    Attributes:
      tasks: those on which the anchor was tried; one that several sources tried is there once for each.
      sources: of each task the import that it is known by, or HERE, which stands for the shipped ones too.
      recipes: by name, see `recipe_name`; of those in NAMED every task has its own.
      rows: every trial on these tasks that has a curve.
      anchor: column of the recipe that the others are compared with.
      reference: the anchor's curve on each task.
      differences: log distance of each recipe minus the anchor's at equal operations on the same task; before what was
        seen as at its first fidelity, up to HELD fidelities after it what is left of its last (`lead_decay`); NaN
        beyond, and where it was not tried.
    """

    tasks: tuple[TaskRecord, ...]
    sources: tuple[str, ...]
    recipes: dict[str, Recipe]
    rows: tuple[Row, ...]
    anchor: int
    reference: Float[np.ndarray, "t g"]
    differences: Float[np.ndarray, "t r g"]

    @property
    def families(self) -> tuple[str, ...]:
        """Of each task."""
        return tuple(task.family for task in self.tasks)

    def family_weights(self) -> Float[np.ndarray, " t"]:
        """A weight for each task; those of a family share one, `bounded` by their sources, and all sum to 1."""
        families = self.families
        even = np.array([1 / families.count(family) / len(set(families)) for family in families], float)
        return self.bounded(even)

    def independent(self) -> int:
        """Families, which speak for themselves; those that only imports know do not, where there are others."""
        known = zip(self.families, self.sources, strict=True)
        return len({family for family, source in known if source == HERE} or {*self.families})

    def bounded(self, weights: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """Weights of the tasks in which imports do not outweigh what was seen here; they keep their sum.

        An import may say anything. So all of them together weigh IMPORTED of what the others do at most; where there
        are no others they are all there is.
        """
        imported = np.array([source != HERE for source in self.sources], bool)
        theirs, own = weights[imported].sum(), weights[~imported].sum()
        if not own or theirs <= IMPORTED * own:
            return weights
        limited = np.where(imported, weights * IMPORTED * own / theirs, weights)
        return limited * weights.sum() / limited.sum()


def compare(tasks: Sequence[TaskRecord], trials: Iterable[Trial]) -> ComparedTrials:
    """Puts the trials on these tasks side by side.

    Trials that were judged in another way than runs now are do not compare, and are left out. A failed trial counts,
    from the fidelity where it failed to the end of its budget, as the worst that ended on its task. The anchor is the
    recipe that was tried on most tasks (the default, else the one made by hand, where they are among those); tasks
    without it are left out.
    """
    by_id = {task.id: task for task in tasks}
    names: dict[str, Recipe] = {}
    found: list[_Found] = []
    for trial in trials:
        if trial.task in by_id and trial.comparable:
            task, source = by_id[trial.task], HERE if trial.source == SHIPPED else trial.source
            name = recipe_name(task, trial.recipe)
            names.setdefault(name, trial.recipe)
            found.append(_Found((task.id, source), name, trial, on_grid(task.shape, trial.curve)))
    names = {name: names[name] for name in sorted(names, key=lambda name: (name != DEFAULT, name != HANDMADE, name))}
    columns = {name: column for column, name in enumerate(names)}
    places = [(task.id, HERE) for task in tasks]
    places += sorted({each.place for each in found} - {*places})
    order = {place: index for index, place in enumerate(places)}
    rows = [Row(order[place], columns[name], curve) for place, name, curve in _with_failures(by_id, found)]
    rows = [row for row in rows if not np.isnan(row.curve).all()]

    # The anchor is tried on most tasks here; where nothing was tried here, on most tasks of all.
    tried = {(row.task, row.column) for row in rows}
    here = [column for task, column in tried if places[task][1] == HERE]
    counts = np.bincount(here or [column for _, column in tried], minlength=len(names))
    anchor = int(np.argmax(counts)) if names else 0
    kept = [index for index in range(len(places)) if (index, anchor) in tried]
    rows = tuple(row._replace(task=kept.index(row.task)) for row in rows if row.task in kept)
    sources = tuple(places[index][1] for index in kept)

    groups: dict[tuple[int, int], list[Curve]] = {}
    for row in rows:
        groups.setdefault((row.task, row.column), []).append(row.curve)
    means = np.full((len(kept), len(names), len(FIDELITIES)), np.nan)
    for (task, column), curves in groups.items():
        means[task, column] = mean_curve(np.stack(curves), np.ones(len(curves)))
    reference = means[:, anchor] if names else means.reshape(0, len(FIDELITIES))
    differences = means - reference[:, None]
    # No import may claim more than the most that was ever seen here, of any recipe.
    own = np.array(sources, object) == HERE
    if differences[own].size and not np.isnan(differences[own]).all():
        most = np.clip(differences, np.nanmin(differences[own]), np.nanmax(differences[own]))
        differences = np.where(own[:, None, None], differences, most)
    differences = fill_forward(differences, HELD, lead_decay(differences))
    kept_tasks = tuple(by_id[places[index][0]] for index in kept)
    return ComparedTrials(kept_tasks, sources, names, rows, anchor, reference, differences)


def recipe_name(task: TaskRecord, recipe: Recipe, images: float = 1.0) -> str:
    """HANDMADE or DEFAULT for what that is on this task, for a short budget or `images` of the reference recipe; or a
    hash.

    For budgets where the two are one, HANDMADE: what is known of it is known from the same budgets.
    """
    tried = _tried(recipe)
    for name, named in NAMED.items():
        if any(tried == _tried(named(task, budget)) for budget in (1.0, images)):
            return name
    return _hash(tried)


_hash = lru_cache(maxsize=4096)(Recipe.hash)  # of thousands of trials there are few recipes


@lru_cache(maxsize=4096)
def _tried(recipe: Recipe) -> Recipe:
    """The recipe with the one average that a trial evaluates: others are only compared at the end of a run."""
    return dataclasses.replace(recipe, averages=recipe.averages[:1])


def default_for(task: TaskRecord, images: float) -> Recipe:
    """The default recipe for a task and a budget in reference images."""
    if is_large(task.shape):  # its width follows from the operations that there are
        seconds = reference_flops(task.shape, math.ceil(images)) / NOMINAL_FLOPS[jax.default_backend()]
        return _made(default_recipe, task.shape, task.counts["train"], Budget(None, seconds))
    return _made(default_recipe, task.shape, task.counts["train"], Budget(math.ceil(images), None))


def handmade_for(task: TaskRecord, images: float) -> Recipe:
    """The recipe made by hand for a task and a budget in reference images."""
    return _made(handmade_recipe, task.shape, task.counts["train"], Budget(math.ceil(images), None))


@lru_cache(maxsize=4096)
def _made(make: Callable[..., Recipe], shape: ImageShape, train: int, budget: Budget) -> Recipe:
    return make(shape, train, budget)


NAMED = {HANDMADE: handmade_for, DEFAULT: default_for}  # each of a task and a budget in reference images


class _Found(NamedTuple):
    """A trial with its curve, before tasks and recipes have numbers."""

    place: tuple[str, str]  # id of its task, and its source
    name: str
    trial: Trial
    curve: Curve


def _with_failures(by_id: dict[str, TaskRecord], found: list[_Found]) -> Iterator[tuple[tuple[str, str], str, Curve]]:
    """Places, names and curves; those of failed trials go on as the worst that ended on their task."""
    worst: dict[tuple[str, str], Curve] = {}
    for each in found:
        if each.trial.status != FAILED:
            worst[each.place] = np.fmax(worst.get(each.place, -np.inf), each.curve)
    for each in found:
        curve = each.curve
        if each.trial.status == FAILED and each.place in worst:
            end = fidelity_of(by_id[each.place[0]].shape, each.trial.budget) + PAST_END
            last = FIDELITIES[~np.isnan(curve)].max(initial=-np.inf)
            after = np.clip(FIDELITIES, last, end) == FIDELITIES
            missing = np.isnan(curve) & after & np.isfinite(worst[each.place])
            curve = np.where(missing, worst[each.place], curve)
        yield each.place, each.name, curve
