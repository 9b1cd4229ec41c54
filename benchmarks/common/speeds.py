"""The images that studies give to a contender, and the recipe of the law of sizes for them: by one table of speeds.

`mulligan fit` goes by what it measured on the machine. A study goes by the table, so that neither what ran before it
nor what runs beside it changes a contender.
"""

from __future__ import annotations

from dataclasses import replace

from mulligan.meta.space.default import ENOUGH, default_recipe
from mulligan.networks.layers import ImageShape
from mulligan.recipe import Architecture, Recipe
from mulligan.training.budget import Budget

# Images a second of an idle core, by the side of the images and the width of networks that are resized by strides.
SPEED = {16: {32: 3200, 64: 800}, 32: {8: 2900, 16: 1200, 32: 400}, 64: {8: 550, 16: 190, 32: 65}}
COSTS = {"folded": 1.04, "filtered": 1.06}  # seconds of networks that are resized so, over those of strided ones


def images_in(seconds: float, side: int, architecture: Architecture) -> int:
    """Images that a core trains such networks on in so many seconds."""
    return int(seconds * SPEED[side][architecture.gen_width] / COSTS.get(architecture.resampling, 1.0))


def by_law(shape: ImageShape, count: int, seconds: float, enough: float = ENOUGH) -> Recipe:
    """What the law of sizes chooses for `count` images of this shape and so many seconds of a core, of the table's
    widths.

    Args:
      enough: images that networks of width 16 want to see.

    Example:
      >>> [by_law((64, 64, 3), 1000, seconds).architecture.gen_width for seconds in (60, 300)]
      [8, 16]
    """
    for width in sorted(SPEED[shape[0]], reverse=True):
        nimg = images_in(seconds, shape[0], Architecture(gen_width=width))
        recipe = default_recipe(shape, count, Budget(images=nimg, seconds=None), enough)
        if recipe.architecture.gen_width >= width:
            break
    return replace(recipe, architecture=replace(recipe.architecture, gen_width=width, disc_width=width))
