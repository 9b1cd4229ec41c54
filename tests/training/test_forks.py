"""Forks inside a run: what they cost, what they adopt, and that nothing of it is lost when a run is interrupted."""

import dataclasses
import os
import signal

import pytest
from quick import quick_of
from small_runs import RECIPE, assert_same_end, broken_chunks, clock_of_its_own, events

from mulligan.errors import Interrupted
from mulligan.meta.fit import fit, resume
from mulligan.meta.planning import Options
from mulligan.training import guard, loop
from mulligan.training.budget import Budget
from mulligan.training.strategist import FEWEST_STEPS, FORKS, PLAIN, STRATEGIES

IMAGES = Budget(images=8_000, seconds=None)
FORKING = dataclasses.replace(RECIPE, strategy="fork")


def too_fast(factor):
    rates = RECIPE.hyperparameters
    return dataclasses.replace(FORKING, hyperparameters=rates._replace(gen_lr=factor * 2e-3, disc_lr=factor * 2e-3))


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "forked"
    fit("digits", IMAGES, Options(out=run, recipe=FORKING))
    return run


def test_all_strategies_of_a_fork_are_judged_and_the_leader_goes_on(forked):
    told = events(forked, "strategy")
    assert len(told) == len(FORKS)
    for event, plan in zip(told, FORKS, strict=True):
        assert set(event["losses"][0]) == set(plan.names)
        for earlier, later in zip(event["losses"], event["losses"][1:], strict=False):
            assert set(later) <= set(earlier)
        assert event["strategy"] == max(event["weights"], key=event["weights"].__getitem__)


def test_the_rates_in_force_are_those_of_the_leaders_one_upon_the_other(forked):
    factor = 1.0
    for event in events(forked, "strategy"):
        factor *= STRATEGIES[event["strategy"]].factors.gen_lr
        after = next(e for e in events(forked, "chunk") if e["nimg"] > event["nimg"])
        assert after["hyperparameters"]["gen_lr"] == pytest.approx(2e-3 * factor, rel=1e-5)


def test_what_is_thrown_away_counts(forked):
    assert events(forked, "final")[0]["cost"]["images"] == 8_000
    assert events(forked, "chunk")[-1]["nimg"] < 8_000 - 0.02 * 8_000


def test_the_first_fork_begins_before_the_first_step(forked):
    first = events(forked, "strategy")[0]
    before = [e for e in events(forked) if e["kind"] == "chunk" and e["nimg"] <= first["nimg"]]
    assert before == []
    steps = sum(max(FEWEST_STEPS, int(share * 8_000) // RECIPE.batch) for share in FORKS[0].rungs)
    assert 0 < first["nimg"] <= steps * RECIPE.batch


@pytest.mark.slow
def test_the_first_fork_of_a_run_by_the_clock_knows_the_runs_length(monkeypatch, tmp_path):
    forks, horizons = loop.fork, []

    def spied(session, strategist, plan, origin, progress, budget):
        horizons.append((float(origin.schedule.horizon_nimg), progress.horizon_nimg))
        return forks(session, strategist, plan, origin, progress, budget)

    monkeypatch.setattr(loop, "fork", spied)
    clock_of_its_own(monkeypatch)
    fit("digits", Budget(images=None, seconds=8.0), Options(out=tmp_path / "run", recipe=FORKING))
    assert horizons
    for schedule, run in horizons:
        assert schedule == pytest.approx(run, rel=1e-5)
        assert run < 1e8


@pytest.mark.slow
def test_rates_far_too_high_are_left_at_once(tmp_path):
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=too_fast(1000)))
    assert events(tmp_path / "run", "strategy")[0]["strategy"].startswith("rates / ")


@pytest.mark.slow
@pytest.mark.parametrize("index", quick_of(range(len(FORKS)), 1))
def test_a_run_interrupted_after_a_fork_ends_as_if_it_had_not_been(forked, tmp_path, index):
    seen = []

    def press(event):
        if event["kind"] == "strategy":
            seen.append(event)
            if len(seen) == index + 1:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=FORKING, listener=press))
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", forked)


@pytest.mark.slow
def test_where_all_strategies_fail_the_run_goes_on_from_where_they_began(monkeypatch, tmp_path):
    broken_chunks(monkeypatch, breaks=set(range(1, 1 + FEWEST_STEPS * len(FORKS[0].names))))
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=FORKING))
    first = events(tmp_path / "run", "strategy")[0]
    assert first["strategy"] is None
    assert first["nimg"] == 0
    assert len(set(first["losses"][0].values())) == 1
    assert events(tmp_path / "run", "stop")[0]["code"] == "budget"


@pytest.mark.slow
def test_where_no_strategy_leads_on_the_run_goes_back(monkeypatch, tmp_path):
    monkeypatch.setattr(guard, "RUNAWAY", 1e-6)  # anything is far beyond the best, once there is one
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=FORKING))
    strategy = events(tmp_path / "run", "strategy")[1]
    back = events(tmp_path / "run", "guard")[0]
    assert "the metric runs away" in back["reason"]
    assert back["back_to_nimg"] <= strategy["nimg"]


@pytest.mark.slow
def test_a_run_that_has_become_worse_since_the_last_fork_goes_back(monkeypatch, tmp_path):
    seen = []

    def worse(look, before):
        seen.append((look, before))
        return "made up" if len(seen) == 3 else None

    monkeypatch.setattr(guard, "worse", worse)
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=FORKING))
    assert [before for _, before in seen] == [None, seen[0][0], seen[1][0], seen[1][0]]
    assert [event["reason"] for event in events(tmp_path / "run", "guard")] == ["made up"]


@pytest.mark.slow
def test_a_failure_where_forks_choose_quarters_the_rates(monkeypatch, tmp_path):
    plain = dataclasses.replace(FORKING, strategy_prior=tuple((name, 0.0) for name in STRATEGIES if name != PLAIN))
    broken_chunks(monkeypatch, breaks={4})
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=plain))
    assert events(tmp_path / "run", "strategy") == []  # nothing to choose from
    back = events(tmp_path / "run", "guard")[0]
    later = [event for event in events(tmp_path / "run", "chunk") if event["seconds"] > back["seconds"]]
    assert later[0]["hyperparameters"]["gen_lr"] == pytest.approx(5e-4)
