"""Compute in units that mean the same for images of all shapes: images of a reference recipe, and fidelities.

A fidelity (as in multi-fidelity optimisation) is an amount of compute on a logarithmic scale: 0 is what the reference
recipe takes for its first 1,000 images, and each step is a factor of the square root of 2, so that 10 is at 32,000.
Trials are evaluated at whole fidelities (rungs), and recipes are compared at equal ones.
"""

from __future__ import annotations

import math

from mulligan.meta.space.cost import Limits, footprint
from mulligan.networks.layers import ImageShape
from mulligan.recipe import Architecture, Hyperparameters, Recipe

REFERENCE_RECIPE = Recipe(  # never changes: all experience counts compute in images of it
    architecture=Architecture(gen_width=16, disc_width=16), hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3)
)
FIRST_RUNG = 1000  # reference images
RUNG_RATIO = 2**0.5  # of the compute of one rung to that of the rung before
MIN_IMAGES_SHARE = 1 / 16  # of a budget in reference images, that a recipe must be able to see
MAX_BYTES = 2**31  # of memory that a recipe may need


def reference_flops(shape: ImageShape, images: float) -> float:
    """Operations that the reference recipe takes for `images` images of this shape.

    Raises:
      MulliganError: images that no network can be made for, such as ones of a few pixels.
    """
    return footprint(REFERENCE_RECIPE, shape).flops_per_image * images


def fidelity_of(shape: ImageShape, flops: float) -> float:
    """Fidelity of so many operations on images of this shape.

    Example:
      >>> round(fidelity_of((28, 28, 1), reference_flops((28, 28, 1), 32_000)), 6)
      10.0
    """
    return math.log(max(flops, 1.0) / reference_flops(shape, FIRST_RUNG)) / math.log(RUNG_RATIO)


def flops_at(shape: ImageShape, fidelity: float) -> float:
    """Inverse of `fidelity_of`."""
    return reference_flops(shape, FIRST_RUNG) * RUNG_RATIO**fidelity


def rungs(images: int) -> list[float]:
    """When a trial of `images` reference images is evaluated, in reference images.

    Example:
      >>> [round(rung) for rung in rungs(4000)]
      [1000, 1414, 2000, 2828, 4000]
    """
    number = round(math.log(images / FIRST_RUNG) / math.log(RUNG_RATIO))
    return [images / RUNG_RATIO**back for back in range(max(number, 0), -1, -1)]


def limits_of(shape: ImageShape, flops: float) -> Limits:
    """What a recipe may need that is to be trained within a budget: enough images, and the memory there is."""
    images = flops / reference_flops(shape, 1)
    return Limits(flops, max(int(images * MIN_IMAGES_SHARE), 1), MAX_BYTES)
