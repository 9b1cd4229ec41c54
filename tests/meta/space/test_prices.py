"""What a recipe costs is foreseen from what was measured here, and from a nominal speed before anything was."""

import pytest

from mulligan.meta.space import prices
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.default import default_recipe
from mulligan.meta.space.prices import FILE, GROWTH, NOMINAL_FLOPS, measure, measurements, price
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training.budget import Budget

SHAPE = (32, 32, 3)
STUDY = {
    (8, 64): 69_300 / 126,
    (16, 64): 23_940 / 126,
    (8, 32): 174_000 / 60,
}  # width and side: images a second of a core


def of_width(width: int) -> Recipe:
    return Recipe(Architecture(gen_width=width, disc_width=width))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(prices, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(prices, "NOMINAL_FLOPS", dict.fromkeys(NOMINAL_FLOPS, 4e10))
    return tmp_path


def test_nothing_measured_is_the_nominal_speed():
    found = price(of_width(8), SHAPE)
    assert found.images_per_second == pytest.approx(4e10 / footprint(of_width(8), SHAPE).flops_per_image)
    assert not found.measured


def test_what_was_measured_is_told_whatever_the_rates():
    measure(of_width(8), SHAPE, 0, nimg=10_000, training_seconds=10.0, compile_seconds=7.0)
    other = Recipe(Architecture(gen_width=8, disc_width=8), hyperparameters=Hyperparameters(gen_lr=1e-4), batch=16)
    assert price(other, SHAPE) == (7.0, 1_000.0, True)


def test_a_busy_machine_does_not_make_it_slower():
    for seconds in (20.0, 10.0, 30.0):
        measure(of_width(8), SHAPE, 0, nimg=10_000, training_seconds=seconds, compile_seconds=seconds)
    assert price(of_width(8), SHAPE) == (30.0, 1_000.0, True)


def test_a_network_that_was_measured_on_a_busy_machine_is_tried_again():
    measure(of_width(16), SHAPE, 0, nimg=1_000, training_seconds=10.0, compile_seconds=7.0)
    measure(of_width(8), SHAPE, 0, nimg=30_000, training_seconds=10.0, compile_seconds=6.0)
    narrow, wide = (footprint(of_width(width), SHAPE).flops_per_image for width in (8, 16))
    assert price(of_width(16), SHAPE) == (7.0, pytest.approx(3_000.0 * narrow / wide), True)
    assert price(of_width(8), SHAPE) == (6.0, 3_000.0, True)


def test_others_do_somewhat_more_operations_a_second_than_the_nearest_if_they_are_wider():
    measure(of_width(8), SHAPE, 0, nimg=10_000, training_seconds=10.0, compile_seconds=7.0)
    measure(of_width(64), SHAPE, 0, nimg=100, training_seconds=10.0, compile_seconds=9.0)
    for width, nearest, images_per_second in ((12, 8, 1_000.0), (48, 64, 10.0)):
        found = price(of_width(width), SHAPE)
        wider = footprint(of_width(width), SHAPE).flops_per_image / footprint(of_width(nearest), SHAPE).flops_per_image
        assert found.images_per_second == pytest.approx(images_per_second * wider ** (GROWTH - 1))
        assert not found.measured


def test_a_narrow_run_does_not_make_the_next_one_narrow():
    """On an idle core width 8 was measured at 2,879 images a second, where width 16 makes 1,200 and more."""
    measure(of_width(8), SHAPE, 0, nimg=28_790, training_seconds=10.0, compile_seconds=9.0)
    assert 1_000 < price(of_width(16), SHAPE).images_per_second < 1_400
    assert default_recipe(SHAPE, 5_000, Budget(None, 46.0)).architecture.gen_width == 16


def test_tiny_images_tell_nothing_of_large_ones():
    """Steps of the demo's 8x8 digits are mostly overhead: two hundred times fewer operations a second."""
    measure(of_width(16), (8, 8, 1), 0, nimg=120_000, training_seconds=60.0, compile_seconds=7.0)
    assert price(of_width(16), SHAPE).images_per_second == pytest.approx(
        4e10 / footprint(of_width(16), SHAPE).flops_per_image
    )
    seconds = Budget(None, 60.0)
    assert default_recipe(SHAPE, 5_000, seconds).architecture.gen_width == 16


def test_another_device_tells_nothing_of_this_one(monkeypatch):
    measure(of_width(8), SHAPE, 0, nimg=10_000, training_seconds=10.0, compile_seconds=7.0)
    monkeypatch.setattr(prices, "device_name", lambda: "another")
    assert not price(of_width(8), SHAPE).measured


def test_short_runs_tell_no_speed_and_old_ones_are_forgotten(monkeypatch):
    monkeypatch.setattr(prices, "KEPT", 5)
    measure(of_width(8), SHAPE, 0, nimg=100, training_seconds=1.0, compile_seconds=7.0)
    assert not measurements()
    for nimg in range(8):
        measure(of_width(8), SHAPE, 0, nimg=10_000 + nimg, training_seconds=10.0, compile_seconds=7.0)
    assert len(measurements()) == 5
    assert measurements()[-1].images_per_second == pytest.approx(10_007 / 10)


def test_a_damaged_file_is_no_file(cache):
    (cache / FILE).write_text('[{"device": 3}]')
    assert measurements() == []


@pytest.mark.parametrize(
    ("side", "seconds", "cores"), [(32, 60.0, 1.0), (64, 126.0, 1.0), (32, 46.0, 1.3), (64, 97.0, 1.3)]
)
def test_on_the_machine_of_the_study_the_choice_is_the_studys(side, seconds, cores):
    """docs/log/2026-11-27-width-by-budget.md: two cores train 1.3 times as fast as one."""
    shape = (side, side, 3)
    nominal = default_recipe(shape, 5_000, Budget(None, seconds))
    for (width, measured_side), speed in STUDY.items():
        measure(of_width(width), (measured_side, measured_side, 3), 0, int(cores * speed * 100), 100.0, 10.0)
    assert default_recipe(shape, 5_000, Budget(None, seconds)).architecture == nominal.architecture


def test_a_budget_of_images_does_not_depend_on_the_machine():
    before = default_recipe(SHAPE, 5_000, Budget(70_000, None))
    measure(of_width(8), SHAPE, 0, nimg=1_000_000, training_seconds=10.0, compile_seconds=7.0)
    assert default_recipe(SHAPE, 5_000, Budget(70_000, None)) == before
