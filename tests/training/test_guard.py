from dataclasses import replace

import numpy as np
import pytest

from mulligan.game.step import Strategy
from mulligan.training import guard
from mulligan.training.guard import Health
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.stop import EVALUATIONS, GROWTH, converged, with_evaluation

BEST = Evaluation(value=0.1, low=0.08, high=0.12, diversity=0.9, nimg=1000, average="ema", sequence=4)
WELL = Health(value=0.11, diversity=0.9, accuracy=0.8)


def test_a_healthy_run_is_left_alone():
    assert guard.diagnose(WELL, BEST) is None
    assert guard.diagnose(WELL, None) is None


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (WELL._replace(diversity=0.02), "diversity"),
        (WELL._replace(value=0.2, accuracy=0.999), "discriminator has won"),
        (WELL._replace(value=0.9), "runs away"),
    ],
)
def test_each_illness_has_its_reason(health, words):
    assert words in guard.diagnose(health, BEST)


def test_a_discriminator_that_wins_while_the_metric_improves_is_no_illness():
    assert guard.diagnose(WELL._replace(value=0.05, accuracy=1.0), BEST) is None


def test_only_a_row_of_bad_evaluations_counts():
    bad = WELL._replace(value=5.0)
    assert judged(Progress(best=BEST), (bad, bad, WELL, bad, bad, bad)) == [False, False, False, False, False, True]


def judged(progress, healths):
    """Whether each of these evaluations, one after the other, sends the run back."""
    found = []
    for health in healths:
        progress, reason = guard.judge(progress, health)
        found.append(reason is not None)
    return found


@pytest.mark.parametrize(("horizon", "before", "after"), [(10_000, 1_999, 2_000), (10_000_000, 19_999, 20_000)])
def test_a_run_that_has_hardly_begun_is_not_judged(horizon, before, after):
    collapsed = WELL._replace(diversity=0.0)
    assert judged(Progress(horizon_nimg=horizon, nimg=before), [collapsed] * 9) == [False] * 9
    assert judged(Progress(horizon_nimg=horizon, nimg=after), [collapsed] * 3) == [False, False, True]


def test_a_run_goes_back_to_its_best_but_never_to_before_it_could_be_judged():
    assert guard.good_checkpoint(Progress()) == 0
    assert guard.good_checkpoint(Progress(best=BEST)) == BEST.sequence
    assert guard.good_checkpoint(Progress(best=BEST, first_judged=BEST.sequence + 3)) == BEST.sequence + 3
    assert guard.good_checkpoint(Progress(best=BEST, first_judged=BEST.sequence - 3)) == BEST.sequence


def test_gentler_halves_rates_and_doubles_the_penalty():
    np.testing.assert_allclose(np.array(guard.gentler(guard.gentler(Strategy()))), (0.25, 0.25, 4.0))


def look(kid, nimg, width=0.02):
    return Evaluation(kid, kid - width, kid + width, 0.9, nimg, "ema", 0)


def test_a_fork_is_worse_than_the_one_before_only_beyond_both_intervals():
    assert guard.worse(look(0.5, 2), None) is None
    assert guard.worse(look(0.33, 2), look(0.3, 1)) is None
    assert guard.worse(look(0.1, 2), look(0.3, 1)) is None
    assert (
        guard.worse(look(0.35, 2), look(0.3, 1))
        == "the run has become worse: energy distance 0.35 after 0.3 at the last fork"
    )


def test_the_best_is_the_lowest_and_the_anchor_moves_only_beyond_its_interval():
    progress, best = Progress(), []
    for nimg, kid in enumerate((0.5, 0.49, 0.6, 0.3, 0.295)):
        progress = with_evaluation(progress, look(kid, nimg))
        best.append(progress.best.nimg == nimg)
    assert best == [True, True, False, True, True]
    assert progress.best.value == 0.295
    assert progress.anchor.value == 0.3
    assert progress.since_anchor == 1


def test_a_run_stops_after_many_evaluations_without_gain_and_not_before():
    progress = with_evaluation(Progress(), look(0.3, nimg=1000))
    for _ in range(EVALUATIONS):
        assert converged(progress) is None
        progress = with_evaluation(progress, look(0.31, nimg=2000))
    assert converged(replace(progress, spent_nimg=int(GROWTH * 1000) - 1)) is None
    assert "no better validation energy distance than 0.3" in converged(
        replace(progress, spent_nimg=int(GROWTH * 1000))
    )


def test_slow_progress_is_progress():
    """Each step is within the interval of the one before, but together they are not."""
    progress = Progress(spent_nimg=10**9)
    for index in range(100):
        progress = with_evaluation(progress, look(1 - 0.008 * index, nimg=index))
        assert converged(progress) is None


def test_progress_survives_json():
    progress = Progress(sequence=3, best=BEST, anchor=BEST, finished="done", code="budget")
    assert Progress.from_json(progress.to_json()) == progress
