"""Fit as a whole: asks the experience, races, remembers; and goes on without where the experience cannot be used."""

import dataclasses
import json
import re
import sqlite3

import numpy as np
import pytest
from made_up import write_experience
from quick import quick_of

from mulligan.documents import read_json
from mulligan.errors import Interrupted, MulliganError, Terminated, UsageError
from mulligan.events import FinalScored, RolledBack
from mulligan.meta import planning
from mulligan.meta.experience import NONE, Experience, read
from mulligan.meta.fit import _free_folder, fit, resume
from mulligan.meta.planning import Options, examine
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.record_run import trials
from mulligan.meta.race.warm_start import RacePlan, plan_race
from mulligan.meta.store.record import DONE, FAILED
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe
from mulligan.report.page import write_report
from mulligan.report.race import explain
from mulligan.schedules.learned import SHIPPED
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget
from mulligan.training.run import RunFolder

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
TINY = Recipe(SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3))
SHORT = Budget(8_000, None)


@pytest.fixture(scope="module")
def task():
    return read_task("digits")


def told_by(data, budget, **entries):
    """The generator of a run, and its events."""
    told = []
    return fit(data, budget, Options(listener=told.append, **entries)), told


def kinds(told):
    return {event["kind"] for event in told}


IMPOSSIBLE = {
    "no such place for attention": (
        dataclasses.replace(TINY, architecture=dataclasses.replace(SMALL, attention=True)),
        "attention",
    ),
    "weights of other networks": (dataclasses.replace(TINY, init="families-1"), "families-1"),
    "more memory than there is": (
        dataclasses.replace(TINY, architecture=dataclasses.replace(SMALL, gen_width=4096, gen_depth=16), opponents=64),
        "it needs about",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_recipe_that_was_asked_for_is_examined_before_there_is_a_run(tmp_path, task, case, monkeypatch):
    recipe, words = IMPOSSIBLE[case]
    monkeypatch.setattr(planning, "memory_bytes", lambda: 2.0**30)
    with pytest.raises(MulliganError, match=words):
        examine(recipe, task)
    with pytest.raises(MulliganError, match=words):
        fit("digits", SHORT, Options(out=tmp_path / "run", recipe=recipe, experience=NONE))
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_can_be_trained_passes(task, monkeypatch):
    examine(TINY, task)
    monkeypatch.setattr(planning, "refusal", lambda *_: "it is another's.")
    with pytest.raises(MulliganError, match="cannot be trained on digits: it is another's"):
        examine(TINY, task)
    own = dataclasses.replace(SMALL, family="keras", models="{}")
    monkeypatch.setattr(planning, "check", lambda *_: None)  # whose cost is not known: they are the caller's own
    monkeypatch.setattr(planning, "make_game", lambda *_, **__: None)
    examine(dataclasses.replace(TINY, architecture=own), task)


def test_a_run_is_remembered_as_a_trial(tmp_path, task):
    place = str(tmp_path / "mine.db")
    fit("digits", SHORT, Options(out=tmp_path / "run", recipe=TINY, experience=place))
    [found] = Experience(place).trials()
    assert (found.task, found.recipe, found.seed, found.status) == (task.hash, TINY, 0, DONE)
    assert found.curve[-1].nimg == pytest.approx(8_000, abs=32)
    assert found.cost["flops"] == found.curve[-1].flops
    evaluations = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    kids = [event["kid"] for event in evaluations if event["kind"] == "evaluation"]
    assert [point.figures["kid"] for point in found.curve] == [float(f"{kid:.5g}") for kid in kids]
    assert not list(Experience(place).problems())


@pytest.mark.parametrize(
    ("own", "strategy", "schedule"),
    quick_of(
        [
            ({}, "fork", SHIPPED[-1]),
            ({}, "switch", ""),
            ({"learned_schedule": SHIPPED[0]}, "fork", SHIPPED[0]),
            ({"gap_aware": True}, "fork", ""),
            ({"schedules": (("gen_lr", Form("cosine")),)}, "fork", ""),
        ],
        ({}, "fork", SHIPPED[-1]),
    ),
)
def test_forks_come_with_the_learned_schedule_unless_the_recipe_has_one(tmp_path, own, strategy, schedule):
    recipe = dataclasses.replace(TINY, **own)
    options = Options(out=tmp_path / "run", recipe=recipe, experience=NONE, strategy=strategy)
    fit("digits", Budget(64, None), options)
    assert Recipe.from_json(RunFolder.open(tmp_path / "run").document("recipe")) == dataclasses.replace(
        recipe, strategy=strategy, learned_schedule=schedule
    )


def test_resuming_a_run_that_has_ended_remembers_nothing_twice(tmp_path):
    place = str(tmp_path / "mine.db")
    fit("digits", SHORT, Options(out=tmp_path / "run", recipe=TINY, experience=place))
    resume(tmp_path / "run")
    assert len(list(Experience(place).trials())) == 1


def test_without_an_experience_nothing_is_asked_and_nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_EXPERIENCE", str(tmp_path / "mine.db"))
    _, told = told_by("digits", SHORT, out=tmp_path / "run", recipe=TINY, experience=NONE)
    assert not (tmp_path / "mine.db").exists()
    assert not kinds(told) & {"forgotten"}


def test_what_the_guard_did_is_not_the_recipes_merit(tmp_path, task, monkeypatch):
    seen = []

    def judged(progress, health):
        seen.append(progress.nimg)
        return progress, "made up" if len(seen) == 3 else None

    monkeypatch.setattr("mulligan.training.guard.judge", judged)
    fit("digits", SHORT, Options(out=tmp_path / "run", recipe=TINY, experience=NONE))
    folder = RunFolder(tmp_path / "run")
    [found] = trials(folder, task)
    [guarded] = folder.events(RolledBack)
    assert (found.status, found.reason) == (FAILED, "made up")
    assert found.curve
    assert found.curve[-1].nimg <= guarded.back_to_nimg


def test_an_experience_is_followed_where_it_is_clear(tmp_path, task, monkeypatch):
    """On every task of the experience one recipe is far better than the default: it is what is proposed."""
    monkeypatch.setattr("mulligan.meta.store.exchange.shipped_file", lambda: None)
    place = str(tmp_path / "mine.db")
    write_experience(place, better=TINY)
    plan = plan_race(task, Budget(32_000, None), place, seed=0)
    assert plan.arms[0].recipe == TINY
    assert plan.trials == len(read(place).trials)
    assert plan.expected is not None
    median, low, high = plan.expected
    assert low <= median <= high
    assert plan.nearest


def test_with_nothing_to_go_by_the_default_is_trained_and_nothing_promised(task):
    plan = plan_race(task, Budget(32_000, None), NONE, seed=0)
    assert len(plan.arms) == 1
    assert plan.arms[0].origin == "the default"
    assert (plan.expected, plan.saving, plan.nearest) == (None, None, ())


def test_long_budgets_race_with_a_mutation_and_a_recipe_from_the_whole_space(task):
    arms = plan_race(task, Budget(1_200_000, None), NONE, seed=0).arms
    origins = [arm.origin for arm in arms]
    assert origins[0] == "the default"
    assert any("mutation" in origin for origin in origins)
    assert any("whole space" in origin for origin in origins)
    assert len({arm.recipe for arm in arms}) == len(arms)
    again = plan_race(task, Budget(1_200_000, None), NONE, seed=0).arms
    assert [arm.recipe for arm in arms] == [arm.recipe for arm in again]


def damaged(tmp_path):
    path = tmp_path / "mine.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    return str(path)


def newer(tmp_path):
    place = str(tmp_path / "mine.db")
    Experience(place)
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE about SET version = 99")
    return place


def locked(tmp_path):
    """Another writer's transaction is open, for as long as the test lasts."""
    place = str(tmp_path / "mine.db")
    Experience(place)
    holder = sqlite3.connect(place)
    holder.execute("BEGIN IMMEDIATE")
    OPEN.append(holder)
    return place


def read_only(tmp_path):
    """As on a disk that cannot be written: permissions do not bind an administrator, SQLite's own mode does."""
    Experience(tmp_path / "mine.db")
    return f"sqlite:///file:{tmp_path / 'mine.db'}?mode=ro&uri=true"


def unreachable(tmp_path):
    return "postgresql://nobody@127.0.0.1:1/none"


OPEN: list[sqlite3.Connection] = []


@pytest.mark.slow
@pytest.mark.parametrize("make", quick_of([damaged, newer, locked, unreachable], damaged))
def test_an_experience_that_cannot_be_used_is_said_and_done_without(tmp_path, make, monkeypatch):
    monkeypatch.setattr("mulligan.meta.store.connections.PATIENCE_SECONDS", 0.1)
    place = make(tmp_path)
    generator, told = told_by("digits", Budget(1_000, None), out=tmp_path / "run", experience=place)
    [plan] = [event for event in told if event["kind"] == "plan"]
    assert plan["trouble"].endswith(".")
    assert "forgotten" in kinds(told)
    assert generator.sample(1).shape == (1, 8, 8, 1)
    while OPEN:
        OPEN.pop().close()


@pytest.mark.slow
def test_an_experience_on_a_disk_that_cannot_be_written_is_read_and_not_added_to(tmp_path):
    place = read_only(tmp_path)
    generator, told = told_by("digits", Budget(1_000, None), out=tmp_path / "run", experience=place)
    [forgotten] = [event for event in told if event["kind"] == "forgotten"]
    assert "readonly" in forgotten["reason"]
    assert not read(tmp_path / "mine.db").trials
    assert generator.sample(1).shape == (1, 8, 8, 1)


@pytest.mark.slow
def test_a_task_too_small_to_split_is_judged_by_its_training_images_and_not_remembered(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    place = str(tmp_path / "mine.db")
    _, told = told_by(images, Budget(2_000, None), out=tmp_path / "run", recipe=TINY, experience=place)
    assert {event["split"] for event in told if event["kind"] == "evaluation"} == {"train"}
    assert not (tmp_path / "mine.db").exists()


def test_a_recipe_that_does_not_fit_is_never_proposed(tmp_path, task, monkeypatch):
    """It is the best by far in the experience, and would see next to nothing for the operations of the budget."""
    monkeypatch.setattr("mulligan.meta.store.exchange.shipped_file", lambda: None)
    huge = Recipe(Architecture(gen_width=512, disc_width=512))
    place = str(tmp_path / "mine.db")
    write_experience(place, better=huge)
    [arm] = plan_race(task, Budget(32_000, None), place, seed=0).arms
    assert arm.recipe != huge


def test_no_allocation_of_that_name_is_one_sentence(tmp_path, monkeypatch):
    arms = plan_race(read_task("digits"), Budget(1_200_000, None), NONE, 0).arms
    monkeypatch.setattr("mulligan.meta.planning.plan_race", lambda *arguments: RacePlan(arms))
    with pytest.raises(UsageError, match="unknown allocation 'coin'"):
        fit("digits", SHORT, Options(out=tmp_path / "run", allocation="coin"))


def test_a_fit_that_races_ends_with_one_generator_remembers_every_arm_and_explains_itself(tmp_path, task, monkeypatch):
    other = Recipe(SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=1e-6, disc_lr=1e-6))
    arms = (Arm(TINY, 0.6, "a good idea"), Arm(other, 0.4, "the default"))
    monkeypatch.setattr("mulligan.meta.planning.plan_race", lambda *arguments: RacePlan(arms))
    place = str(tmp_path / "mine.db")
    generator, told = told_by("digits", Budget(40_000, None), out=tmp_path / "run", experience=place)
    assert generator.recipe == TINY
    assert {"plan", "slice", "winner", "final"} <= kinds(told)
    found = {trial.recipe: trial for trial in Experience(place).trials()}
    assert set(found) == {TINY, other}
    assert found[other].reason == "stopped: it lost the race"
    assert 25_000 < sum(trial.cost["images"] for trial in found.values()) <= 40_000
    lines = explain(tmp_path / "run")
    assert "2 recipes raced" in lines[0]
    assert any("a good idea" in line for line in lines)
    assert "won" in lines[2]
    assert "it lost the race" in lines[4]
    text = write_report(tmp_path / "run").read_text()
    assert 'id="race"' in text
    assert "a good idea" in text
    np.testing.assert_array_equal(resume(tmp_path / "run").sample(4), generator.sample(4))
    assert read_json(tmp_path / "run" / "run.json")["experience"] == place


# --- what a run survives


COMPILING, FINISHING = "mulligan.training.session.compile_engine", "mulligan.meta.fit.finish"
SIGNALS = [(moment, stop) for moment in (COMPILING, FINISHING) for stop in (KeyboardInterrupt(), Terminated(15))]


@pytest.mark.parametrize(("moment", "stop"), quick_of(SIGNALS, SIGNALS[3]))
def test_a_signal_while_it_compiles_or_finishes_is_told_as_any_other(tmp_path, monkeypatch, moment, stop):
    def interrupted(*_):
        raise stop

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(moment, interrupted)
        with pytest.raises(Interrupted, match=f"saved; to go on: mulligan resume {run}$") as stopped:
            fit("digits", Budget(320, None), Options(out=run, recipe=TINY, experience=NONE))
    assert stopped.value.number == (15 if isinstance(stop, Terminated) else 2)
    assert resume(run).result["cost"]["images"] == 320


def test_the_second_resume_of_a_run_is_refused(tmp_path):
    run = tmp_path / "run"
    refused = []

    def again(event):
        if event["kind"] == "chunk" and not refused:
            with pytest.raises(MulliganError, match="another process is training") as error:
                resume(run)
            refused.append(error)

    fit("digits", Budget(320, None), Options(out=run, recipe=TINY, experience=NONE, listener=again))
    assert refused
    assert len(RunFolder(run).events(FinalScored)) == 1


def test_two_runs_that_begin_at_once_take_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(_free_folder("my photos")) for _ in range(3)] == [f"runs/my-photos{end}" for end in ("", "-2", "-3")]


def test_a_user_without_a_home_is_told_that_nothing_is_remembered(tmp_path, monkeypatch):
    monkeypatch.delenv("MULLIGAN_EXPERIENCE")
    monkeypatch.setattr("mulligan.meta.experience.data_folder", lambda: None)
    _, told = told_by("digits", Budget(64, None), out=tmp_path / "run", recipe=TINY)
    assert [event["text"] for event in told if event["kind"] == "note"] == [
        "this run will not be remembered: this user has no home folder, so set MULLIGAN_EXPERIENCE to a file"
    ]
    assert RunFolder(tmp_path / "run").document("run")["experience"] == NONE


@pytest.mark.slow
@pytest.mark.parametrize(("count", "init", "named"), [(150, None, "families-1"), (150, NONE, ""), (300, None, "")])
def test_few_images_of_common_sizes_begin_with_learned_weights_unless_asked_not_to(tmp_path, count, init, named):
    images = np.random.default_rng(0).integers(0, 256, (count, 24, 24, 3), np.uint8)
    options = {"out": tmp_path / "run", "init": init, "experience": NONE}
    _, told = told_by(images, Budget(128, None), **options)
    assert read_json(tmp_path / "run" / "recipe.json").get("init", "") == named
    said = [event["text"] for event in told if event["kind"] == "note"]
    assert any("13 families" in text for text in said) == bool(named)


@pytest.mark.parametrize(
    ("budget", "share", "told"), [(Budget(None, 0.5), 1e3, 1), (Budget(None, 0.5), 0.0, 0), (Budget(320, None), 1e3, 0)]
)
def test_a_run_whose_seconds_went_into_compiling_tells_how_to_train_more(tmp_path, monkeypatch, budget, share, told):
    monkeypatch.setattr("mulligan.meta.fit.TRAINED", share)  # however fast the machine
    _, events = told_by("digits", budget, out=tmp_path / "run", recipe=TINY, experience=NONE)
    notes = [event["text"] for event in events if event["kind"] == "note"]
    assert len(notes) == told
    for note in notes:
        assert re.match(r"training had only \d+ of 0.5 seconds: ", note)
        assert note.endswith(f"mulligan resume {tmp_path / 'run'} --time +0.5s")
