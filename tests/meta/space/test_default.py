"""The recipe that begins with learned weights: for which images it exists, and that it can be trained."""

import pytest

from mulligan.meta.space.default import pretrained_recipe
from mulligan.networks.architecture import check
from mulligan.networks.pretrained import load_pretrained
from mulligan.recipe import Recipe
from mulligan.training.budget import Budget

MINUTE = Budget(None, 60.0)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (17, 30, 4), (64, 64, 3), (40, 60, 1)])
def test_images_of_17_to_64_pixels_begin_with_weights_of_the_recipes_architecture(shape):
    recipe = pretrained_recipe(shape, 500, MINUTE)
    assert recipe is not None
    check(recipe.architecture, shape, 0)
    load_pretrained(recipe.init, recipe.architecture, shape)  # raises where there are none
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("shape", [(16, 16, 1), (65, 65, 3), (20, 64, 3), (128, 128, 3)])
def test_smaller_larger_and_oblong_images_begin_afresh(shape):
    assert pretrained_recipe(shape, 500, MINUTE) is None


def test_long_budgets_take_wider_networks():
    short, long = (pretrained_recipe((64, 64, 3), 5_000, Budget(None, seconds)) for seconds in (600.0, 3600.0))
    assert short is not None
    assert long is not None
    assert short.architecture.gen_width < long.architecture.gen_width


def test_few_images_are_augmented():
    few, many = (pretrained_recipe((32, 32, 3), images, MINUTE) for images in (100, 50_000))
    assert few is not None
    assert many is not None
    assert few.augmentation
    assert not many.augmentation
