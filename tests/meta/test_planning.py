"""Before a run begins it is said whether its budget is too short for the images, and what would do."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mulligan.meta.planning import short_note
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.warm_start import RacePlan
from mulligan.meta.space import prices
from mulligan.meta.space.default import default_recipe, fewest_images
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget


@pytest.fixture(autouse=True)
def a_processor(monkeypatch):
    monkeypatch.setattr(prices, "NOMINAL_FLOPS", dict.fromkeys(("cpu", "gpu", "tpu"), 4e10))


TASK = read_task(np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8))


def note(side, budget):
    task = replace(TASK, shape=(side, side, 3))
    return short_note(task, RacePlan((Arm(default_recipe(task.shape, 300, budget), 1.0, ""),)), budget)


@pytest.mark.parametrize(("side", "seconds"), [(16, 1.0), (32, 60.0), (64, 126.0), (128, 3600.0)])
def test_nothing_is_said_of_a_budget_that_is_long_enough(side, seconds):
    assert note(side, Budget(None, seconds)) is None


@pytest.mark.parametrize(("side", "seconds"), [(64, 45.0), (128, 90.0), (128, 300.0), (256, 300.0)])
def test_what_would_do_would_do(side, seconds):
    text = note(side, Budget(None, seconds))
    assert f"images of {side}x{side}" in text
    minutes, smaller = re.search(r"(\d+) minutes? would do, or images of (\d+)x", text).groups()
    assert note(side, Budget(None, 60.0 * int(minutes))) is None
    assert note(side, Budget(None, max(60.0 * (int(minutes) - 1), 1.0))) is not None
    assert int(smaller) < side
    assert note(int(smaller), Budget(None, seconds)) is None


def test_a_budget_of_images_is_told_how_many_would_do():
    assert note(32, Budget(30_000, None)) is None
    text = note(32, Budget(2_000, None))
    assert "about 2,000 will be trained on, and shapes begin to show at some 20,000" in text
    assert int(re.search(r"(\d+),000 would do", text)[1]) * 1000 >= fewest_images((32, 32, 3))


def test_a_slow_machine_needs_longer(tmp_path, monkeypatch):
    assert note(64, Budget(None, 126.0)) is None
    monkeypatch.setattr(prices, "cache_folder", lambda: tmp_path)
    prices.measure(default_recipe((64, 64, 3), 300, Budget(None, 60.0)), (64, 64, 3), 0, 1_000, 10.0, 40.0)
    assert "; 6 minutes would do" in note(64, Budget(None, 126.0))
