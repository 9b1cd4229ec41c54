"""Recipes with a name: the default, the one made by hand before anything was learned, and the textbook's."""

from __future__ import annotations

import math
from dataclasses import replace

from mulligan.meta.space.prices import price
from mulligan.networks.growing import smaller
from mulligan.networks.pretrained import architectures
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe
from mulligan.training.budget import Budget

FEW_IMAGES = 2000  # below this the discriminator learns the images by heart unless they are augmented
SHORT_SECONDS, SHORT_IMAGES = 180.0, 300_000  # at 28x28: budgets below which a narrow, fast network gets further
HANDFUL = 200  # images below which brief runs augment, and runs begin with learned weights: these copy less
INIT = "families-1"  # of networks.pretrained.FILES
MOST_OBLONG = 2  # times as long as wide, up to which images begin with weights that were learned on square ones
# Both rates rise over a tenth of the run, and fall to a fiftieth at its end.
DECAY = tuple((name, Form(kind="cosine", final=0.02, warmup=0.1)) for name in ("disc_lr", "gen_lr"))
BRIEF = (
    64_000 / SHORT_IMAGES
)  # of those, below which what was learned beats what was made by hand (docs/log/2026-11-25-table-brief-recipes.md)
SMALL_SIDE = 16  # pixels of the shorter side, up to which trials at 16x16 speak

# The law of sizes: what does best where a budget, a size and a width meet (docs/log/2026-11-27-width-by-budget.md; of
# batches docs/log/2026-11-28-small-batches.md and docs/log/2026-11-29-more-steps.md).
WIDTHS = (8, 16, 32, 64)
ENOUGH, ENOUGH_POWER = 50_000, 1.3  # images that width 16 wants to see, and how that grows with the width
ENOUGH_LEARNED = 30_000  # that it wants from learned weights (docs/log/2026-11-30-wider-from-learned-weights.md)
FEWEST = ENOUGH * (WIDTHS[0] / 16) ** ENOUGH_POWER  # images that the narrowest want, below which none draws shapes
FEWEST_SIDE = 64  # beyond which that grows with the side (docs/log/2026-11-28-short-budgets-for-large-images.md)
RATE, RATE_POWER = 2e-3, 0.75  # at 32x32, and how it falls with the side
GAMMA = 2.0
DOTLESS_SIDE = 32  # up to which strides leave no dots in brief runs (docs/log/2026-11-28-folded-resizing.md)
# Batches, and the images up to which a run wants them; longer runs take the largest. That is 2,800 to 8,500 steps.
BATCHES, LARGEST = {8: 45_000, 16: 136_000, 32: 181_000}, 64


def default_recipe(shape: tuple[int, int, int], images: int, budget: Budget, enough: float = ENOUGH) -> Recipe:
    """The recipe for `images` training images of this shape where nothing is known of the task.

    Up to 16x16 the one that trials chose, for brief budgets: the narrowest networks, small batches, high rates and a
    weak penalty; for longer ones, where it was hardly tried and fell behind on one task of two, the one made by hand.
    Larger images follow the law of sizes.

    Args:
      enough: images that networks of width 16 want to see.
    """
    by_hand, handful = handmade_recipe(shape, images, budget), images < HANDFUL
    if is_large(shape):
        return _by_law(shape, budget, by_hand, enough)
    if _length(shape, budget) >= BRIEF:
        return by_hand
    return replace(
        by_hand,
        architecture=Architecture(gen_width=8, disc_width=8),
        batch=16,
        hyperparameters=Hyperparameters(gen_lr=4e-3, disc_lr=4e-3, gamma=0.5, augment=0.3 if handful else 0.0),
        augmentation=by_hand.augmentation if handful else (),
    )


def fewest_images(shape: tuple[int, int, int]) -> float:
    """Images to train on, below which no networks draw shapes of this size.

    Example:
      >>> [round(fewest_images((side, side, 3)), -3) for side in (32, 64, 128)]
      [20000.0, 20000.0, 41000.0]
    """
    return FEWEST * max(1.0, math.sqrt(shape[0] * shape[1]) / FEWEST_SIDE)


def is_large(shape: tuple[int, int, int]) -> bool:
    """Whether the law of sizes speaks for images of this shape, and not trials at 16x16."""
    return min(shape[:2]) > SMALL_SIDE


def _by_law(shape: tuple[int, int, int], budget: Budget, otherwise: Recipe, enough: float) -> Recipe:
    """The widest networks that see enough images in the budget, in batches so small that the steps are enough.

    Rates rise over a tenth of the run, since Adam's first steps move every weight by the whole rate, then follow half a
    cosine; they fall with the side of the images.
    """

    recipe, nimg = otherwise, 0.0
    for width in WIDTHS:
        wider = replace(otherwise, architecture=replace(_resizing(shape), gen_width=width, disc_width=width))
        seen = _seen(wider, shape, budget)
        if width == WIDTHS[0] or seen >= enough * (width / 16) ** ENOUGH_POWER:
            recipe, nimg = wider, seen
    rate = RATE * (32 / math.sqrt(shape[0] * shape[1])) ** RATE_POWER
    return replace(
        recipe,
        batch=_batch(nimg),
        hyperparameters=recipe.hyperparameters._replace(gen_lr=rate, disc_lr=rate, gamma=GAMMA),
        schedules=DECAY,
    )


def half_sized(recipe: Recipe, shape: tuple[int, int, int]) -> Recipe:
    """By what the networks for images of half the size train that those of a recipe can grow from: its rates are higher
    as the law of sizes has it.

    Args:
      shape: of the large images.

    Raises:
      MulliganError: its networks cannot be grown.
    """
    numbers, faster = recipe.hyperparameters, 2**RATE_POWER
    return replace(
        recipe,
        architecture=smaller(recipe.architecture, shape),
        hyperparameters=numbers._replace(gen_lr=faster * numbers.gen_lr, disc_lr=faster * numbers.disc_lr),
    )


def _resizing(shape: tuple[int, int, int]) -> Architecture:
    """Large images are resized within the kernels: by strides they keep dots for as long as brief runs last."""
    if math.sqrt(shape[0] * shape[1]) > DOTLESS_SIDE:
        return Architecture(resampling="folded", kernel=3)
    return Architecture()


def _seen(recipe: Recipe, shape: tuple[int, int, int], budget: Budget) -> float:
    """Images that the recipe trains on within the budget."""
    if budget.seconds is None:
        return float(budget.images or 0)
    return budget.seconds * price(recipe, shape).images_per_second


def _batch(nimg: float) -> int:
    """So small that there are steps enough (docs/log/2026-11-29-more-steps.md).

    Example:
      >>> [_batch(nimg) for nimg in (20_000, 72_000, 120_000, 1e6)]
      [8, 16, 16, 64]
    """
    return next((batch for batch, most in BATCHES.items() if nimg <= most), LARGEST)


def _length(shape: tuple[int, int, int], budget: Budget) -> float:
    """A budget over a short one: a step's cost grows with the pixels."""
    if budget.seconds is None:
        return (budget.images or 0) / SHORT_IMAGES
    return budget.seconds / (shape[0] * shape[1] / 28**2) / SHORT_SECONDS


def pretrained_recipe(shape: tuple[int, int, int], images: int, budget: Budget) -> Recipe | None:
    """The recipe that begins with weights learned on many families; None where there are none for images of this
    shape, or where there are images enough for fresh weights.

    Rates and penalties are those that did best on families which had trained neither the weights nor the judge
    (docs/log/2026-11-27-learned-weights-whole-runs.md): lower than from fresh weights, with a short warm-up, and down
    to almost nothing over the whole budget.
    """
    offered = architectures(INIT, shape)
    if images >= HANDFUL or not offered or max(shape[:2]) > MOST_OBLONG * min(shape[:2]):
        return None
    large = min(shape[:2]) > 32
    recipe = Recipe(
        architecture=offered[0],
        init=INIT,
        hyperparameters=Hyperparameters(gen_lr=1e-3, disc_lr=1e-3, gamma=0.5 if large else 2.0, augment=0.3),
        schedules=DECAY,
        augmentation=("translate",),
        averages=("ema", "power_05", "power_10"),
    )
    return replace(recipe, batch=_batch(_seen(recipe, shape, budget)))


def handmade_recipe(shape: tuple[int, int, int], images: int, budget: Budget) -> Recipe:
    """What was chosen by hand before anything was learned: relativistic loss with R1 and R2, no normalisation.

    A yardstick: it never changes.
    """
    few = images < FEW_IMAGES
    short = _length(shape, budget) < 1
    width = 16 if short else 32
    return Recipe(
        architecture=Architecture(gen_width=width, disc_width=width),
        hyperparameters=Hyperparameters(
            gen_lr=2e-3, disc_lr=2e-3, gamma=2.0 if short else 1.0, augment=0.3 if few else 0.0
        ),
        augmentation=("translate",) if few else (),
        averages=("ema", "power_05", "power_10"),
    )


def textbook_recipe() -> Recipe:
    """DCGAN as most copies of it train: Adam at 2e-4 with beta1 0.5, non-saturating, no penalty, the last iterate.

    Radford et al. 2016, arXiv 1511.06434, with groups in place of batches in the normalisation: the reference recipe
    that anything learned must beat by far.
    """
    return Recipe(
        architecture=Architecture(
            gen_width=64, disc_width=64, latent=100, gen_normalisation="group", disc_normalisation="group"
        ),
        loss="nonsaturating",
        penalty="none",
        averages=(),
        hyperparameters=Hyperparameters(
            gen_lr=2e-4, disc_lr=2e-4, gen_beta1=0.5, disc_beta1=0.5, gen_beta2=0.999, disc_beta2=0.999
        ),
    )
