"""Which generator a run keeps: the candidates, who wins, what is told, and that a resume changes nothing of it."""

import dataclasses
import os
import shutil
import signal
from functools import partial

import numpy as np
import pytest
import small_runs
from quick import quick_of
from small_runs import broken_chunks, events, weights

from mulligan.documents import read_sealed, write_sealed
from mulligan.errors import Interrupted, MulliganError
from mulligan.meta.fit import average, fit, resume
from mulligan.meta.planning import Options
from mulligan.metrics.mmd import Difference
from mulligan.training import checkpoint, choice, distil
from mulligan.training.budget import Allowance, Budget
from mulligan.training.choice import settled
from mulligan.training.comparison import Comparison
from mulligan.training.generator import load
from mulligan.training.snapshots import PLANNED

RECIPE = dataclasses.replace(small_runs.RECIPE, averages=("ema", "power_05", "power_10"))
IMAGES = Budget(images=8_000, seconds=None)
VOLATILE = ("seconds", "spent", "cost")


def figures(run):
    """What the comparison told, without what depends on the clock."""
    told = events(run, "average", "choice", "final")
    return [{name: value for name, value in event.items() if name not in VOLATILE} for event in told]


def snapshots(run):
    return {path.name: checkpoint.read(path).arrays for path in sorted((run / "snapshots").iterdir())}


def assert_same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    fit("digits", IMAGES, Options(out=run, recipe=RECIPE))
    return run


def best_two(comparison):
    """Stands in for `members`: noise decides whether so short a run has a mixture."""
    return dict(zip(sorted(comparison.values, key=comparison.values.__getitem__), (0.75, 0.25), strict=False))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The same run with its averages compared without limit, and a mixture thought worth its cost."""
    run = tmp_path_factory.mktemp("runs") / "compared"
    fit("digits", IMAGES, Options(out=run, recipe=RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "members", best_two)
        patch.setattr(choice, "worth_its_cost", lambda gain: True)
        average(run, weigh_latents=True)
    return run


# --- whole runs


@pytest.mark.slow
def test_a_run_compares_within_its_allowance_and_keeps_what_it_tells(whole):
    told, [chosen], [final] = events(whole, "average"), events(whole, "choice"), events(whole, "final")
    assert {"ema", "last", "power_10", "power_05"} <= {event["average"] for event in told}
    # One more is left out where the best evaluation was not the last: it is a candidate of its own.
    assert chosen["skipped"] == ["power_03"] * ("best" in {event["average"] for event in told}) + ["soup", "mixture"]
    assert all(event["split"] == "validation" and event["n_real"] == 90 for event in told)
    assert final["average"] == load(whole).result["average"]
    assert chosen["average"] in (final["average"], "best")
    assert final["split"] == "test"


def test_a_run_leaves_snapshots_of_its_power_averages(whole):
    kept = snapshots(whole)
    assert PLANNED <= len(kept) <= PLANNED + 1
    assert max(kept) == f"{8_000:012d}.safetensors"
    assert {name.split(".")[0] for arrays in kept.values() for name in arrays} == {"power_05", "power_10"}


def test_validation_does_not_wait_for_averages_that_are_kept_for_snapshots(whole):
    assert {event["average"] for event in events(whole, "evaluation")} == {"ema"}


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_snapshots_and_the_same_choice(whole, tmp_path):
    seen = []

    def press(event):
        seen.append(event["kind"])
        if event["kind"] == "chunk" and seen.count("chunk") % 20 == 0:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=press))
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", press)
    resume(tmp_path / "run")
    assert figures(tmp_path / "run") == figures(whole)
    assert_same_arrays(weights(tmp_path / "run"), weights(whole))
    kept, expected = snapshots(tmp_path / "run"), snapshots(whole)
    assert kept.keys() == expected.keys()
    for name, arrays in kept.items():
        assert_same_arrays(arrays, expected[name])


@pytest.mark.slow
def test_a_run_that_died_while_comparing_compares_again(whole, tmp_path):
    class DeathError(Exception):
        pass

    def die(event):
        if event["kind"] == "average" and event["average"] == "last":
            raise DeathError

    with pytest.raises(DeathError):
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=die))
    resume(tmp_path / "run")
    assert figures(tmp_path / "run") == figures(whole)
    assert_same_arrays(weights(tmp_path / "run"), weights(whole))


@pytest.mark.slow
def test_time_is_kept_for_weighted_latents_where_they_are_asked_for(tmp_path, monkeypatch):
    limited = partial(Allowance, evaluations=13)  # enough for a few candidates besides
    monkeypatch.setattr("mulligan.training.finish.choice_allowance", lambda *_: limited(weigh_latents=True))
    generator = fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE))
    told, [chosen] = (
        [event["average"] for event in events(tmp_path / "run", "average")],
        events(tmp_path / "run", "choice"),
    )
    assert [name for name in told if choice.REWEIGHTED in name] == told[-1:]
    assert {"power_03", "soup", "mixture"} <= set(chosen["skipped"])
    assert (generator.prior is not None) == (choice.REWEIGHTED in chosen["average"])
    np.testing.assert_array_equal(load(tmp_path / "run").sample(5), generator.sample(5))


# --- all candidates, and a mixture


@pytest.mark.slow
def test_without_limit_every_candidate_is_judged(compared):
    told, [chosen] = [event["average"] for event in events(compared, "average")], events(compared, "choice")
    assert chosen["skipped"] == []
    assert len(told) == len(set(told))
    assert {"power_03", "power_07", "power_15", "power_20", "mixture"} <= set(told)
    alone = [name for name in told if choice.REWEIGHTED not in name]
    assert len(told) == len(alone) + 1
    assert sum(name.startswith("power_05 at ") for name in alone) == choice.INGREDIENTS - 1
    assert set(chosen["gains"]) == {"ema", "last"}


def test_a_mixture_is_kept_saved_and_loaded(compared, tmp_path):
    [told] = [event for event in events(compared, "average") if event["average"] == "mixture"]
    generator = load(compared)
    assert generator.result["average"] == "mixture"
    assert generator.members == len(told["members"]) == 2
    np.testing.assert_allclose(generator.network.weights, list(told["members"].values()), rtol=1e-6)
    samples = generator.sample(40, seed=1)
    assert samples.shape == (40, 8, 8, 1)
    np.testing.assert_array_equal(generator.sample(7, seed=1), samples[:7])
    generator.save(tmp_path / "kept")
    np.testing.assert_array_equal(load(tmp_path / "kept").sample(40, seed=1), samples)


def test_each_sample_of_a_mixture_is_one_of_its_members(compared):
    generator = load(compared)
    alone = [dataclasses.replace(generator, network=member).sample(50) for member in generator.network.members]
    for index, image in enumerate(generator.sample(50)):
        assert any(np.array_equal(image, samples[index]) for samples in alone)


@pytest.mark.slow
@pytest.mark.parametrize("better", quick_of([True, False], True))
def test_a_distilled_mixture_is_kept_where_it_beats_the_best_single_generator(compared, tmp_path, monkeypatch, better):
    difference = Comparison.difference
    told = Difference(-1.0 if better else 1.0, 0.1)
    monkeypatch.setattr(choice, "members", best_two)
    monkeypatch.setattr(choice, "worth_its_cost", lambda gain: True)
    monkeypatch.setattr(distil, "MOST_STEPS", 100)
    monkeypatch.setattr(
        Comparison, "difference", lambda self, one, other: told if one == "distilled" else difference(self, one, other)
    )
    run = shutil.copytree(compared, tmp_path / "run")
    generator = average(run, distil=True)
    [event] = [event for event in events(run, "average") if event["average"] == "distilled"]
    assert event["loss"] < event["loss_before"]
    assert generator.members == 1
    assert (generator.result["average"] == "distilled") == better
    assert generator.result["average"] != "mixture"


@pytest.mark.slow
def test_without_a_mixture_there_is_nothing_to_distil(compared, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "worth_its_cost", lambda gain: False)
    run = shutil.copytree(compared, tmp_path / "run")
    assert average(run, distil=True).members == 1
    assert events(run, "choice")[0]["reason"] == choice.NOTHING_TO_DISTIL


@pytest.mark.slow
def test_comparing_again_forgets_the_choice_before(compared, tmp_path):
    run = shutil.copytree(compared, tmp_path / "run")
    average(run, weigh_latents=True)
    kept = [event for event in figures(compared) if event.get("average") != "mixture" and event["kind"] == "average"]
    again = [event for event in figures(run) if event["kind"] == "average"]
    assert [event for event in again if event["average"] != "mixture"] == kept
    assert len(events(run, "choice")) == len(events(run, "final")) == 1
    assert load(run).result["average"] == events(run, "final")[0]["average"] != "mixture"
    assert load(run).members == 1


def test_the_generator_of_an_older_mulligan_is_one_network(whole):
    described = read_sealed(whole / "generator.json")
    assert described.pop("members") == 1
    write_sealed(whole / "generator.json", described)
    assert load(whole).members == 1


def test_a_run_that_has_not_ended_is_not_averaged(tmp_path):
    def press(event):
        if event["kind"] == "chunk":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=RECIPE, listener=press))
    with pytest.raises(MulliganError, match="has not ended; go on, and its averages are compared: mulligan resume"):
        average(tmp_path / "run")


# --- what cannot be compared


def only_choice(run):
    assert not events(run, "average")
    [chosen] = events(run, "choice")
    return chosen


@pytest.mark.slow
def test_too_few_validation_images_do_not_choose(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    fit(images, Budget(1_000, None), Options(out=tmp_path / "run", recipe=RECIPE))
    assert only_choice(tmp_path / "run")["reason"] == choice.TOO_FEW
    best = min(events(tmp_path / "run", "evaluation"), key=lambda event: event["energy"])
    assert events(tmp_path / "run", "final")[0]["best_nimg"] == best["nimg"]


@pytest.mark.parametrize("averages", [pytest.param((), marks=pytest.mark.slow), ("ema", "power_05")])
def test_what_is_not_finite_is_no_candidate(monkeypatch, tmp_path, averages):
    broken_chunks(monkeypatch, breaks=set(range(99)))
    recipe = dataclasses.replace(RECIPE, averages=averages)
    generator = fit("digits", IMAGES, Options(out=tmp_path / "run", recipe=recipe))
    assert all(np.isfinite(array).all() for array in weights(tmp_path / "run").values())
    assert generator.sample(2).shape == (2, 8, 8, 1)
    told = {event["average"] for event in events(tmp_path / "run", "average")}
    assert "last" not in told
    if averages:
        assert {"best", "ema"} <= told
    else:
        assert only_choice(tmp_path / "run")["reason"] == choice.NOT_FINITE


# --- the rules by themselves


def test_the_least_kid_wins_only_where_other_images_agree():
    kids = {"ema": 0.3, "soup": 0.1, "last": 0.2}
    asked = []

    def difference(one, other):
        asked.append((one, other))
        return Difference(asked.count((one, other)) - 1.5, 1.0)

    assert settled(kids, "ema", difference) == "soup"
    assert settled(kids, "ema", difference) == "ema"
    assert asked == [("soup", "ema")] * 2
    assert settled(kids, "soup", lambda one, other: pytest.fail("there is nothing to confirm")) == "soup"
