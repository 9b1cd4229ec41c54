"""The recipe that stands before anything is learned."""

from __future__ import annotations

from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training.budget import Budget

FEW_IMAGES = 2000  # below this the discriminator learns the images by heart unless they are augmented


def default_recipe(shape: tuple[int, int, int], images: int, budget: Budget) -> Recipe:
    """A recipe for `images` training images of this shape."""
    del shape, budget
    few = images < FEW_IMAGES
    return Recipe(
        architecture=Architecture(),
        hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3, gamma=0.5, augment=0.3 if few else 0.0),
        augmentation=("translate",) if few else (),
    )
