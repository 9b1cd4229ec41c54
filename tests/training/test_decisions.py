"""What a run decides from what has been seen: no device, no clock, no folder."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest

from mulligan.training import decisions, guard
from mulligan.training.budget import Budget, evaluates_before_pause
from mulligan.training.decisions import (
    Bounds,
    Evaluate,
    RollBack,
    Save,
    Stop,
    Train,
    after_chunk,
    after_evaluation,
    after_extension,
    after_fork,
    after_rollback,
    after_save,
    next_action,
)
from mulligan.training.engine import ChunkInfo
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.stop import EVALUATIONS, PATIENCE
from mulligan.training.strategist import FORKS
from mulligan.types import StepInfo

BOUNDS = Bounds(Budget(64_000, None), step_nimg=64, most_steps=math.inf, forks=False)
BEGUN = Progress(
    nimg=6_400, spent_nimg=6_400, last_evaluation=6_400, next_evaluation=12_800, horizon_nimg=64_000.0, chunk_steps=30
)


def evaluation(kid=0.1, diversity=0.9, nimg=6_400, ratio=None):
    return Evaluation(kid, kid - 0.02, kid + 0.02, diversity, nimg, "ema", 7, ratio)


def chunk(accuracy=0.7, finite=True):
    return ChunkInfo(StepInfo(0.0, 0.7, 1.4, 0.1, -0.1, 0.0, accuracy, ()), np.array(finite))


def test_a_chunk_ends_where_something_is_due():
    assert next_action(BEGUN, BOUNDS) == Train(30)
    assert next_action(replace(BEGUN, next_evaluation=6_401), BOUNDS) == Train(1)
    assert next_action(BEGUN, BOUNDS._replace(budget=Budget(6_600, None))) == Train(4)
    assert next_action(BEGUN, BOUNDS._replace(most_steps=3)) == Train(3)


def test_an_evaluation_comes_before_a_checkpoint_and_that_before_a_fork():
    due = replace(BEGUN, seconds=decisions.CHECKPOINT_SECONDS, next_evaluation=6_400)
    forking = BOUNDS._replace(forks=True)
    assert next_action(due, forking) == Evaluate()
    assert next_action(replace(due, next_evaluation=12_800), forking) == Save()
    saved = after_save(replace(due, next_evaluation=12_800), due.seconds, 0)
    assert next_action(saved, forking) == FORKS[0]
    assert next_action(replace(saved, seconds=9e9), forking) == FORKS[0]  # there is nothing new to save


def test_a_run_forks_only_when_its_length_is_known():
    by_clock = BOUNDS._replace(budget=Budget(None, 60.0), forks=True)
    unplanned = replace(BEGUN, training_seconds=1.0)
    assert isinstance(next_action(unplanned, by_clock), Train)
    assert next_action(replace(unplanned, planned=True), by_clock) == FORKS[0]


def test_a_budget_that_is_used_up_ends_the_run_once_its_end_is_evaluated():
    used = replace(BEGUN, spent_nimg=64_000)
    assert next_action(used, BOUNDS) == Evaluate(last=True)
    assert next_action(replace(used, last_evaluation=64_000), BOUNDS) == Stop("budget exhausted", "budget")


def test_a_chunk_that_is_not_finite_sends_the_run_back_until_that_was_in_vain_too_often():
    assert after_chunk(BEGUN, chunk(), BOUNDS) == (replace(BEGUN, accuracy=0.7), None)
    assert after_chunk(BEGUN, chunk(finite=False), BOUNDS)[1] == RollBack(guard.NOT_FINITE)
    _, end = after_chunk(replace(BEGUN, attempts=guard.ATTEMPTS), chunk(finite=False), BOUNDS)
    assert isinstance(end, Stop)
    assert end.code == "guard"


def test_the_lowest_accuracy_counts_and_one_that_is_no_number_does_not():
    assert after_chunk(replace(BEGUN, accuracy=0.6), chunk(0.7), BOUNDS)[0].accuracy == 0.6
    assert after_chunk(replace(BEGUN, accuracy=0.6), chunk(math.nan), BOUNDS)[0].accuracy == 0.6


def test_an_evaluation_is_noted_and_nothing_follows_while_all_is_well():
    progress, then = after_evaluation(replace(BEGUN, sequence=7, nimg=20_000, accuracy=0.8), evaluation())
    assert then is None
    assert progress.best == progress.anchor == evaluation()
    assert (progress.accuracy, progress.first_judged, progress.last_evaluation) == (1.0, 7, 6_400)
    assert progress.next_evaluation > progress.spent_nimg


def test_copies_are_no_best_and_end_the_run():
    progress, _ = after_evaluation(BEGUN, evaluation(kid=0.3, ratio=0.1))
    assert progress.best.value == 0.3  # for want of another
    for _ in range(PATIENCE - 1):
        progress, then = after_evaluation(progress, evaluation(kid=0.1, ratio=0.1))
    assert progress.best.value == 0.3
    assert then.code == "memorised"


def test_a_run_without_gain_converges_and_a_longer_budget_forgets_that():
    seen = replace(BEGUN, spent_nimg=60_000, best=evaluation(), anchor=evaluation(), since_anchor=EVALUATIONS - 1)
    progress, then = after_evaluation(seen, evaluation(kid=0.11))
    assert then.code == "converged"
    ended = replace(progress, finished=then.reason, code=then.code, copies=2, attempts=3, failures=1)
    longer = after_extension(ended, BOUNDS._replace(budget=Budget(128_000, None)), extensions=1)
    assert (longer.finished, longer.code, longer.extensions) == (None, None, 1)
    assert (longer.since_anchor, longer.copies, longer.attempts, longer.failures) == (0, 0, 0, 0)
    assert longer.horizon_nimg == 128_000
    assert isinstance(next_action(longer, BOUNDS._replace(budget=Budget(128_000, None))), Train)


def test_bad_evaluations_in_a_row_send_the_run_back_and_images_spent_stay_spent():
    progress, then = replace(BEGUN, nimg=30_000, spent_nimg=30_000, best=evaluation()), None
    for _ in range(guard.PATIENCE):
        assert then is None
        progress, then = after_evaluation(progress, evaluation(diversity=0.0))
    assert isinstance(then, RollBack)
    back = after_rollback(progress, nimg=12_800)
    assert (back.nimg, back.spent_nimg, back.attempts, back.failures) == (12_800, 30_000, 1, 0)
    assert back.next_evaluation > back.spent_nimg


def test_a_fork_that_ends_worse_than_the_one_before_sends_the_run_back():
    seen = replace(BEGUN, nimg=30_000, best=evaluation(), before=evaluation(0.1))
    assert after_fork(seen, None) == (seen, None)
    progress, then = after_fork(seen, evaluation(0.11))
    assert (progress.before.value, then) == (0.11, None)
    progress, then = after_fork(seen, evaluation(0.2))
    assert (progress.before.value, type(then)) == (0.1, RollBack)


def test_what_is_due_is_evaluated_before_a_pause():
    paused = replace(BEGUN, interval_nimg=4_000)
    assert not evaluates_before_pause(paused)
    assert evaluates_before_pause(replace(paused, spent_nimg=7_400))
    assert evaluates_before_pause(replace(paused, next_evaluation=6_400))


def test_what_was_seen_cannot_be_altered():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BEGUN.nimg = 0
