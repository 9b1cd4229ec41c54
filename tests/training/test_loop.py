"""Whole runs on small images: what they write, how they resume, what the guard does."""

import dataclasses
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, write_folder
from quick import quick_of
from small_runs import RECIPE, assert_same_end, broken_chunks, clock_of_its_own, events, weights

from mulligan.errors import Interrupted, MulliganError
from mulligan.events import Evaluated
from mulligan.meta.fit import fit, resume
from mulligan.meta.planning import Options
from mulligan.metrics import EMBEDDING
from mulligan.tasks.images import read_task
from mulligan.training import decisions, feed, guard
from mulligan.training.budget import Budget
from mulligan.training.generator import load
from mulligan.training.run import RunFolder

IMAGES = Budget(images=8_000, seconds=None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    fit("digits", IMAGES, Options(out=run, recipe=RECIPE))
    return run


def test_a_run_leaves_what_its_folder_promises(whole):
    kinds = [event["kind"] for event in events(whole)]
    assert kinds[0] == "samples"
    assert kinds[-1] == "final"
    assert {"start", "chunk", "evaluation", "checkpoint", "stop"} <= set(kinds)
    final = events(whole, "final")[0]
    assert final["split"] == "test"
    assert final["cost"]["images"] == IMAGES.images
    for name in ("samples.png", "interpolation.png", "neighbours.npz"):
        assert (whole / "final" / name).stat().st_size > 100
    spent = [event["nimg"] for event in events(whole, "chunk")]
    assert spent == sorted(spent)
    assert spent[-1] == IMAGES.images


def test_the_best_evaluation_is_compared_and_the_choice_is_the_generator_that_is_kept(whole):
    best = min(events(whole, "evaluation"), key=lambda event: event["energy"])
    assert best["nimg"] in [event["at_nimg"] for event in events(whole, "average") if event["average"] != "last"]
    [choice] = events(whole, "choice")
    assert choice["average"] in [event["average"] for event in events(whole, "average")]
    assert load(whole).result["best_nimg"] == choice["at_nimg"]


def test_samples_depend_on_the_seed_alone(whole):
    generator = load(whole)
    np.testing.assert_array_equal(generator.sample(5, seed=1), generator.sample(9, seed=1)[:5])
    assert (generator.sample(5, seed=1) != generator.sample(5, seed=2)).any()
    assert generator.sample(3).shape == (3, 8, 8, 1)


def test_a_saved_generator_is_the_same_generator(whole, tmp_path):
    generator = load(whole)
    generator.save(tmp_path / "kept")
    again = load(tmp_path / "kept")
    np.testing.assert_array_equal(again.sample(4), generator.sample(4))
    assert again.result == generator.result


@pytest.mark.slow
def test_the_same_arguments_give_the_same_bits(whole, tmp_path):
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    assert_same_end(tmp_path / "run", whole)


def test_ctrl_c_saves_and_resume_ends_where_the_whole_run_ended(whole, tmp_path):
    seen = []

    def press(event):
        seen.append(event["kind"])
        if seen.count("chunk") == 2 and event["kind"] == "chunk":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as stopped:
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=press))
    assert stopped.value.run == tmp_path / "run"
    assert events(tmp_path / "run")[-1]["code"] == "interrupted"
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", whole)


LOOKS_BACK = {
    "opponents": {"opponents": 2},
    "past_extragradient": {"dynamics": "past_extragradient"},
    "nested_lookahead": {"dynamics": "nested_lookahead"},
    "gap_aware": {"gap_aware": True},
    "learned": {"learned_schedule": "s1"},
    "critics": {"features": "imagenet-1"},
    "fork": {"strategy": "fork", "strategy_prior": (("rates / 3", 0.0), ("rates / 10", 0.0), ("gamma / 5", 0.0))},
    "switch": {"strategy": "switch"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_of(LOOKS_BACK, "learned", "critics"))
def test_what_looks_back_resumes_exactly(name, tmp_path):
    recipe, images = dataclasses.replace(RECIPE, **LOOKS_BACK[name]), Budget(images=4_000, seconds=None)
    fit("digits", images, Options(out=tmp_path / "whole", recipe=recipe))
    with pytest.raises(Interrupted):
        fit("digits", images, Options(out=tmp_path / "run", recipe=recipe, listener=_interrupt))
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.fixture
def streamed(monkeypatch, tmp_path):
    """A folder of images that are streamed, a few at a time."""
    pictures = write_folder(tmp_path / "pictures", noise(60, 8, 8, 3), [f"{number:02d}.png" for number in range(60)])
    monkeypatch.setattr("mulligan.meta.fit.read_task", partial(read_task, memory=0))
    monkeypatch.setattr(feed, "BLOCK", 8)
    monkeypatch.setattr(feed, "RING", 24)
    return pictures


@pytest.mark.parametrize("at", quick_of((1, 4), 4))
def test_a_streamed_run_resumes_exactly(streamed, tmp_path, at):
    images, seen = Budget(images=2_000, seconds=None), []

    def press(event):
        seen.append(event["kind"])
        if event["kind"] == "chunk" and seen.count("chunk") == at:
            os.kill(os.getpid(), signal.SIGINT)

    fit(streamed, images, Options(out=tmp_path / "whole", recipe=RECIPE))
    with pytest.raises(Interrupted):
        fit(streamed, images, Options(out=tmp_path / "run", recipe=RECIPE, listener=press))
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_checkpoint_is_written_every_minute_and_changes_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(decisions, "CHECKPOINT_SECONDS", 0.0)  # of a slow machine, on which every chunk takes a minute
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    kinds = [event["kind"] for event in events(tmp_path / "run", "chunk", "checkpoint", "evaluation")]
    assert all(kinds[index + 1] in ("checkpoint", "evaluation") for index, kind in enumerate(kinds) if kind == "chunk")
    assert kinds.count("checkpoint") > len(events(whole, "checkpoint"))
    assert_same_end(tmp_path / "run", whole)


def test_a_lost_checkpoint_costs_only_what_came_after_the_one_before(whole, tmp_path):
    seen = []

    def press(event):
        seen.append(event["kind"])
        if event["kind"] == "evaluation" and seen.count("evaluation") == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=press))
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resume(tmp_path / "run")
    assert newest.name in events(tmp_path / "run", "resume")[0]["reason"]
    assert_same_end(tmp_path / "run", whole)


def test_resuming_a_finished_run_gives_its_generator(whole):
    before = (whole / "events.jsonl").read_text()
    np.testing.assert_array_equal(resume(whole).sample(3), load(whole).sample(3))
    assert (whole / "events.jsonl").read_text() == before


def test_changed_images_are_refused(whole, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    with pytest.raises(Interrupted):
        fit(tmp_path / "images.npy", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=_interrupt))
    np.save(tmp_path / "images.npy", images[::-1] // 2)
    with pytest.raises(MulliganError, match="are not those that this run began with"):
        resume(tmp_path / "run")


@pytest.mark.slow
def test_an_array_is_kept_so_that_its_run_can_resume(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    with pytest.raises(Interrupted):
        fit(images, Budget(2_000, None), Options(out=tmp_path / "run", recipe=RECIPE, listener=_interrupt))
    assert resume(tmp_path / "run").sample(2).shape == (2, 8, 8, 1)


def test_an_existing_folder_is_left_alone(whole):
    before = sorted(whole.rglob("*"))
    with pytest.raises(MulliganError, match="already exists"):
        fit("digits", IMAGES, Options(out=whole, recipe=RECIPE))
    assert sorted(whole.rglob("*")) == before


@pytest.mark.slow
def test_time_is_kept(whole, tmp_path, monkeypatch):
    seconds = clock_of_its_own(monkeypatch)
    fit("digits", Budget(None, 4.0), Options(out=tmp_path / "run", recipe=RECIPE))
    assert events(tmp_path / "run", "stop")[0]["code"] == "budget"
    assert events(tmp_path / "run", "final")[0]["cost"]["images"] > 0
    assert 3 < seconds[0] < 4.5


@pytest.mark.slow
def test_few_images_still_train(tmp_path):
    """Enough to keep some back, too few for a batch; fewer are in `meta/initialisation/test_few_images.py`."""
    images = np.random.default_rng(0).integers(0, 256, (25, 8, 8, 3)).astype(np.uint8)
    generator = fit(images, Budget(1_000, None), Options(out=tmp_path / "run", recipe=RECIPE))
    assert generator.sample(2).shape == (2, 8, 8, 3)


@pytest.mark.slow
def test_labels_make_a_conditional_generator(tmp_path):
    options = Options(out=tmp_path / "run", recipe=RECIPE, labels=True)
    generator = fit("digits", Budget(3_000, None), options)
    assert generator.classes == tuple("0123456789")
    one, two = generator.sample(4, labels=1), generator.sample(4, labels=2)
    assert (one != two).any()
    with pytest.raises(MulliganError, match="0 to 9"):
        generator.sample(4, labels=10)


# --- the guard


@pytest.mark.slow
def test_a_number_that_is_not_finite_sends_the_run_back_gentler(monkeypatch, tmp_path):
    broken_chunks(monkeypatch, breaks={5})
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    event = events(tmp_path / "run", "guard")[0]
    assert event["reason"] == guard.NOT_FINITE
    assert event["back_to_nimg"] < IMAGES.images
    later = [entry for entry in events(tmp_path / "run", "chunk") if entry["seconds"] > event["seconds"]]
    assert later[0]["hyperparameters"]["gen_lr"] == pytest.approx(1e-3)
    assert later[0]["hyperparameters"]["gamma"] == pytest.approx(1.0)
    assert events(tmp_path / "run", "stop")[0]["code"] == "budget"
    assert all(np.isfinite(array).all() for array in weights(tmp_path / "run").values())


@pytest.mark.slow
def test_a_hopeless_run_stops_with_a_reason_and_keeps_its_best_generator(monkeypatch, tmp_path):
    broken_chunks(monkeypatch, breaks=set(range(4, 99)))
    fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    stop = events(tmp_path / "run", "stop")[0]
    assert stop["code"] == "guard"
    assert len(events(tmp_path / "run", "guard")) == guard.ATTEMPTS
    assert all(np.isfinite(array).all() for array in weights(tmp_path / "run").values())
    assert events(tmp_path / "run", "final")[0]["kid"] is not None


def test_a_bad_start_still_leaves_a_generator(monkeypatch, tmp_path):
    broken_chunks(monkeypatch, breaks=set(range(99)))
    generator = fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    assert generator.sample(2).shape == (2, 8, 8, 1)


# --- killed


@pytest.mark.slow
def test_killed_runs_resume_exactly(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "robustness" / "kill.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "3", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills, 3 exact resumes" in done.stdout


def _interrupt(event):
    if event["kind"] == "chunk":
        os.kill(os.getpid(), signal.SIGINT)


def test_a_run_is_judged_to_its_end_as_it_was_at_its_beginning(whole, tmp_path):
    assert RunFolder(whole).embedding() == EMBEDDING
    begun = RunFolder(tmp_path)
    assert begun.embedding() == EMBEDDING
    begun.append(Evaluated.read({"embedding": "m1"}))
    begun.append(Evaluated.read({"embedding": "m2"}))
    assert begun.embedding() == "m1"
