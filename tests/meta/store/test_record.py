"""Records at the door: what cannot be is refused with its place, its field and what is wrong with it."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
from trials import task, trial

from mulligan.errors import MulliganError
from mulligan.meta.store.exchange import read_file, shipped_file
from mulligan.meta.store.record import Point, TaskRecord, Trial

BAD_TRIALS = {  # where, what, and the words that name it
    "seed of text": (["seed"], "7", "seed"),
    "seed beyond a column": (["seed"], 2**63, "seed"),
    "seed that is true": (["seed"], True, "seed"),
    "budget below 0": (["budget"], -1.0, "budget"),
    "budget beyond all": (["budget"], 1e300, "budget"),
    "budget null": (["budget"], None, "budget"),
    "status unknown": (["status"], "won", "status"),
    "task of a number": (["task"], 3, "task"),
    "task beyond a column": (["task"], "x" * 33, "task"),
    "task empty": (["task"], "", "task"),
    "cost unknown": (["cost", "dollars"], 3.0, "cost"),
    "cost below 0": (["cost", "seconds"], -2.0, "cost.seconds"),
    "cost of text": (["cost", "seconds"], "2", "cost.seconds"),
    "cost true": (["cost", "images"], True, "cost.images"),
    "curve of text": (["curve"], "up", "curve"),
    "point of text": (["curve", 1], "up", "curve.1"),
    "point too short": (["curve", 1], [200, 2e9], "curve.1"),
    "point too long": (["curve", 1], [200, 2e9, 1.0, {}, 5], "curve.1"),
    "images that stand still": (["curve", 1, 0], 100, "curve"),
    "images that go back": (["curve", 2, 0], 150, "curve"),
    "images of a fraction": (["curve", 1, 0], 200.5, "curve.1"),
    "images below 0": (["curve", 0, 0], -100, "curve.0"),
    "operations that go back": (["curve", 2, 1], 1e9, "curve"),
    "seconds that go back": (["curve", 2, 2], 0.25, "curve"),
    "seconds below 0": (["curve", 0, 2], -0.5, "curve.0"),
    "figure unknown": (["curve", 0, 3, "fid"], 1.0, "curve.0.3.fid"),
    "figure of text": (["curve", 0, 3, "energy"], "low", "curve.0.3.energy"),
    "figure beyond all": (["curve", 0, 3, "energy"], 1e300, "curve.0.3.energy"),
    "distance below 0": (["curve", 0, 3, "frechet"], -1.0, "frechet"),
    "energy outside its interval": (["curve", 0, 3], {"energy": 0.5, "energy_low": 0.6, "energy_high": 0.7}, "energy"),
    "kid outside its interval": (["curve", 0, 3], {"kid": 0.5, "kid_low": 0.6, "kid_high": 0.7}, "kid"),
    "space of text": (["space"], "big", "space"),
    "code of two lines": (["code"], "0.1\n0.2", "code"),
    "device that clears the terminal": (["device"], "\x1b[2Jcpu", "device"),
    "date that is none": (["finished"], "yesterday", "finished"),
    "embedding beyond a column": (["embedding"], "m" * 33, "embedding"),
    "recipe of text": (["recipe_json"], "default", "recipe"),
    "recipe with a loss unknown": (["recipe_json", "loss"], "hingey", "loss"),
    "recipe of no end": (["recipe_json", "architecture", "gen_width"], 10**9, "gen_width"),
    "a field more": (["winner"], True, "winner"),
    "a source of its own": (["source"], "shipped", "trial"),
}
BAD_TASKS = {
    "shape of two": (["shape"], [28, 28], "shape"),
    "shape of text": (["shape", 0], "28", "shape"),
    "side 0": (["shape", 0], 0, "shape"),
    "channels 9": (["shape", 2], 9, "shape"),
    "no training images": (["counts"], {"test": 5}, "counts"),
    "counts below 0": (["counts", "test"], -1, "counts"),
    "part unknown": (["counts", "dev"], 5, "counts"),
    "classes below 0": (["classes"], -1, "classes"),
    "descriptor of text": (["descriptor", "mean"], "dark", "descriptor.mean"),
    "descriptor beyond all": (["descriptor", "mean"], 1e300, "descriptor.mean"),
    "name that clears the terminal": (["name"], "\x1b[2J", "name"),
    "id beyond a column": (["id"], "x" * 40, "id"),
    "a field more": (["images"], [], "images"),
}


def spoiled(document, where, value):
    found = deepcopy(document)
    inner = found
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = value
    return found


@pytest.mark.parametrize("case", BAD_TRIALS)
def test_a_trial_that_cannot_be_names_its_field(case):
    where, value, words = BAD_TRIALS[case]
    with pytest.raises(MulliganError, match="line 7") as error:
        Trial.from_json(spoiled(trial(0).to_json(), where, value), what="the trial in line 7")
    assert words in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("case", BAD_TASKS)
def test_a_task_that_cannot_be_names_its_field(case):
    where, value, words = BAD_TASKS[case]
    with pytest.raises(MulliganError, match="line 7") as error:
        TaskRecord.from_json(spoiled(task().to_json(), where, value), "the task in line 7")
    assert words in str(error.value)


@pytest.mark.parametrize("field", ["task", "seed", "curve", "recipe_json", "finished"])
def test_a_field_that_is_missing_is_named(field):
    document = trial(0).to_json()
    del document[field]
    with pytest.raises(MulliganError, match=f"has no {field}"):
        Trial.from_json(document)


@pytest.mark.parametrize("document", [None, [], "trial", 3, {}])
def test_other_values_are_no_records(document):
    for read in (Trial.from_json, TaskRecord.from_json):
        with pytest.raises(MulliganError):
            read(document)


def test_what_was_written_is_read_to_the_letter():
    for each in (trial(0), trial(1, energy=None), trial(2, status="failed")):
        assert json.dumps(Trial.from_json(each.to_json()).to_json()) == json.dumps(each.to_json())
    assert TaskRecord.from_json(task().to_json()) == task()


def test_of_measured_figures_five_digits_are_kept():
    point = Point.measured(64, 1e9, 0.5, {"kid": 0.123456789, "energy": -12.3456789, "energy_high": None})
    assert point == Point(64, 1e9, 0.5, {"kid": 0.12346, "energy": -12.346, "energy_high": None})


def test_a_trial_compares_if_it_was_judged_as_runs_are():
    judged = trial(0)
    by_kid_alone = replace(judged, curve=tuple(point._replace(figures={"kid": 0.1}) for point in judged.curve))
    assert judged.comparable
    assert not by_kid_alone.comparable
    assert not replace(judged, embedding="m9").comparable
    assert replace(by_kid_alone, status="failed").comparable  # a failure is one by any figure


def test_every_shipped_record_passes_and_compares():
    found = read_file(shipped_file())
    assert not found.skipped
    assert len(found.trials) > 900
    assert all(each.comparable for each in found.trials.values())
