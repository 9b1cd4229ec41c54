"""The table finds the right answer in experiences where it is known, and never shows a prior what it is judged on."""

import math
from functools import partial

import made_up
import numpy as np
import pytest

from benchmarks.common.intervals import interval
from benchmarks.meta.cases import arms_of, handmade, held_out, recorded
from benchmarks.meta.replay import SLICES, halving, in_turn, leader, race, replay
from benchmarks.meta.table import CONTENDERS, calibration, judgements, measured, outcomes, plot, shown
from mulligan.errors import MulliganError
from mulligan.meta.learn import IMAGES
from mulligan.meta.predict.curves import handmade_for
from mulligan.meta.predict.prior import PRIORS, Query
from mulligan.meta.race.allocation import ArmStatus, ftrl
from mulligan.meta.space.fidelity import flops_at, reference_flops
from mulligan.meta.store.record import FAILED, Records

GOOD = made_up.recipe(3e-3)
BAD = [made_up.recipe(rate) for rate in (1e-4, 2e-4, 3e-4, 4e-4)]
TASKS = made_up.families(4, 1)
LENGTH = reference_flops(made_up.SHAPE, IMAGES)


def records(tasks, trials) -> Records:
    return Records({task.id: task for task in tasks}, {trial.id: trial for trial in trials})


KNOWN = records(
    TASKS,
    made_up.trials(
        TASKS, {GOOD: lambda of: -0.7, **dict.fromkeys(BAD, lambda of: 2.0)}, base=lambda of: handmade_for(of, 1.0)
    ),
)


@pytest.fixture(scope="module")
def priors():
    return held_out(KNOWN)


@pytest.fixture(scope="module")
def found(priors):
    return outcomes(KNOWN, priors, [1.0, 4.0], 1, list(CONTENDERS))


def of(found, contender: str, budget: float) -> list:
    return [outcome for outcome in found if outcome.contender == contender and outcome.budget == budget]


# --- replay


def curve(*values: float):
    return [made_up.point(TASKS[0], place, value) for place, value in enumerate(values)]


def at(place: float) -> float:
    return flops_at(made_up.SHAPE, place)


def test_looks_cost_the_operations_since_the_last_one():
    trace = replay([curve(1.0, 0.5, 0.0), curve(0.8, 0.1)], partial(in_turn, [0, 1], at(1)), at(30))
    np.testing.assert_allclose(trace.spent, [at(0), at(1), at(1) + at(0), 2 * at(1), at(1) + at(2)])
    np.testing.assert_allclose(trace.lowest, [1.0, 0.5, 0.5, 0.1, 0.0], atol=1e-6)
    assert trace.at(at(0) * 0.9) == math.inf
    assert trace.at(at(1)) == pytest.approx(0.5)
    assert trace.reached(0.1 + 1e-6) == pytest.approx(2 * at(1))
    assert trace.reached(-1.0) == math.inf


def test_a_look_that_the_budget_does_not_suffice_for_is_had_in_part():
    trace = replay([curve(1.0, 0.5, 0.0)], partial(in_turn, [0], math.inf), at(1.5))
    np.testing.assert_allclose(trace.spent, [at(0), at(1), at(1.5)])
    np.testing.assert_allclose(trace.lowest, [1.0, 0.5, 0.25], atol=1e-6)
    assert len(replay([curve(1.0)], partial(in_turn, [0], math.inf), at(0) / 2).spent) == 1
    assert replay([curve(1.0)], partial(in_turn, [0], math.inf), at(0) / 2).lowest[0] == math.inf


def test_an_allocator_that_insists_on_what_has_ended_is_stopped():
    def stubborn():
        while True:
            yield 0

    assert len(replay([curve(1.0, 0.5)], stubborn, math.inf).spent) == 2


def test_an_order_may_leave_arms_out():
    curves = [curve(2.0), curve(1.5), curve(1.0), curve(0.5)]
    assert replay(curves, partial(in_turn, [3], math.inf), math.inf).lowest[-1] == pytest.approx(0.5)
    assert replay(curves, partial(halving, [3, 1], math.inf), math.inf).lowest[-1] == pytest.approx(0.5)


def test_what_a_failure_cost_is_paid():
    failed = made_up.trial(TASKS[0], GOOD, [1.0], status=FAILED)
    failed.cost["flops"] = at(3)
    trace = replay([recorded(failed)], partial(in_turn, [0], math.inf), math.inf)
    np.testing.assert_allclose(trace.spent, [at(0), at(3)])
    np.testing.assert_allclose(trace.lowest, [1.0, 1.0], atol=1e-6)


def test_halving_gives_rungs_equal_shares_and_keeps_the_best():
    curves = [curve(*(effect - 0.3 * np.arange(11))) for effect in (3.0, 1.0, 2.0, 4.0)]
    had = []

    def watched():
        moves, answer = halving(range(4), at(10), keep=2), None
        while True:
            try:
                arm = moves.send(answer)
            except StopIteration:
                return
            answer = yield arm
            had.append((arm, answer))

    replay(curves, watched, at(10))
    spent = {arm: max(point.flops for other, point in had if other == arm and point) for arm in range(4)}
    assert spent[1] > spent[2] > spent[0] == spent[3]
    assert spent[0] == pytest.approx(at(10) / 3 / 4, rel=0.2)
    assert spent[2] - spent[0] == pytest.approx(at(10) / 3 / 2, rel=0.2)


def test_a_race_ends_with_the_arm_that_goes_best():
    curves = [curve(*(effect - step * np.arange(11))) for effect, step in ((1.0, 0.1), (2.0, 0.4), (1.5, 0.2))]

    def outlook(arm, points, flops):
        """The truth, once two points are seen."""
        steps = len(points[arm])
        return 0.0 if steps < 2 else curves[arm][-1].figures["energy"] and math.log(curves[arm][-1].figures["energy"])

    trace = replay(curves, partial(race, 3, 1.5 * at(10), outlook, leader([0.4, 0.2, 0.4], SLICES)), 1.5 * at(10))
    assert trace.lowest[-1] == pytest.approx(-2.0, abs=1e-6)


def test_the_leader_moves_as_the_package_does():
    rng, weights = np.random.default_rng(0), [0.6, 0.3, 0.1]
    ours, theirs, given = leader(weights, SLICES), ftrl(weights, SLICES), [0, 0, 0]
    mine, state = ours.init(), theirs.init()
    for _ in range(SLICES + 1):
        standings = [ArmStatus(slices, float(rng.normal())) for slices in given]
        mine, move = ours.decide(mine, standings)
        state, expected = theirs.decide(state, standings)
        assert (move.arms, move.won) == (expected.arms, expected.won)
        np.testing.assert_allclose(move.weights, expected.weights, atol=1e-4)
        given[move.arms[0]] += 1
        if move.won:
            break


# --- the table


@pytest.mark.slow
def test_the_good_recipe_is_found_at_once_by_what_has_learned(found):
    for prior in ("portfolio", "nearest", "surrogate"):
        for outcome in of(found, f"{prior}, in turn", 1.0):
            assert outcome.gain == pytest.approx(-0.7, abs=1e-6)
            assert outcome.reach == pytest.approx(0.5)  # the first look at which 0.7 nats make up for the looks to come
            assert outcome.regret[-1] == pytest.approx(0, abs=1e-6)


def test_the_default_is_what_all_are_compared_with(found):
    for outcome in of(found, "hand-made default", 1.0):
        assert outcome.gain == 0
        assert outcome.reach == pytest.approx(1.0)
        assert outcome.regret[-1] == pytest.approx(0.7, abs=1e-6)


def test_what_has_not_learned_wastes_its_budget_on_bad_recipes(found):
    gains = [outcome.gain for outcome in of(found, "random search", 1.0)]
    assert np.mean(gains) > 0.3
    learned = np.mean([outcome.regret for outcome in of(found, "portfolio + halving", 4.0)])
    assert learned < np.mean([outcome.regret for outcome in of(found, "successive halving", 4.0)])


@pytest.mark.parametrize(
    "contender", [name for name in CONTENDERS if name not in ("hand-made default", "random search")]
)
def test_everyone_finds_it_with_enough_operations(found, contender):
    assert max(outcome.gain for outcome in of(found, contender, 4.0)) == pytest.approx(-0.7, abs=1e-6)


def test_priors_never_see_the_family_that_judges_them(priors):
    for family, taught in priors.items():
        for name in PRIORS:
            asked = Query(made_up.task(family, "t0"), at(10))
            seen = {task.family for task, _ in taught[name].nearest(asked)}
            assert seen == {task.family for task in TASKS} - {family}


def test_forecasts_of_what_repeats_exactly_are_right(priors):
    found = judgements(KNOWN, priors)
    tables = [each for each in found if each.prior in ("default", "portfolio")]
    assert max(each.error for each in tables) < 0.05
    assert all(each.inside for each in tables)
    assert "100%" in calibration(tables)


def test_arms_are_the_longest_trials_and_the_hand_made_recipe_is_first():
    long = made_up.trial(TASKS[0], GOOD, np.zeros(15), seed=2, end=14)
    arms = arms_of(TASKS[0], [*KNOWN.trials.values(), long], seed=0)
    assert arms[0].name == handmade(TASKS[0])
    assert arms[0].recipe == handmade_for(TASKS[0], 1.0)
    assert len(next(arm for arm in arms if arm.recipe == GOOD).curve) == 15
    assert len(arms) == 6


def test_too_few_families_are_an_error():
    few = [task for task in TASKS if task.family == "f0"]
    with pytest.raises(MulliganError, match="2 families"):
        held_out(records(few, [trial for trial in KNOWN.trials.values() if trial.task.startswith("f0/")]))


def test_families_count_alike():
    found = interval([("f", 0.0)] * 9 + [("g", 1.0)])
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == (0.0, 1.0)
    assert interval([("f", 2.0), ("g", 2.0)]) == pytest.approx((2.0, 2.0, 2.0))


def test_what_is_shown_and_drawn(found, tmp_path):
    text = shown(found, [1.0, 4.0])
    assert "| portfolio, in turn | 0.50 (0.50 .. 0.50) |" in text
    assert "| hand-made default | 1.00 (1.00 .. 1.00) |" in text
    assert "| portfolio, in turn | 0.50 (100%) | 1.00 (100%) |" in measured(found, [1.0])
    assert "| random search | " in measured(found, [1.0])
    plot(found, [1.0, 4.0], tmp_path / "regret.png")
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")


def test_optuna_takes_every_recorded_recipe_once_and_learns_what_it_took():
    optuna = pytest.importorskip("optuna")
    from benchmarks.meta.tpe import DISTRIBUTIONS, Recorded, parameters

    recipes = [GOOD, *BAD]
    sampler = Recorded(recipes, seed=0)
    study = optuna.create_study(sampler=sampler)
    for _ in recipes:
        trial = study.ask(DISTRIBUTIONS)
        assert trial.params == parameters(recipes[sampler.taken[-1]])
        study.tell(trial, abs(trial.params["gen_lr"] - parameters(GOOD)["gen_lr"]))
    assert sorted(sampler.taken) == list(range(len(recipes)))
    assert study.best_trial.number == sampler.taken.index(0)
