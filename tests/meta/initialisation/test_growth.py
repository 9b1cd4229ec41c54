"""Runs that begin on images of half the size: when, what becomes of their networks, and that nothing is lost."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from small_runs import assert_same_end, events

from mulligan.errors import MulliganError
from mulligan.events import TrainingStarted
from mulligan.meta import fit as module
from mulligan.meta.experience import NONE, Experience
from mulligan.meta.fit import fit, resume
from mulligan.meta.initialisation import growth
from mulligan.meta.initialisation.growth import Growth
from mulligan.meta.planning import Options, plan_run
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.warm_start import BY_LAW, RacePlan
from mulligan.meta.space.default import default_recipe, half_sized
from mulligan.networks.architecture import build
from mulligan.networks.growing import grow
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.collection import Collection
from mulligan.tasks.streaming import StreamedImages
from mulligan.tasks.task import make_task
from mulligan.training import checkpoint
from mulligan.training.budget import Budget
from mulligan.training.generator import load
from mulligan.training.run import RunFolder

BUDGET = Budget(640, None)
TINY = Recipe(
    Architecture(gen_width=2, disc_width=2, latent=4, resampling="folded", kernel=3),
    batch=32,
    hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3),
)
LONG = Budget(None, 300.0)


of = Growth.of  # as it is where runs are made as small as tests need them


def task_of(shape):
    return make_task("noise", Collection(np.random.default_rng(0).integers(0, 256, (12, *shape)).astype(np.uint8)))


def recipe_of(shape):
    return default_recipe(shape, 1000, LONG)


@pytest.mark.parametrize("shape", [(64, 64, 3), (48, 48, 3), (64, 40, 1), (36, 36, 3), (96, 96, 3)])
def test_runs_on_large_images_can_begin_on_small_ones(shape):
    found = of(recipe_of(shape), task_of(shape))
    assert found.recipe == half_sized(recipe_of(shape), shape)
    assert f"{shape[1] // 2}x{shape[0] // 2}" in found.text
    # Networks of exactly those layers: these can be grown.
    small = build(found.recipe.architecture, (shape[0] // 2, shape[1] // 2, shape[2]), 0, jax.random.key(0))
    grow(small, build(recipe_of(shape).architecture, shape, 0, jax.random.key(0)), 0.5)


def test_the_small_networks_follow_the_law_of_sizes():
    small, law = half_sized(recipe_of((64, 64, 3)), (64, 64, 3)), recipe_of((32, 32, 3))
    for name in ("gen_lr", "disc_lr", "gamma", "augment"):
        assert getattr(small.hyperparameters, name) == pytest.approx(getattr(law.hyperparameters, name))
    assert small.schedules == law.schedules


CANNOT = {
    "halved five times": ((128, 128, 3), {}, "128x128, which are halved more than four times"),
    "small": ((32, 32, 3), {}, "both sides are even and at least 34, and these are 32x32"),
    "odd": ((63, 64, 3), {}, "both sides are even and at least 34, and these are 64x63"),
    "of a strategy": ((64, 64, 3), {"strategy": "fork"}, "leave out `strategy`"),
    "of other networks": ((64, 64, 3), {"architecture": Architecture()}, "the resampling 'folded'"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_other_runs_cannot_and_say_why(case):
    shape, changed, why = CANNOT[case]
    recipe = dataclasses.replace(recipe_of(shape), **changed)
    with pytest.raises(MulliganError, match=why):
        of(recipe, task_of(shape))


def test_images_that_stream_or_are_too_many_cannot_be_halved(monkeypatch):
    recipe, task = recipe_of((64, 64, 3)), task_of((64, 64, 3))
    elsewhere = StreamedImages((64, 64, 3), lambda index: np.zeros((64, 64, 3), np.uint8), np.arange(12))
    streamed = dataclasses.replace(task, collection=dataclasses.replace(task.collection, images=elsewhere))
    with pytest.raises(MulliganError, match="all images are in memory"):
        of(recipe, streamed)
    monkeypatch.setattr(growth, "MOST_BYTES", 10 * 64 * 64 * 3)
    with pytest.raises(MulliganError, match="give a smaller `size`"):
        of(recipe, task)


@pytest.mark.parametrize("images", [100, 1000])
def test_who_asks_for_small_images_gets_the_default_recipe(images):
    task = make_task(
        "noise", Collection(np.random.default_rng(0).integers(0, 256, (images, 64, 64, 3)).astype(np.uint8))
    )
    plan = plan_run(task, LONG, Options(init="small", experience=NONE), None)
    assert [arm.recipe for arm in plan.arms] == [default_recipe(task.shape, len(task.train), LONG)]
    assert of(plan.arms[0].recipe, task)


@pytest.fixture(scope="module", autouse=True)
def by_law():
    """Runs train a tiny recipe as if the law had chosen it, and can begin on small images whatever their own size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "plan_run", lambda *_: RacePlan((Arm(TINY, 1.0, BY_LAW),)))
        patch.setattr(Growth, "of", staticmethod(lambda *_: Growth(half_sized(TINY, (16, 16, 1)), 0.35, "small first")))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (700, 16, 16, 1)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run that nothing interrupted, what it told, and where it is remembered."""
    told, place = [], tmp_path_factory.mktemp("runs")
    options = Options(out=place / "run", init="small", listener=told.append, experience=str(place / "mine.db"))
    fit(str(images), BUDGET, options)
    return place / "run", told, place / "mine.db"


def test_what_small_images_taught_begins_the_run(whole):
    run, _, _ = whole
    saved, _ = checkpoint.newest(run / "growth" / "checkpoints")
    fresh_small = build(half_sized(TINY, (16, 16, 1)).architecture, (8, 8, 1), 0, jax.random.key(0))
    gen, disc = (
        checkpoint.restored(each, saved.arrays, f"state.{name}") for name, each in fresh_small._asdict().items()
    )
    grown = grow(
        type(fresh_small)(gen, disc), build(TINY.architecture, (16, 16, 1), 0, jax.random.key(0)), growth.FRESH
    )
    players = checkpoint.read(run / "players.safetensors").arrays
    for name, array in checkpoint.arrays_of(grown, "players").items():
        np.testing.assert_allclose(players[name], array, rtol=1e-5, atol=1e-6)


def test_what_it_took_is_counted_once(whole):
    run, _, _ = whole
    spent = RunFolder.open(run).document("growth")["spent"]
    assert spent["images"] == 224
    [final] = events(run, "final")
    assert final["cost"]["images"] == 640
    assert events(run, "stop")[-1]["nimg"] == 416
    assert final["cost"]["flops"] > spent["flops"] > 0
    assert load(run).sample(2, seed=0).shape == (2, 16, 16, 1)


def test_listeners_hear_of_both_parts_as_of_one_run(whole):
    run, told, _ = whole
    assert [event["text"] for event in told if event["kind"] == "note"][-1] == "small first"
    heard = [event for event in told if "share" in event]
    assert {event["run"] for event in heard if "run" in event} == {str(run)}
    assert [event.get("small", False) for event in heard if event["kind"] == "start"] == [True, False]
    shares = [event["share"] for event in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for event in heard:
        if event["kind"] == "samples":
            assert (run / event["path"]).is_file()


def test_it_is_remembered_without_a_trial(whole):
    run, _, place = whole
    assert list(Experience(str(place)).trials()) == []
    assert [path for path, _ in Experience(str(place)).runs()] == [run.absolute()]


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_run_that_was_interrupted_in_either_part_ends_the_same(whole, images, tmp_path, small):
    def stop(event):
        if event["kind"] == "chunk" and event.get("small", False) is small:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(str(images), BUDGET, Options(out=run, init="small", listener=stop, experience=NONE))
    if small:
        with pytest.raises(MulliganError, match=f"{run} still trains on small images within the budget"):
            resume(run, more=Budget(320, None))
    resume(run)
    assert_same_end(run, whole[0])


@pytest.mark.slow
def test_a_first_part_that_was_killed_before_it_was_a_run_begins_again(whole, images, tmp_path):
    run = shutil.copytree(whole[0], tmp_path / "run")
    (run / "growth" / "run.json").unlink()
    (run / "generator.json").unlink()
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    folder = RunFolder.open(run)
    folder.write("growth", folder.document("growth") | {"spent": None})
    resume(run)
    assert_same_end(run, whole[0])
    assert len(RunFolder(run / "growth").events(TrainingStarted)) == 1


@pytest.mark.slow
def test_where_the_guard_gave_up_the_run_begins_afresh(images, tmp_path, monkeypatch):
    plain = growth.Loop.train

    def train(loop, *others):
        plain(loop, *others)
        loop.now = loop.now._replace(progress=dataclasses.replace(loop.now.progress, code="guard"))

    with monkeypatch.context() as patch:
        patch.setattr(growth, "Loop", type("Given", (growth.Loop,), {"train": train}))
        fit(str(images), BUDGET, Options(out=tmp_path / "run", init="small", experience=NONE))
    assert not (tmp_path / "run" / "players.safetensors").exists()
    assert RunFolder.open(tmp_path / "run").document("growth")["spent"]["images"] == 224


def test_who_asks_for_nothing_gets_none_of_it(images, tmp_path):
    fit(str(images), Budget(64, None), Options(out=tmp_path / "run", experience=NONE))
    assert not growth.began_small(RunFolder.open(tmp_path / "run"))
