"""The default recipe by size and budget, and the one that begins with learned weights."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.meta.space.default import HANDFUL, default_recipe, pretrained_recipe
from mulligan.networks.architecture import check
from mulligan.networks.pretrained import load_pretrained
from mulligan.recipe import Recipe
from mulligan.training.budget import Budget

MINUTE = Budget(None, 60.0)
SIDES = st.integers(17, 256)
FEW = settings(max_examples=20)


@pytest.fixture(autouse=True, scope="module")
def a_processor():
    """Budgets of time are of a processor's speed, whatever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mulligan.meta.space.prices.NOMINAL_FLOPS", dict.fromkeys(("cpu", "gpu", "tpu"), 4e10))
        yield


def width(side: int, budget: Budget) -> int:
    return default_recipe((side, side, 3), 5_000, budget).architecture.gen_width


@pytest.mark.slow
@FEW
@given(SIDES, SIDES, st.floats(1.0, 1e6))
def test_every_size_and_budget_has_a_recipe_that_can_be_trained(height, wide, seconds):
    recipe = default_recipe((height, wide, 3), 5_000, Budget(None, seconds))
    check(recipe.architecture, (height, wide, 3), 0)
    assert Recipe.from_json(recipe.to_json()) == recipe


@FEW
@given(SIDES, st.floats(1.0, 1e5), st.floats(1.0, 100.0))
def test_networks_widen_with_the_budget(side, seconds, longer):
    assert width(side, Budget(None, seconds)) <= width(side, Budget(None, seconds * longer))


@FEW
@given(st.sampled_from([20, 32, 40, 64, 100]), st.floats(1.0, 1e5))
def test_networks_narrow_with_the_pixels(side, seconds):
    assert width(side, Budget(None, seconds)) >= width(2 * side, Budget(None, seconds))


def test_widths_and_rates_are_those_that_did_best_at_sixty_and_126_seconds_of_a_core():
    """Two cores train 1.3 times as fast as one."""
    assert width(32, Budget(None, 46.0)) == 16
    assert width(64, Budget(None, 97.0)) == 8
    small, large = (default_recipe((side, side, 3), 5_000, MINUTE).hyperparameters for side in (32, 64))
    assert small.gen_lr == pytest.approx(2e-3)
    assert 1e-3 < large.gen_lr < 2e-3


def test_a_budget_in_images_says_how_wide_networks_can_be_whatever_they_cost():
    assert width(32, Budget(70_000, None)) == width(128, Budget(70_000, None)) == 16


@FEW
@given(st.integers(1, 10**8))
def test_a_batch_is_as_large_as_leaves_steps_enough(images):
    batch = default_recipe((32, 32, 3), 5_000, Budget(images, None)).batch
    assert 8 <= batch <= 64
    assert batch == 8 or images / batch > 2_800
    assert batch == 64 or images / batch <= 8_500


def test_a_short_run_on_large_images_has_small_batches():
    batches = [default_recipe((64, 64, 3), 5_000, Budget(images, None)).batch for images in (20_000, 43_000, 70_000)]
    assert batches == [8, 8, 16]


@pytest.mark.parametrize(
    ("shape", "resampling"), [((32, 32, 3), "strided"), ((64, 64, 3), "folded"), ((20, 64, 1), "folded")]
)
def test_large_images_are_resized_without_dots(shape, resampling):
    architecture = default_recipe(shape, 5_000, MINUTE).architecture
    assert architecture.resampling == resampling
    check(architecture, shape, 0)


def test_few_images_are_augmented():
    assert default_recipe((32, 32, 3), 500, MINUTE).augmentation
    assert not default_recipe((32, 32, 3), 50_000, MINUTE).augmentation


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (17, 30, 4), (64, 64, 3), (40, 60, 1)])
def test_few_images_of_17_to_64_pixels_begin_with_weights_of_the_recipes_architecture(shape):
    recipe = pretrained_recipe(shape, 50, MINUTE)
    assert recipe is not None
    check(recipe.architecture, shape, 0)
    load_pretrained(recipe.init, recipe.architecture, shape)  # raises where there are none
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert pretrained_recipe(shape, HANDFUL, MINUTE) is None


@pytest.mark.parametrize("shape", [(16, 16, 1), (65, 65, 3), (20, 64, 3), (128, 128, 3)])
def test_smaller_larger_and_oblong_images_begin_afresh(shape):
    assert pretrained_recipe(shape, 50, MINUTE) is None


def test_runs_from_learned_weights_have_steps_enough():
    recipes = [pretrained_recipe((64, 64, 3), 50, Budget(images, None)) for images in (20_000, 100_000, 10**6)]
    assert [recipe.batch for recipe in recipes if recipe] == [8, 16, 64]
