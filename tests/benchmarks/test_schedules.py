"""The benchmark of schedules: what its recipes are, and what its tables make of figures."""

import math
from types import SimpleNamespace

import pytest

from benchmarks.quality.schedules import (
    CONTENDERS,
    DECAY,
    RATE,
    WORST,
    area,
    failures,
    ratio,
    recipe_of,
    sensitivity,
    tables,
)

TASK = SimpleNamespace(shape=(16, 16, 1), train=range(5000))
FACTORS = [0.1, 0.3, 1.0, 3.0, 10.0]


def made_up(learned=0.1):
    """A constant schedule that suffers at both ends, and a learned one that does not."""
    constant = dict(zip(FACTORS, [1.6, 0.8, 0.2, 0.4, WORST], strict=True))
    found = {}
    for seed in (0, 1, 2):
        for factor, kid in constant.items():
            found["a", "constant", factor, seed] = [2 * kid, kid]
            found["a", "learned", factor, seed] = [2 * learned, learned * (1.2 if factor == 10 else 1.0)]
    return found


def test_every_contender_is_the_base_recipe_with_its_schedule():
    images = 16_000
    plain = recipe_of("constant", 1.0, TASK, images)
    assert (plain.schedules, plain.gap_aware, plain.learned_schedule) == ((), False, "")
    for name in CONTENDERS:
        recipe = recipe_of(name, 3.0, TASK, images)
        assert recipe.architecture == plain.architecture
        expected = 3 * plain.hyperparameters.gen_lr * (RATE if name == "exponential" else 1)
        assert recipe.hyperparameters.gen_lr == pytest.approx(expected)
    form = dict(recipe_of("exponential", 1.0, TASK, images).schedules)["gen_lr"]
    assert form.rate * images == pytest.approx(DECAY)
    cosines = recipe_of("cosines", 1.0, TASK, images)
    forms = dict(cosines.schedules)
    end = cosines.hyperparameters.gen_beta2 * forms["gen_beta2"].final
    assert end == pytest.approx(plain.hyperparameters.gen_beta2)


def test_ratios_are_to_the_constant_schedule_of_the_same_task_and_seed():
    found = made_up()
    assert ratio(found, "learned", ["a"], [0, 1, 2], lambda kids: math.log(kids[-1])).startswith("0.50")
    assert ratio(found, "constant", ["a"], [0, 1, 2], area) == "1.00 (1.00..1.00)"


def test_sensitivity_is_over_every_window_of_thirty_times():
    assert sensitivity(made_up(), "learned", ["a"], FACTORS, [0, 1, 2]) == "1.0/1.2"
    assert sensitivity(made_up(), "constant", ["a"], FACTORS, [0, 1, 2]) == "8.0/100.0"


def test_failures_are_ten_times_worse_than_the_constant_schedule():
    assert failures(made_up(), "constant") == "3 of 15"
    assert failures(made_up(), "learned") == "0 of 15"
    assert failures(made_up(learned=2.1), "learned") == "15 of 15"


def test_the_tables_hold_every_contender():
    text = tables(made_up())
    assert "| a | learned | 0.100 (0.100..0.100) |" in text
    assert "3 of 15" in text
