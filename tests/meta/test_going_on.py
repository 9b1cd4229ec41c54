"""Runs that go on: with a larger budget, with images that have moved, and as the beginning of other runs."""

import shutil

import numpy as np
import pytest
from small_runs import RECIPE, assert_same_end, clock_of_its_own, events

import mulligan
from mulligan.errors import MulliganError, UsageError
from mulligan.meta.fit import fit, resume
from mulligan.meta.planning import Options
from mulligan.training import checkpoint
from mulligan.training.budget import Budget
from mulligan.training.generator import load
from mulligan.training.run import RunFolder

SHORT = Budget(640, None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Grey images of 8x8 in a file."""
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def ended(images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "ended"
    fit(str(images), SHORT, Options(out=run, recipe=RECIPE))
    return run


@pytest.fixture
def run(ended, tmp_path):
    """A copy of a run that has ended."""
    return shutil.copytree(ended, tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_has_ended_goes_on_with_more_images(run):
    resume(run, more=Budget(320, None))
    assert [event["nimg"] for event in events(run, "stop")] == [640, 960]
    [final] = events(run, "final")
    assert final["cost"]["images"] == 960
    assert load(run).result["cost"]["images"] == 960
    document = RunFolder.open(run).document("run")
    assert document["budget"] == {"images": 960}
    assert document["extended"] == [{"budget": {"images": 640}, "nimg": 640}]


@pytest.mark.slow
def test_it_may_be_interrupted_then_as_any_other(run, tmp_path):
    whole = shutil.copytree(run, tmp_path / "whole")
    resume(whole, more=Budget(320, None))

    def stop(event):
        if event["kind"] == "chunk":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(run, stop, more=Budget(320, None))
    assert not (run / "generator.json").exists()
    resume(run)
    assert_same_end(run, whole)


@pytest.mark.slow
def test_a_budget_of_images_may_go_on_by_the_clock(run, monkeypatch):
    clock_of_its_own(monkeypatch)
    resume(run, more=Budget(None, 3.0))
    assert [event["code"] for event in events(run, "stop")] == ["budget", "budget"]
    assert RunFolder.open(run).document("run")["budget"]["seconds"] > 3.0


@pytest.mark.parametrize("asked", [{"time": "10m"}, {"images": "1M"}, {"time": "+1m", "images": "+1k"}, {"time": "+"}])
def test_what_adds_nothing_is_refused(run, asked):
    with pytest.raises(UsageError):
        mulligan.resume(run, **asked)
    assert (run / "generator.json").is_file()


def test_images_that_moved_are_found_and_remembered(run, images, tmp_path):
    moved = shutil.copy(images, tmp_path / "elsewhere.npy")
    folder = RunFolder.open(run)
    folder.write("run", folder.document("run") | {"source": str(tmp_path / "gone.npy")})
    (run / "generator.json").unlink()
    with pytest.raises(MulliganError, match=r"no longer at .*gone\.npy; .*mulligan resume .*run --data PLACE$"):
        resume(run)
    np.save(tmp_path / "others.npy", 255 - np.load(images))
    with pytest.raises(MulliganError, match="are not those that this run began with"):
        resume(run, data=str(tmp_path / "others.npy"))
    assert folder.document("run")["source"] == str(tmp_path / "gone.npy")
    resume(run, data=moved)
    assert folder.document("run")["source"] == str(moved)


def test_a_run_starts_from_anothers_generator_and_discriminator(ended, images, tmp_path):
    others = 255 - np.load(images)
    fit(others, Budget(64, None), Options(out=tmp_path / "run", from_run=ended))
    saved, _ = checkpoint.newest(ended / "checkpoints")
    players = checkpoint.read(tmp_path / "run" / "players.safetensors").arrays
    assert players
    for name, array in players.items():
        prefix, rest = (
            ("best", name[len("players.gen") :]) if ".gen." in name else ("state.disc", name[len("players.disc") :])
        )
        np.testing.assert_array_equal(array, saved.arrays[f"{prefix}{rest}"])
    folder = RunFolder.open(tmp_path / "run")
    assert folder.document("recipe") == RunFolder.open(ended).document("recipe")
    assert folder.document("run")["init"] == f"starting from the generator and discriminator of {ended}"
    assert folder.document("run")["from"] == str(ended)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((60, 8, 8, 3), {}, "draws images of 8x8x1, and these are 8x8x3"),
        ((60, 8, 8, 1), {"init": "x.safetensors"}, "give one of"),
    ],
)
def test_networks_of_other_images_are_refused(ended, tmp_path, shape, options, said):
    images = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    with pytest.raises(MulliganError, match=said):
        fit(images, SHORT, Options(out=tmp_path / "run", from_run=ended, size=None, **options))
    assert not (tmp_path / "run").exists()
