"""The recipes that the shipped experience was made of, in the order in which they are tried.

A probe on three tasks came first (`docs/log/2026-11-25-recipes-for-short-budgets.md`): at short budgets small batches,
narrow networks, high rates and weak penalties each save compute, and together more. So the rows are those, one step
around them, and what they must be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mulligan.meta.collect.proposals import TRIAL_AVERAGES, limits
from mulligan.meta.space.cost import refusal
from mulligan.meta.space.default import handmade_recipe, textbook_recipe
from mulligan.meta.space.space import Space
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget

QUARTER, SHORT, LONG = 8_000, 32_000, 128_000  # images of the yardstick
FEW = 5  # tasks of each worker that second seeds of longer trials are of
MUTATIONS = 20  # recipes drawn around the best, besides those that are written down


class Row(NamedTuple):
    """One recipe, for so many images of the yardstick, on the first so many tasks of each worker."""

    recipe: Callable[[Task], Recipe]
    images: int
    tasks: int = 10**6
    seed: int = 0


def by_hand(task: Task) -> Recipe:
    """The recipe made by hand, which augments where there are few images."""
    return replace(handmade_recipe(task.shape, len(task.train), Budget(SHORT, None)), averages=TRIAL_AVERAGES)


BASE = replace(handmade_recipe((16, 16, 1), 10_000, Budget(SHORT, None)), averages=TRIAL_AVERAGES)


def step(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with these choices of the space changed; `lr` and `beta2` are both players'."""
    for name in ("lr", "beta1", "beta2", "width"):
        if name in changes:
            value = changes.pop(name)
            changes |= {f"gen_{name}": value, f"disc_{name}": value}
    return Space().recipe({**Space().values(recipe), **changes}, like=recipe)


SMALL = step(BASE, batch=16, width=8, lr=4e-3, gamma=0.5)
TINY = step(SMALL, batch=8, lr=6e-3)
COSINE = {"gen_lr_form": "cosine", "gen_lr_final": 0.1, "gen_lr_over": 1e5}
COSINE |= {name.replace("gen", "disc"): value for name, value in COSINE.items()}


def rows() -> Iterator[Row]:
    """What is tried, in this order."""
    for made in (lambda task: SMALL, by_hand, lambda task: textbook_recipe()):
        yield Row(made, QUARTER)
    for recipe in EARLY:
        yield Row(lambda task, recipe=recipe: recipe, QUARTER)
    for made in (lambda task: SMALL, by_hand, lambda task: TINY, lambda task: textbook_recipe()):
        yield Row(made, SHORT)
    for recipe in LONGER:
        yield Row(lambda task, recipe=recipe: recipe, SHORT)
    for recipe in LATER:
        yield Row(lambda task, recipe=recipe: recipe, QUARTER)
    for made in (lambda task: SMALL, by_hand, lambda task: TINY, lambda task: textbook_recipe()):
        yield Row(made, QUARTER, seed=1)
    for made in (lambda task: SMALL, by_hand):
        yield Row(made, SHORT, FEW, seed=1)
        yield Row(made, LONG, 1)
    for recipe in mutations():
        yield Row(lambda task, recipe=recipe: recipe, QUARTER)


def mutations() -> Iterator[Recipe]:
    """Recipes around SMALL and TINY that nobody thought of: one to four choices each are drawn anew."""
    space, rng, seen = Space(), np.random.default_rng(0), {SMALL, TINY}
    while len(seen) < MUTATIONS + 2:
        recipe = (SMALL, TINY)[int(rng.integers(2))]
        for _ in range(min(int(rng.geometric(0.5)), 4)):
            recipe = space.mutate(recipe, rng)
        if recipe not in seen and refusal(recipe, (16, 16, 1), 0, limits(QUARTER)) is None:
            seen.add(recipe)
            yield recipe


EARLY = (
    TINY,
    step(SMALL, gamma=0.1),
    step(SMALL, lr=2e-3),
    step(SMALL, lr=8e-3),
    step(SMALL, gamma=2.0),
    step(BASE, batch=16, lr=4e-3, gamma=0.5),
)
LONGER = (
    step(SMALL, **COSINE),
    step(SMALL, gamma=0.1),
    step(SMALL, gen_width=16),
    step(SMALL, width=12),
    step(SMALL, width=12, **COSINE),
)
LATER = (
    step(SMALL, beta2=0.9),
    step(TINY, lr=4e-3),
    step(TINY, lr=2e-3, gamma=2.0),
    step(BASE, batch=16),
    step(SMALL, gen_width=16),
    step(SMALL, loss="nonsaturating"),
    step(BASE, batch=32),
    step(BASE, lr=4e-3),
    step(SMALL, width=12),
    step(BASE, gamma=0.5),
    step(SMALL, penalty_every=4),
    step(BASE, batch=16, lr=1e-3),
)
