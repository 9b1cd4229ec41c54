"""A race of small recipes: who gets what, what is left behind, and that it resumes exactly wherever it is killed."""

import dataclasses
import math
import time

import numpy as np
import pytest
from small_runs import clock_of_its_own

from mulligan.documents import read_sealed
from mulligan.errors import Interrupted, MulliganError
from mulligan.events import RolledBack
from mulligan.meta.fit import begin, resume
from mulligan.meta.planning import Options
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.extrapolation import ArmHistory, ForecastCurve, predict_final
from mulligan.meta.race.race import DOCUMENT, SHARE, Race, RaceSpec
from mulligan.meta.race.warm_start import RacePlan
from mulligan.meta.store.record import Point
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget
from mulligan.training.generator import load
from mulligan.training.loop import Loop
from mulligan.training.run import RunFolder

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
BUDGET = Budget(images=40_000, seconds=None)


def recipe(rate):
    return Recipe(architecture=SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=rate, disc_lr=rate))


GOOD, SLOW, WILD = recipe(2e-3), recipe(1e-6), recipe(1e6)
ARMS = (Arm(SLOW, 0.6, "a bad idea"), Arm(GOOD, 0.2, "the default"), Arm(WILD, 0.2, "a mutation"))


@pytest.fixture(scope="module")
def task():
    return read_task("digits")


def contest(path, task, arms=ARMS, budget=BUDGET, told=None, allocation="ftrl"):
    """A race about to begin in a new run folder, or to go on in one that is there."""
    if (path / "run.json").is_file():
        folder = RunFolder(path)
    else:
        folder = begin("digits", task, RacePlan(arms), budget, Options(out=path, allocation=allocation))
    return RaceSpec(folder, task, 0, budget, (lambda event: None) if told is None else told.append, time.monotonic())


@pytest.fixture(scope="module")
def raced(tmp_path_factory, task):
    """A race that nobody interrupted, and its events."""
    path, told = tmp_path_factory.mktemp("races") / "whole", []
    Race(contest(path, task, told=told)).run()
    return path, told


def story(path):
    """Everything of a race that must not depend on how often it was interrupted."""
    document = read_sealed(path / "race.json")
    arms = [{**arm, "spent": {**arm["spent"], "seconds": 0}} for arm in document["arms"]]
    spent_by_others = {**document["spent_by_others"], "seconds": 0}
    return {**document, "arms": arms, "spent_by_others": spent_by_others, "seconds": 0}


@pytest.mark.slow
def test_the_recipe_that_learns_wins(raced):
    path, told = raced
    document = read_sealed(path / "race.json")
    assert document["winner"] == 1
    assert document["adopted"]
    assert Recipe.from_json(read_sealed(path / "recipe.json")) == GOOD
    assert [event["arm"] for event in told if event["kind"] == "winner"] == [1]


@pytest.mark.slow
def test_a_recipe_that_diverges_is_given_up(raced):
    path, _ = raced
    wild = read_sealed(path / "race.json")["arms"][2]
    good = read_sealed(path / "race.json")["arms"][1]
    assert wild["spent"]["images"] < good["spent"]["images"]


def test_no_more_is_spent_on_the_race_than_its_share(raced):
    path, _ = raced
    document = read_sealed(path / "race.json")
    images = [arm["spent"]["images"] for arm in document["arms"]]
    # A slice ends with the step that reaches its end.
    assert sum(images) <= BUDGET.images * SHARE + document["slices"] * GOOD.batch
    assert document["spent_by_others"]["images"] == sum(images) - images[1]


@pytest.mark.slow
def test_the_winner_gets_the_rest_and_the_cost_counts_everybody(raced):
    path, _ = raced
    generator = resume(path)
    assert generator.recipe == GOOD
    assert generator.result["cost"]["images"] == pytest.approx(BUDGET.images, abs=64)
    assert load(path).sample(2).shape == (2, 8, 8, 1)


def test_every_event_says_whose_it_is_and_how_far_the_race_is(raced):
    _, told = raced
    chunks = [event for event in told if event["kind"] == "chunk"]
    assert {event["arm"] for event in chunks} <= {0, 1, 2}
    shares = [event["share"] for event in chunks]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    for event in told:
        if event["kind"] == "samples":
            assert event["path"].startswith("trials/")


class Killed(BaseException):
    """Stands for a kill: nothing after it runs."""


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(6))
def test_a_race_that_is_killed_anywhere_goes_on_as_if_nothing_had_been(raced, task, tmp_path, kill, monkeypatch):
    path, _ = raced
    kills = {0: ("write", 2), 1: ("write", 5), 2: ("_save", 3), 3: ("_save", 9), 4: ("_perform", 6), 5: ("_adopted", 1)}
    name, count = kills[kill]
    run, calls = tmp_path / "run", []

    def dying(function):
        def call(self, *arguments, **entries):
            if name == "write" and arguments[0] != DOCUMENT:
                return function(self, *arguments, **entries)
            calls.append(name)
            if len(calls) > count and len(calls) <= count + 1:
                raise Killed
            return function(self, *arguments, **entries)

        return call

    with monkeypatch.context() as patched:
        if name == "write":
            patched.setattr(RunFolder, "write", dying(RunFolder.write))
        elif name == "_adopted":
            count = 0
            patched.setattr(Race, "_adopt", dying(Race._adopt))
        else:
            patched.setattr(Loop, name, dying(getattr(Loop, name)))
        with pytest.raises(Killed):
            Race(contest(run, task)).run()
    Race(contest(run, task)).run()
    assert story(run) == story(path)
    for file in ("events.jsonl", "recipe.json"):
        assert (run / file).is_file()
    ours, theirs = resume(run), resume(path)
    np.testing.assert_array_equal(ours.sample(8), theirs.sample(8))


def test_ctrl_c_names_the_run_and_not_the_trial(task, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_perform", interrupted)
        with pytest.raises(Interrupted, match=f"mulligan resume {run}$"):
            Race(contest(run, task)).run()
    assert not read_sealed(run / "race.json")["adopted"]


def test_where_every_arm_fails_the_sentence_says_why(task, tmp_path):
    impossible = Recipe(architecture=SMALL, dynamics="simultaneous", disc_steps=2)
    arms = (Arm(impossible, 0.5, "one"), Arm(impossible, 0.5, "other"))
    with pytest.raises(MulliganError, match=r"every recipe failed.*set disc_steps to 1"):
        Race(contest(tmp_path / "run", task, arms)).run()


@pytest.mark.slow
def test_where_every_arm_diverges_the_run_ends_with_the_reason_and_the_best_there_was(task, tmp_path):
    deep = dataclasses.replace(SMALL, disc_depth=4)  # at such rates the slopes overflow
    wild = [dataclasses.replace(recipe(rate), architecture=deep) for rate in (1e6, 9e5)]
    run, arms = tmp_path / "run", (Arm(wild[0], 0.5, "one"), Arm(wild[1], 0.5, "other"))
    Race(contest(run, task, arms)).run()
    generator = resume(run)
    assert generator.sample(4).shape == (4, 8, 8, 1)
    reasons = [event.reason for event in RunFolder(run).events(RolledBack)]
    assert reasons
    assert all("finite" in reason for reason in reasons)


def test_an_arm_that_fails_does_not_end_the_race(task, tmp_path):
    impossible = Recipe(architecture=SMALL, dynamics="simultaneous", disc_steps=2)
    Race(contest(tmp_path / "run", task, (Arm(impossible, 0.9, "one"), Arm(GOOD, 0.1, "other")))).run()
    document = read_sealed(tmp_path / "run" / "race.json")
    assert document["winner"] == 1
    assert "set disc_steps to 1" in document["arms"][0]["ended"]


@pytest.mark.slow
def test_a_race_against_the_clock_keeps_its_budget(raced, task, tmp_path, monkeypatch):
    seconds = clock_of_its_own(monkeypatch)
    Race(contest(tmp_path / "run", task, budget=Budget(None, 3.0))).run()
    generator = resume(tmp_path / "run")
    assert 2.4 < seconds[0] < 3.2
    document = read_sealed(tmp_path / "run" / "race.json")
    assert generator.result["cost"]["seconds"] >= document["spent_by_others"]["seconds"] > 0.5


def test_race_json_is_what_the_documentation_says(raced):
    document = read_sealed(raced[0] / "race.json")
    assert set(document) == {
        "format", "allocation", "workers", "lanes", "slices", "arms", "decisions", "done", "winner", "adopted",
        "seconds", "spent_by_others",
    }  # fmt: skip
    assert set(document["arms"][0]) == {"recipe", "weight", "origin", "forecast", "spent", "ended"}
    assert set(document["decisions"][0]) == {"arms", "won", "weights", "predicted", "alive", "until"}


# --- what an arm is expected to end with


def point(flops, energy):
    return Point(int(flops), flops, 0.0, {"energy": energy})


def expected_end(course, seen, flops):
    [end] = predict_final([ArmHistory(course, seen, flops)])
    return end


@pytest.mark.parametrize("course", [None, ForecastCurve((1e6, 1e9), (0.0, -3.0))])
def test_arms_are_compared_by_what_selects_with_and_without_a_forecast(course):
    figures = [{"kid": kid, "energy": energy} for kid, energy in ((0.1, 2.0), (0.4, 1.0))]
    arms = [ArmHistory(course, [Point(1, 1e6, 0.0, each)], 1e6) for each in figures]
    first, second = predict_final(arms)
    assert first > second


def test_a_curve_without_a_forecast_is_continued():
    assert expected_end(None, (), 1e9) is None
    end = expected_end(None, [point(1e6, 0.1)], 4e6)
    assert end == pytest.approx(math.log(0.1) - 0.5 * math.log(4))


def test_a_curve_below_its_forecast_is_expected_to_end_below_it():
    course = ForecastCurve((1e6, 1e9), (0.0, -3.0))
    assert expected_end(course, [point(1e6, 0.5)], 1e9) < -3.0
    assert expected_end(course, [point(1e6, 2.0)], 1e9) > -3.0


def test_a_deviation_counts_for_more_the_less_there_is_to_come():
    course = ForecastCurve((1e6, 1e9), (0.0, 0.0))
    ends = [expected_end(course, [point(1e6, 2.0)], flops) for flops in (1e6, 1e7, 1e8)]
    assert ends == sorted(ends, reverse=True)
    assert ends[0] == pytest.approx(math.log(2.0))


def test_what_was_reached_stays_reached():
    course = ForecastCurve((1e6, 1e9), (-4.0, 0.0))
    assert expected_end(course, [point(1e6, 0.01), point(2e6, 5.0)], 1e9) == pytest.approx(math.log(0.01))


def test_an_arm_that_has_hardly_begun_profits_from_what_another_shows_of_the_task():
    course = ForecastCurve((1e6, 1e9), (1.0, -3.0))
    easy = ArmHistory(course, [point(9e8, math.exp(-5.0))], 1e9)
    begun = ArmHistory(course, [point(1e6, math.exp(1.0))], 1e9)
    shown, hoped = predict_final([easy, begun])
    assert shown < hoped < -3.5
    worse = begun._replace(forecast=ForecastCurve((1e6, 1e9), (3.0, -1.0)))
    assert predict_final([easy, worse])[1] > hoped + 1.5
