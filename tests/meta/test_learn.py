"""Gathering experience: trials, what is tried next, workers that are killed."""

import multiprocessing
import sys
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from mulligan.errors import MulliganError, UsageError
from mulligan.meta.collect import trial as trial_module
from mulligan.meta.collect.executors import RayCluster, executor
from mulligan.meta.collect.proposals import LONGER_SEED, propose_trials, recipe_at
from mulligan.meta.collect.trial import TrialSpec, pool, run_trial
from mulligan.meta.collect.worker import assignment_of
from mulligan.meta.experience import Experience
from mulligan.meta.learn import CollectConfig, learn
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.default import default_recipe, handmade_recipe, textbook_recipe
from mulligan.meta.space.fidelity import reference_flops, rungs
from mulligan.meta.store.record import DONE, FAILED, Point, Trial
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.collection import Collection
from mulligan.tasks.images import read_task
from mulligan.tasks.task import make_task
from mulligan.training.budget import Budget

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
DEEP = replace(SMALL, gen_depth=8, disc_depth=8)
TINY = Recipe(SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3))
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def digits():
    return read_task("digits")


@pytest.fixture
def tiny_recipes(monkeypatch):
    """A sequence of recipes that compile at once."""
    sequence = [Recipe(SMALL, batch=batch) for batch in (16, 32, 64)]
    monkeypatch.setattr("mulligan.meta.collect.proposals.recipe_at", lambda index, task, images: sequence[index % 3])


def fake(assignment: TrialSpec, energy: float | None, status: str = DONE) -> Trial:
    curve = (Point(100, 1e9, 1.0, {"energy": energy}),)
    recipe, task = assignment.recipe.to_json(), assignment.task.hash
    return Trial(task, recipe, assignment.seed, assignment.budget, status, None, {}, curve, "0", 1, "cpu", "now")


@pytest.mark.slow
def test_a_trial_has_a_curve_at_the_same_operations_for_all_recipes(digits):
    trials = [run_trial(TrialSpec(digits, recipe, 0, 4000)) for recipe in (TINY, Recipe(SMALL, batch=16))]
    for found in trials:
        assert (found.status, found.reason) == (DONE, None)
        assert len(found.curve) == len(rungs(4000))
        assert found.cost["flops"] == found.curve[-1].flops
        assert [point.nimg for point in found.curve] == sorted({point.nimg for point in found.curve})
        assert all(np.isfinite(list(point.figures.values())).all() for point in found.curve)
    for one, other in zip(*(found.curve for found in trials), strict=True):
        assert one.flops == pytest.approx(other.flops, rel=0.05)


def test_a_longer_trial_goes_through_the_points_of_a_shorter_one(digits):
    short, long = (run_trial(TrialSpec(digits, TINY, 0, images)) for images in (2000, 4000))
    assert [point.figures for point in short.curve] == [point.figures for point in long.curve[: len(short.curve)]]
    again = run_trial(TrialSpec(digits, TINY, 1, 2000))
    assert again.curve[-1].figures["energy"] != short.curve[-1].figures["energy"]


def test_budgets_are_met_up_to_a_step(digits):
    recipe = Recipe(Architecture(gen_width=8, disc_width=8), batch=16, disc_steps=2)
    found = run_trial(TrialSpec(digits, recipe, 0, 1000))
    step = 32 * footprint(recipe, digits.shape).flops_per_image
    assert abs(found.cost["flops"] - reference_flops(digits.shape, 1000)) <= step


def test_a_cheap_recipe_does_not_see_images_without_end(digits):
    cheap = Recipe(Architecture("mlp", 4, 4, 1, 1, latent=2), penalty="none", batch=64)
    found = run_trial(TrialSpec(digits, cheap, 0, 1000))
    assert found.cost["images"] <= trial_module.MOST_IMAGES * 1000 + 64


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (Recipe(DEEP, hyperparameters=Hyperparameters(gen_lr=1e6, disc_lr=1e6)), "no longer finite"),
        (Recipe(SMALL, dynamics="simultaneous", disc_steps=2), "disc_steps"),
    ],
)
def test_failures_are_trials(digits, recipe, reason):
    found = run_trial(TrialSpec(digits, recipe, 0, 2000))
    assert found.status == FAILED
    assert reason in found.reason
    assert found.id == Trial.from_json(found.to_json()).id


def test_a_limit_of_time_ends_a_trial_without_failing_it(digits):
    found = run_trial(TrialSpec(digits, TINY, 0, 64_000, seconds=0.0))
    assert found.status == DONE
    assert "stopped at the limit" in found.reason
    assert len(found.curve) < len(rungs(64_000))


def test_the_pool_has_one_shape_for_all_tasks_and_repeats_evenly():
    rng = np.random.default_rng(0)
    tasks = [make_task("t", Collection(rng.integers(0, 256, (n, 8, 8, 1), np.uint8))) for n in (30, 500)]
    pools = [np.asarray(pool(task).images) for task in tasks]
    assert pools[0].shape == pools[1].shape
    _, times = np.unique(pools[1].reshape(len(pools[1]), -1), axis=0, return_counts=True)
    assert len(times) == len(tasks[1].train)
    assert times.max() - times.min() <= 1


def test_all_tasks_get_the_same_recipes_the_fixed_ones_first(digits):
    other = read_task("digits/3")
    default = default_recipe(digits.shape, len(digits.train), Budget(32_000, None))
    assert recipe_at(0, digits, 32_000) == replace(default, averages=("ema",))
    assert recipe_at(1, digits, 32_000) == textbook_recipe()
    by_hand = handmade_recipe(digits.shape, len(digits.train), Budget(32_000, None))
    assert recipe_at(2, digits, 32_000) == replace(by_hand, averages=("ema",))
    recipes = [recipe_at(index, digits, 32_000) for index in range(3, 30)]
    assert recipes == [recipe_at(index, other, 32_000) for index in range(3, 30)]
    assert len({recipe.hash() for recipe in recipes}) == len(recipes)
    first = [(each.recipe, each.seed) for each in islice(propose_trials(digits, 32_000, [], {}), 4)]
    assert [seed for _, seed in first] == [0, 1, 0, 0]


def test_longer_trials_follow_of_the_fixed_recipes_and_then_of_the_best(digits):
    short = list(islice(propose_trials(digits, 2000, [], {}), 24))
    ended = [fake(each, energy=1.0 - index / 100) for index, each in enumerate(short)]
    ended.append(fake(TrialSpec(digits, TINY, 0, 2000), None, FAILED))
    due = [each for each in islice(propose_trials(digits, 2000, ended, {}), 10) if each.images > 2000]
    assert [each.images for each in due] == [8000] * 4 + [16_000]
    assert all(each.seed == LONGER_SEED for each in due)
    best = list(dict.fromkeys(each.recipe for each in reversed(short)))
    fixed = [recipe_at(index, digits, 2000) for index in range(3)]
    expected = [*fixed, best[0], fixed[0]]
    assert [each.recipe for each in due] == expected


def test_what_did_well_elsewhere_is_tried_before_new_recipes(digits):
    other = read_task("digits/3")
    budgets = {task.hash: reference_flops(task.shape, 2000) for task in (digits, other)}
    common = list(islice(propose_trials(digits, 2000, [], budgets), 10))
    bred = [TrialSpec(other, Recipe(SMALL, batch=batch), 0, 2000) for batch in (16, 32)]
    ended = [fake(replace(each, task=task), energy=1.0) for each in common for task in (digits, other)]
    ended += [fake(bred[0], energy=0.1), fake(bred[1], energy=5.0)]
    taken = {assignment_of(replace(each, task=digits)) for each in common}
    due = (each for each in propose_trials(digits, 2000, ended, budgets) if each.images == 2000)
    fresh = list(islice((each for each in due if assignment_of(each) not in taken), 4))
    assert fresh[0].recipe == bred[0].recipe
    assert bred[1].recipe not in [each.recipe for each in fresh]
    assert len({each.recipe for each in fresh}) == 4


@pytest.mark.slow
def test_learning_fills_the_experience_evenly_and_goes_on_where_it_stopped(tmp_path, tiny_recipes):
    place = str(tmp_path / "x.db")
    told = []
    lessons = CollectConfig(["digits/1", "digits/2"], 600.0, place, images=1000, trials=3)
    done = learn(lessons, told.append)
    assert (done["tasks"], done["trials"], done["failed"], done["place"]) == (2, 3, 0, place)
    assert [event["kind"] for event in told] == ["task"] * 2 + ["trial"] * 3
    learn(lessons)
    counts = Experience(place).counts()
    assert sorted(count["done"] for count in counts.values()) == [3, 3]
    trials = list(Experience(place).trials())
    assert len({each.assignment for each in trials}) == 6
    assert {task.family for task in Experience(place).tasks()} == {"digits"}


def test_no_trial_begins_when_the_time_is_up(tmp_path):
    assert learn(CollectConfig(["digits/1"], -1.0, str(tmp_path / "x.db")))["trials"] == 0


def test_a_source_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(MulliganError, match="did you mean"):
        learn(CollectConfig(["digit"], 1.0, str(tmp_path / "x.db")))


def _learn_on(place: str) -> None:
    learn(CollectConfig(["digits/1"], 600.0, place, images=1000))


@pytest.mark.slow
def test_a_killed_learner_leaves_its_trial_to_the_next(tmp_path, monkeypatch):
    place = str(tmp_path / "x.db")
    process = SPAWN.Process(target=_learn_on, args=(place,))
    process.start()
    running: set[str] = set()
    while not running:
        time.sleep(0.2)
        running = Experience(place).taken() if (tmp_path / "x.db").exists() else set()
    process.kill()
    process.join()
    experience = Experience(place, clock=lambda: time.time() + 1000)
    assert not list(experience.problems())
    assert experience.taken() <= {each.assignment for each in experience.trials()}
    told = []
    monkeypatch.setattr("mulligan.meta.collect.worker.Experience", lambda place: experience)
    monkeypatch.setattr("mulligan.meta.learn.Experience", lambda place: experience)
    before = len(list(experience.trials()))
    learn(CollectConfig(["digits/1"], 600.0, place, images=1000, trials=1), told.append)
    assert len(list(experience.trials())) == before + 1
    [first, *_] = islice(propose_trials(read_task("digits/1"), 1000, [], {}), 1)
    assert assignment_of(first) in {each.assignment for each in experience.trials()}


@pytest.mark.parametrize(
    ("workers", "place", "reason"),
    [
        ("0", "x.db", "invalid workers"),
        ("many", "x.db", "invalid workers"),
        ("ray://head:10001", "x.db", "cannot write into x.db"),
    ],
)
def test_workers_that_cannot_work_are_one_sentence(workers, place, reason):
    with pytest.raises(UsageError, match=reason):
        executor(workers, place)


def test_a_cluster_elsewhere_may_write_into_a_database():
    assert executor("ray://head:10001", "postgresql://head/mulligan") == RayCluster("ray://head:10001")


def test_without_ray_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[ray\]'"):
        learn(CollectConfig(["digits/1"], 60.0, str(tmp_path / "x.db"), workers="ray"))


@pytest.mark.slow
def test_a_ray_cluster_shares_the_work(tmp_path):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    told = []
    lessons = CollectConfig(["digits/1", "digits/2"], 600.0, str(tmp_path / "x.db"), "ray", 1000, trials=1)
    done = learn(lessons, told.append)
    assert done["failed"] == 0
    assert done["trials"] == len(list(Experience(str(tmp_path / "x.db")).trials())) > 0
    assert len({event["task"] for event in told if event["kind"] == "trial"}) > 0


@pytest.mark.slow
def test_two_workers_share_the_work(tmp_path):
    told = []
    done = learn(
        CollectConfig(["digits/1", "digits/2"], 600.0, str(tmp_path / "x.db"), "2", 1000, trials=1), told.append
    )
    assert (done["trials"], done["failed"]) == (2, 0)
    assert len({event["task"] for event in told if event["kind"] == "trial"}) == 2
