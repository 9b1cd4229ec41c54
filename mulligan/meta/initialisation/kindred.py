"""Pretrained weights that whole runs begin with: of a kind that draws images near a task's, or those that help all.

Weights that one kind of images taught help images of that kind, and no others
(docs/log/2026-11-29-starts-of-one-kind.md, docs/log/2026-11-29-kinds-at-32px-and-photographs.md,
docs/log/2026-11-29-clip-art.md). So there is a choice to make, and it is made by distance. Weights that objects drawn
at random taught help images that are near nothing, too (docs/log/2026-11-30-drawn-at-random.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from mulligan.meta.initialisation.from_run import SAMPLES
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.energy import energy_distance
from mulligan.metrics.pixels import beside_pixels
from mulligan.networks.architecture import Networks
from mulligan.networks.layers import ImageShape
from mulligan.networks.pretrained import architectures, initial_networks, load_initial
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.engine import Sampler
from mulligan.types import Key, Pytree

# Of networks.pretrained.FILES: ink, chalk, what is bright on black, and photographs; and what helps all images.
PHOTOGRAPHS, COMMON = "photographs-1", "things-1"
KINDS = ("drawings-1", "drawings-1-negative", "clipart-1-negative", PHOTOGRAPHS)


class Compared(NamedTuple):
    """Where runs that begin with learned weights were compared with fresh ones, and are no further from reality.

    Attributes:
      batches: of the recipe. They grow with the run, and its beginning is forgotten.
      images: to train on, at least.
    """

    batches: tuple[int, ...]
    images: int

    def speaks(self, task: Task, recipe: Recipe) -> bool:
        return recipe.batch in self.batches and len(task.train) >= self.images


# Of the distance of what fresh weights draw, that images near a kind have less of. Where weights helped what they draw
# had 0.28 at most, where they harmed 0.43.
NEAR = 1 / 3
# By how networks resize, which differs with the size of the images, and their width. Of few images:
# docs/log/2026-11-30-few-images-of-a-kind.md. `COMMON` of width 16 in batches of 8: against fresh runs of width 8.
COMPARED_KINDS = {("folded", 8): Compared((8, 16, 32, 64), 10)}
COMPARED_COMMON = {
    ("folded", 8): Compared((8, 16), 200),
    ("folded", 16): Compared((8, 16), 200),
    ("strided", 16): Compared((16,), 200),
}


def learned_recipe(task: Task, recipe: Recipe, wider: Recipe) -> Recipe | None:
    """The recipe with learned weights, where it would begin afresh and they help.

    Those of the kind that draws the nearest images, if these are near: if they have less than so much of the distance
    from the training images that fresh weights have (`NEAR`). It is the energy distance by which runs select. Else
    `COMMON`, where those were compared: in the wider networks, if they are wider, and in these photographs that are
    near, too.

    Args:
      recipe: that would begin afresh. Weights are for networks like its own, but that they may begin with other maps.
      wider: for the networks that weights which help all make worth their while
        (`default_recipe(..., enough=ENOUGH_LEARNED)`).

    Returns:
      None where there are no weights for such networks, or nothing is known of runs like this.
    """
    compared = COMPARED_KINDS.get(_networks(recipe))
    kindred = _nearest(task, recipe) if compared and compared.speaks(task, recipe) else None
    if kindred and (kindred.init != PHOTOGRAPHS or wider.architecture == recipe.architecture):
        return kindred
    return _common(task, wider) or kindred or _common(task, recipe)


def _networks(recipe: Recipe) -> tuple[str, int]:
    return recipe.architecture.resampling, recipe.architecture.gen_width


def _common(task: Task, recipe: Recipe) -> Recipe | None:
    """The recipe with weights that help all images, where they were compared in such networks."""
    compared = COMPARED_COMMON.get(_networks(recipe))
    return begun_with(COMMON, recipe, task.shape) if compared and compared.speaks(task, recipe) else None


def _nearest(task: Task, recipe: Recipe) -> Recipe | None:
    """The recipe with weights of the nearest kind; None where there are none, or none is near."""
    offered = [learned for init in KINDS if (learned := begun_with(init, recipe, task.shape))]
    if not offered:
        return None
    space = beside_pixels(load_embedding())
    real = space(task.train.sample(SAMPLES, seed=0))
    fresh, *distances = [energy_distance(real, space(drawn)).value for drawn in _drawn(task, (recipe, *offered))]
    nearest = int(np.argmin(distances))
    return offered[nearest] if distances[nearest] < NEAR * fresh else None


def begun_with(init: str, recipe: Recipe, shape: ImageShape) -> Recipe | None:
    """The recipe with learned weights in place of fresh ones; None where there are none for such networks.

    Args:
      init: of `networks.pretrained.FILES`.
      recipe: that would begin afresh. Networks like its own may begin with other maps.
      shape: of the images.
    """
    fitting = (
        replace(recipe, init=init, architecture=architecture)
        for architecture in architectures(init, shape)
        if architecture.like(recipe.architecture)
    )
    return next(fitting, None)


def _drawn(task: Task, recipes: Sequence[Recipe]) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
    """Images of the generators that recipes begin with."""
    classes = len(task.classes or ())

    @jax.jit  # one program for all
    def generators(key: Key, learned: Sequence[Networks | None]) -> list[Pytree]:
        begun = zip(recipes, learned, strict=True)
        return [initial_networks(each, task.shape, classes, key, weights).gen for each, weights in begun]

    learned = [load_initial(each, task.shape) for each in recipes]
    for recipe, gen in zip(recipes, generators(jax.random.key(0), learned), strict=True):
        sampler = Sampler.make(recipe.architecture, classes)
        yield sampler(gen, sampler.latents(SAMPLES, seed=0))
