"""What comparing averages may take of a budget."""

import math

import pytest

from mulligan.training.budget import (
    CHOICE_OPERATIONS,
    EVALUATION_SHARE,
    MIN_COMPARED,
    Budget,
    choice_allowance,
    plan_by_cost,
    reserve,
)
from mulligan.training.progress import Progress


@pytest.mark.parametrize("evaluation_seconds", [0.2, 0.6, 3.0])
@pytest.mark.parametrize("seconds", [20.0, 60.0, 600.0, 36_000.0])
def test_a_time_budget_keeps_room_for_comparing_and_for_the_final_score(seconds, evaluation_seconds):
    budget, progress = Budget(None, seconds), Progress(last_evaluation_seconds=evaluation_seconds)
    progress.seconds = seconds - reserve(progress, budget)  # when training ends
    allowance = choice_allowance(progress, budget)
    assert allowance.evaluations == math.inf
    assert 0.6 * seconds < progress.seconds < seconds
    assert min(11.9 * evaluation_seconds, 0.099 * seconds) < allowance.seconds <= 50.01 * evaluation_seconds
    final = seconds - progress.seconds - allowance.seconds
    assert final == pytest.approx(min(16 * evaluation_seconds, 0.2 * seconds))


def test_training_that_took_too_long_leaves_nothing():
    assert choice_allowance(Progress(seconds=601.0), Budget(None, 600.0)).seconds < 0


@pytest.mark.parametrize("images", [1_000_000, 10_000_000])
def test_a_budget_of_images_allows_a_share_of_the_operations_whatever_the_clock_says(images):
    step_flops, look_flops, step_nimg = 1e9, 4e10, 64
    budget, progress = Budget(images, None), Progress(spent_nimg=images, seconds=1e9)
    plan_by_cost(progress, budget, step_nimg, step_flops, look_flops)
    allowance = choice_allowance(progress, budget)
    assert allowance.seconds == math.inf
    training = images / step_nimg * step_flops
    assert allowance.evaluations * look_flops == pytest.approx(CHOICE_OPERATIONS * training, rel=0.1)
    assert CHOICE_OPERATIONS > EVALUATION_SHARE


def test_a_short_run_still_compares_the_likeliest():
    progress = Progress(spent_nimg=64, interval_nimg=10**6)
    assert choice_allowance(progress, Budget(64, None)).evaluations == MIN_COMPARED
