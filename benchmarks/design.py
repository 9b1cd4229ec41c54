"""The recipes that the shipped experience was made of, in the order in which they are tried.

A probe on three tasks came first (`docs/log.md`, 2026-11-25): at short budgets small batches, narrow networks, high
rates and weak penalties each save compute, and together more. So the rows are those, one step around them, and what
they must be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mulligan.meta.curriculum import JUDGED
from mulligan.meta.default import handmade_recipe, textbook_recipe
from mulligan.meta.space import Space
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget

QUARTER, SHORT, LONG = 8_000, 32_000, 128_000  # images of the yardstick
FEW = 5  # tasks of each worker that the longer trials are of


class Row(NamedTuple):
    """One recipe, for so many images of the yardstick, on the first so many tasks of each worker."""

    recipe: Callable[[Task], Recipe]
    images: int
    tasks: int = 10**6
    seed: int = 0


def by_hand(task: Task) -> Recipe:
    """The recipe made by hand, which augments where there are few images."""
    return replace(handmade_recipe(task.shape, len(task.train), Budget(SHORT, None)), averages=JUDGED)


BASE = replace(handmade_recipe((16, 16, 1), 10_000, Budget(SHORT, None)), averages=JUDGED)


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
        yield Row(made, SHORT, FEW)
    yield Row(lambda task: step(SMALL, **COSINE), SHORT, FEW)
    for recipe in LATER:
        yield Row(lambda task, recipe=recipe: recipe, QUARTER)
    for made in (lambda task: SMALL, by_hand):
        yield Row(made, LONG, 1)


EARLY = (
    TINY,
    step(SMALL, gamma=0.1),
    step(SMALL, lr=2e-3),
    step(SMALL, lr=8e-3),
    step(SMALL, gamma=2.0),
    step(BASE, batch=16, lr=4e-3, gamma=0.5),
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
