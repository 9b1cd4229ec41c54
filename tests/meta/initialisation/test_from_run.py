"""Runs of one's own that a new run begins from: which one, when none, and what is remembered of both."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from quick import quick_of

from mulligan.errors import MulliganError, UsageError
from mulligan.meta.experience import Experience
from mulligan.meta.fit import fit
from mulligan.meta.initialisation import from_run
from mulligan.meta.initialisation.from_run import NEAREST, NONE_NEAR, nearest_run
from mulligan.meta.planning import Options
from mulligan.meta.space.default import default_recipe
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.tasks.images import read_task
from mulligan.training import checkpoint
from mulligan.training.budget import Budget
from mulligan.training.run import RunFolder

SHORT = Budget(64, None)
NOBODYS = {"experience": "none", "from_run": Path(NEAREST)}


def pictures(kind: str, seed: int = 1, size: int = 20) -> np.ndarray:
    """Grey images of bars, `upright` or `level`, each at a place of its own."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(60, 15, (230, size, size, 1))
    for image, start in zip(drawn, rng.integers(2, size - 5, 230), strict=True):
        image[start : start + 3] += 150
    drawn = drawn if kind == "level" else drawn.swapaxes(1, 2)
    return drawn.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def remembered(tmp_path_factory):
    """A folder with a run of each kind, and the experience that knows them."""
    place = tmp_path_factory.mktemp("own")
    for name in ("level", "upright"):
        options = Options(out=place / name, experience=str(place / "experience.db"), init="none")
        fit(pictures(name, seed=0), SHORT, options)
    return place


@pytest.fixture
def own(remembered, tmp_path, monkeypatch):
    """A copy of the experience; so short a run has drawn nothing yet, and is taken to draw what it saw."""
    drawn = lambda run: SimpleNamespace(sample=lambda n, seed: pictures(run.name, seed=2)[:n])  # noqa: E731
    monkeypatch.setattr(from_run, "load", drawn)
    return str(shutil.copy(remembered / "experience.db", tmp_path / "experience.db"))


def found(images, place, budget=SHORT):
    """The name of the run that one on these images would begin from."""
    task = read_task(images)
    start = nearest_run(task, default_recipe(task.shape, len(task.train), budget), place)
    return start and start.run.name


@pytest.mark.parametrize("kind", quick_of(["level", "upright"], "upright"))
def test_a_run_begins_from_the_one_that_drew_the_nearest_images(own, kind):
    assert found(pictures(kind), own) == kind


def test_it_begins_afresh_where_no_run_is_like_it(own, tmp_path):
    assert found(pictures("upright", seed=0), own) == "level"  # the other one is of these very images
    assert found(pictures("upright", size=24), own) is None
    assert found(np.repeat(pictures("upright"), 3, axis=3), own) is None
    assert found(pictures("upright"), own, Budget(10_000_000, None)) is None  # for so many the networks would be wider
    assert found(pictures("upright"), str(tmp_path / "none.db")) is None


def test_runs_that_are_gone_or_are_others_by_now_are_passed_over(remembered, own, tmp_path):
    for name in ("gone", "other"):
        Experience(own).add_run(tmp_path / name, "0" * 16)
    shutil.copytree(remembered / "level", tmp_path / "other")
    assert found(pictures("level"), own) == "level"
    Experience(own).remove(task=json.loads((remembered / "level" / "task.json").read_text())["hash"])
    assert found(pictures("level"), own) == "upright"


def test_one_whose_generator_is_damaged_is_passed_over(remembered, own, monkeypatch):
    drawn = from_run.load

    def load(run):
        if run.name == "level":
            raise MulliganError("it is damaged")
        return drawn(run)

    monkeypatch.setattr(from_run, "load", load)
    assert found(pictures("level"), own) == "upright"


@pytest.mark.parametrize("given", [{"init": "none"}, {"models": Architecture()}])
def test_two_beginnings_are_refused_whether_or_not_there_is_a_run(tmp_path, given):
    options = Options(out=tmp_path / "run", experience=str(tmp_path / "none.db"), from_run=Path(NEAREST), **given)
    with pytest.raises(UsageError, match="one thing only"):
        fit(pictures("level"), SHORT, options)


def test_a_run_that_begins_so_says_so_and_is_no_trial(remembered, own, tmp_path):
    notes, before = [], len(list(Experience(own).trials()))
    hear = lambda event: notes.append(event.get("text"))  # noqa: E731
    fit(pictures("level"), SHORT, Options(out=tmp_path / "run", experience=own, from_run=Path(NEAREST), listener=hear))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.document("run")["from"] == str(remembered / "level")
    assert any(text and f"the networks of {remembered / 'level'}" in text for text in notes)
    assert len(list(Experience(own).trials())) == before
    assert Experience(own).runs()[0][0] == tmp_path / "run"


def test_half_of_its_weights_are_those_of_the_run_that_was_found(remembered, own, tmp_path):
    gan = fit(pictures("level"), SHORT, Options(out=tmp_path / "run", experience=own, from_run=Path(NEAREST), seed=3))
    assert gan.data["taught"] == [RunFolder.open(remembered / "level").document("task")["name"]]
    saved, _ = checkpoint.newest(remembered / "level" / "checkpoints")
    begun = checkpoint.read(tmp_path / "run" / "players.safetensors").arrays
    start = from_run.RunStart.of(remembered / "level")
    fresh = build(start.recipe.architecture, start.shape, 0, jax.random.key(0))  # that run's, and not of seed 3
    expected = checkpoint.arrays_of(fresh.gen, "players.gen")
    assert expected
    for name, array in expected.items():
        kept = saved.arrays[name.replace("players.gen", "best")]
        np.testing.assert_allclose(begun[name], (kept + array) / 2, rtol=1e-6)


def begun(given, tmp_path, images):
    """The run that one begins from, and what is said."""
    notes = []
    hear = lambda event: notes.append(event.get("text"))  # noqa: E731
    fit(images, SHORT, Options(out=tmp_path / "run", listener=hear, **given))
    return RunFolder.open(tmp_path / "run").document("run")["from"], notes


def many(parts: int) -> np.ndarray:
    """Two parts are too many for weights that ship, three for those of another run."""
    return np.concatenate([pictures("level", seed) for seed in range(4, 4 + parts)])


def test_where_nothing_else_is_asked_for_a_run_begins_from_the_nearest(remembered, own, tmp_path):
    found, notes = begun({"experience": own}, tmp_path, many(2))
    assert found == str(remembered / "level")
    assert any(text and text.endswith("`mulligan fit --init none` begins afresh)") for text in notes)


@pytest.mark.parametrize("given", quick_of([{"init": "none"}, {"recipe": Recipe()}, NOBODYS], {"init": "none"}))
def test_who_has_no_such_run_or_asks_for_something_else_begins_afresh(own, tmp_path, given):
    found, notes = begun({"experience": own, **given}, tmp_path, many(2))
    assert found is None
    assert (NONE_NEAR in notes) is (given is NOBODYS)


@pytest.mark.parametrize("parts", quick_of([1, 3], 3))
def test_so_does_a_run_of_fewer_or_more_images(own, tmp_path, parts):
    assert begun({"experience": own}, tmp_path, many(parts))[0] is None
