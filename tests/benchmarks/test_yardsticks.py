"""Yardsticks in experiences where the compute that each contender needs is known."""

from functools import partial

import made_up
import pytest

from benchmarks.meta.cases import Case, arms_of, held_out, judged
from benchmarks.meta.replay import in_turn, replay
from benchmarks.meta.yardsticks import best_single, yards, yardsticks
from mulligan.meta.learn import IMAGES
from mulligan.meta.predict.curves import handmade_for
from mulligan.meta.space.default import textbook_recipe
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import Records

GOOD, RARE = made_up.recipe(3e-3), made_up.recipe(5e-3)
TASKS = made_up.families(3, 1)
LENGTH = reference_flops(made_up.SHAPE, IMAGES)
TEXTBOOK = textbook_recipe()
EFFECTS = {GOOD: lambda of: -0.75, TEXTBOOK: lambda of: 2.1}


def records(effects, tasks=TASKS) -> Records:
    trials = made_up.trials(tasks, effects, base=lambda of: handmade_for(of, 1.0))
    return Records({task.id: task for task in tasks}, {trial.id: trial for trial in trials})


def cases(known: Records) -> list[Case]:
    priors = held_out(known)
    return [
        Case(task, arms_of(task, known.trials.values(), 0), LENGTH, LENGTH, 0, priors[task.family])
        for task in judged(known)
    ]


def ratios(case: Case, recipe, known_cases) -> dict[str, float]:
    """The reference recipes of one recipe that trains alone."""
    curve = next(arm.curve for arm in case.arms if arm.recipe == recipe)
    trace = replay([curve], partial(in_turn, [0], LENGTH), LENGTH)
    return yards(case, trace, yardsticks(known_cases))


def test_the_compute_to_each_yardstick_is_that_of_the_law_of_the_curves():
    """KID falls by 0.3 nats a look, and operations grow by the square root of two."""
    known = cases(records(EFFECTS))
    for case in known:
        found = ratios(case, GOOD, known)
        assert found["textbook"] == pytest.approx(2**-4.5)  # 2.85 nats before: 9 looks and a half, of which 9 are whole
        assert found["hand-made"] == pytest.approx(0.5)
        assert found["best single"] == pytest.approx(1.0)
        own = ratios(case, TEXTBOOK, known)
        assert own["textbook"] == pytest.approx(1.0)
        assert own["hand-made"] == float("inf")


def test_the_best_single_recipe_is_one_that_was_tried_nearly_everywhere():
    trials = made_up.trials(TASKS[:1], {RARE: lambda of: -3.0}, base=lambda of: handmade_for(of, 1.0))
    known = records(EFFECTS)
    known.trials.update({trial.id: trial for trial in trials if trial.recipe == RARE})
    found = cases(known)
    best = best_single(found)
    assert {case.arms[best(case)].recipe for case in found} == {GOOD}


def test_a_yardstick_that_is_not_recorded_for_the_whole_budget_is_left_out():
    known = records({GOOD: lambda of: -0.75})
    short = made_up.trial(TASKS[0], TEXTBOOK, [3.0, 2.0], end=1)
    known.trials[short.id] = short
    found = cases(known)
    assert set(ratios(found[0], GOOD, found)) == {"hand-made", "best single"}
