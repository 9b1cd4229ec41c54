"""What comparing averages may take of a budget."""

import math
from dataclasses import replace

import pytest

from mulligan.training.budget import (
    CHOICE_OPERATIONS,
    EVALUATION_SHARE,
    FINAL_EVALUATIONS,
    MAX_FINAL,
    MAX_SHARE,
    MIN_COMPARED,
    MOST_CHOICE,
    Budget,
    choice_allowance,
    next_evaluation_nimg,
    plan_by_clock,
    plan_by_cost,
    reserve,
)
from mulligan.training.progress import Progress


@pytest.mark.parametrize("evaluation_seconds", [0.2, 0.6, 3.0])
@pytest.mark.parametrize("seconds", [20.0, 60.0, 600.0, 36_000.0])
def test_a_time_budget_keeps_room_for_comparing_and_for_the_final_score(seconds, evaluation_seconds):
    budget, progress = Budget(None, seconds), Progress(last_evaluation_seconds=evaluation_seconds)
    progress = replace(progress, seconds=seconds - reserve(progress, budget))  # when training ends
    allowance = choice_allowance(progress, budget)
    assert allowance.evaluations == math.inf
    assert 0.8 * seconds < progress.seconds < seconds
    assert (
        min(11.9 * evaluation_seconds, 0.99 * MOST_CHOICE * seconds) < allowance.seconds <= 50.01 * evaluation_seconds
    )
    final = seconds - progress.seconds - allowance.seconds
    assert final == pytest.approx(min(FINAL_EVALUATIONS * evaluation_seconds, MAX_FINAL * seconds))


def test_training_that_took_too_long_leaves_nothing():
    assert choice_allowance(Progress(seconds=601.0), Budget(None, 600.0)).seconds < 0


@pytest.mark.parametrize("images", [1_000_000, 10_000_000])
def test_a_budget_of_images_allows_a_share_of_the_operations_whatever_the_clock_says(images):
    step_flops, look_flops, step_nimg = 1e9, 4e10, 64
    budget = Budget(images, None)
    progress = plan_by_cost(Progress(spent_nimg=images, seconds=1e9), budget, step_nimg, step_flops, look_flops)
    allowance = choice_allowance(progress, budget)
    assert allowance.seconds == math.inf
    training = images / step_nimg * step_flops
    assert allowance.evaluations * look_flops == pytest.approx(CHOICE_OPERATIONS * training, rel=0.1)
    assert CHOICE_OPERATIONS > EVALUATION_SHARE


def test_a_short_run_still_compares_the_likeliest():
    progress = Progress(spent_nimg=64, interval_nimg=10**6)
    assert choice_allowance(progress, Budget(64, None)).evaluations == MIN_COMPARED


@pytest.mark.parametrize("last_evaluation_seconds", [0.1, 1.0, 8.0, 30.0])
@pytest.mark.parametrize("speed", [10.0, 1_000.0])
def test_evaluations_take_their_share_of_the_time_and_never_more_than_a_larger_one(last_evaluation_seconds, speed):
    """Dear evaluations, as of large images, took as long as the training before they were bounded."""
    budget = Budget(None, 90.0)
    spent_nimg = int(5.0 * speed)
    progress = Progress(spent_nimg=spent_nimg, seconds=5.0, training_seconds=5.0)
    progress = plan_by_clock(replace(progress, last_evaluation_seconds=last_evaluation_seconds), budget, 1)
    apart_seconds = (next_evaluation_nimg(progress) - progress.spent_nimg) / speed
    assert last_evaluation_seconds / apart_seconds <= MAX_SHARE * 1.1


def test_waiting_for_images_is_no_training_but_takes_time():
    budget = Budget(None, 100.0)
    seen = Progress(seconds=20.0, training_seconds=10.0, spent_nimg=1_000)
    fast, slow = (plan_by_clock(replace(seen, loading_seconds=seconds), budget, 1) for seconds in (0.0, 10.0))
    assert slow.chunk_steps == fast.chunk_steps == 100
    assert slow.horizon_nimg - 1_000 == pytest.approx((fast.horizon_nimg - 1_000) / 2)
