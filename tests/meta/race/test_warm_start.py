"""What the experience says before a run: which trials it rests on, by the size of the images."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from made_up import judged

from mulligan.meta.experience import NONE, Experience
from mulligan.meta.predict.curves import default_for
from mulligan.meta.race.warm_start import BY_LAW, FEWEST_RECIPES, plan_race
from mulligan.meta.space.default import WIDTHS, default_recipe
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import TaskRecord
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import NOMINAL_FLOPS, Budget

BUDGET = Budget(32_000, None)


@pytest.fixture
def task():
    return read_task(np.random.default_rng(0).integers(0, 256, (300, 20, 20, 1), np.uint8))


@pytest.fixture(autouse=True)
def nothing_ships(monkeypatch):
    monkeypatch.setattr("mulligan.meta.store.exchange.shipped_file", lambda: None)


def remembered(place: str, side: int, number: int, better: Recipe) -> str:
    """An experience of two families of such images: one recipe is far better than `number - 1` others."""
    experience, shape = Experience(place), (side, side, 1)
    numbers = better.hyperparameters
    others = [replace(better, hyperparameters=numbers._replace(gen_lr=1e-5 * (k + 1))) for k in range(number - 1)]
    for name in ("a", "b"):
        experience.add_task(TaskRecord(name, name, name, shape, {"train": 300}, 0, {}))
        tried = {better: 0.1, **dict.fromkeys(others, 5.0)}
        experience.add([judged(name, recipe, shape, 32_000, factor) for recipe, factor in tried.items()])
    return place


@pytest.mark.parametrize(
    ("side", "number", "asked"),
    [(16, FEWEST_RECIPES, False), (24, FEWEST_RECIPES - 1, False), (24, FEWEST_RECIPES, True)],
)
def test_large_images_rest_on_trials_of_large_images(tmp_path, task, side, number, asked):
    usual = default_recipe(task.shape, len(task.train), BUDGET)
    better = replace(usual, hyperparameters=usual.hyperparameters._replace(gamma=7.0))
    plan = plan_race(task, BUDGET, remembered(str(tmp_path / "x.db"), side, number, better), 0)
    assert [arm.recipe for arm in plan.arms] == [better if asked else usual]
    assert (plan.arms[0].origin == BY_LAW) is not asked
    assert plan.trials == (2 * number if asked else 0)


def test_a_default_by_seconds_is_known_by_its_name_among_trials(task):
    """The prior counts operations, a run seconds: both must mean the same recipe."""
    record = TaskRecord.of(task, "a")
    for seconds in (30.0, 600.0, 36_000.0):
        usual = default_recipe(task.shape, len(task.train), Budget(None, seconds))
        images = seconds * NOMINAL_FLOPS[jax.default_backend()] / reference_flops(task.shape, 1)
        assert default_for(record, images) == usual


def test_networks_that_the_memory_does_not_hold_are_narrowed(task, monkeypatch):
    long = Budget(10**7, None)
    wide = plan_race(task, long, NONE, 0).arms[0].recipe.architecture.gen_width
    monkeypatch.setattr("mulligan.meta.race.warm_start.memory_bytes", lambda: 40e6)
    assert plan_race(task, long, NONE, 0).arms[0].recipe.architecture.gen_width < wide
    monkeypatch.setattr("mulligan.meta.race.warm_start.memory_bytes", lambda: 1.0)
    assert plan_race(task, long, NONE, 0).arms[0].recipe.architecture.gen_width == WIDTHS[0]


def test_what_ships_is_not_read_where_it_has_nothing_to_say(tmp_path, task, monkeypatch):
    monkeypatch.setattr("mulligan.meta.store.exchange.shipped_file", lambda: pytest.fail("it was read"))
    assert plan_race(task, BUDGET, str(tmp_path / "none.db"), 0).arms[0].origin == BY_LAW
