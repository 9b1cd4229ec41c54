"""Reading run folders: whole, torn, damaged, newer, hostile."""

import json

import pytest
from fake_run import BACK_TO, CHUNK, GUARD_AT, RECIPE, edit, events, write_events

from mulligan.errors import MulliganError
from mulligan.events import ChunkTrained, FinalScored, UnknownEvent
from mulligan.report.run import read_run


def test_a_whole_run(finished):
    record = read_run(finished)
    assert record.recipe == RECIPE
    assert record.task["name"] == "digits"
    assert record.unreadable == 0
    final = record.last(FinalScored)
    assert final is not None
    assert final.kid == 0.02134
    assert final.cost is not None
    assert final.cost["seconds"] == 301.4
    assert record.nimg == final.nimg


def test_what_the_guard_went_back_over_is_abandoned_and_nothing_else(finished):
    chunks = read_run(finished).of(ChunkTrained)
    gone = [event for event in chunks if event.abandoned]
    assert [event.nimg for event in gone] == list(range(BACK_TO + CHUNK, GUARD_AT + 1, CHUNK))
    kept = [event.nimg for event in chunks if not event.abandoned]
    assert kept == sorted(set(kept))


def test_a_resume_from_before_the_last_events_abandons_them(run):
    write_events(run, [{"kind": "chunk", "nimg": 10, "seconds": 1}, {"kind": "chunk", "nimg": 20, "seconds": 2}])
    with (run / "events.jsonl").open("a") as file:
        file.write('{"kind": "resume", "nimg": 10, "seconds": 3, "from_nimg": 10}\n')
    assert [event.abandoned for event in read_run(run).of(ChunkTrained)] == [False, True]


def test_a_torn_last_line_is_skipped(run):
    with (run / "events.jsonl").open("a") as file:
        file.write('{"kind": "chunk", "nimg": 1234, "sec')
    record = read_run(run)
    assert record.unreadable == 1
    assert record.last(FinalScored) is record.events[-1]


def test_a_line_torn_within_a_character_is_skipped(run):
    with (run / "events.jsonl").open("ab") as file:
        file.write('{"kind": "stop", "reason": "é'.encode()[:-1])
    assert read_run(run).unreadable == 1


def test_unknown_kinds_are_kept(run):
    write_events(run, [{"kind": "race", "nimg": 5, "seconds": 1, "arms": 3}])
    (event,) = read_run(run).events
    assert event == UnknownEvent(nimg=5, seconds=1, name="race", values={"arms": 3})


@pytest.mark.parametrize("line", ["7", "[]", "{}", '{"kind": 3, "nimg": 1, "seconds": 1}', '{"kind": "chunk"}'])
def test_a_line_that_is_no_event_is_skipped(run, line):
    with (run / "events.jsonl").open("a") as file:
        file.write(line + "\n")
    assert read_run(run).unreadable == 1


def test_no_events_yet(run):
    (run / "events.jsonl").unlink()
    record = read_run(run)
    assert record.events == ()
    assert (record.nimg, record.seconds) == (0.0, 0.0)


def test_numbers_that_are_none(run):
    values = (None, float("nan"), "7", True, 10**400, 7, 1e101)
    write_events(run, [{"kind": "chunk", "nimg": 5, "seconds": 1, "penalty": value} for value in values])
    assert [event.penalty for event in read_run(run).of(ChunkTrained)] == [*[None] * 5, 7.0, None]


def test_a_path_that_leads_out_of_the_folder_is_none(run):
    (run.parent / "secret.png").write_text("")
    record = read_run(run)
    assert record.path("final/samples.png") is not None
    for name in ("../secret.png", str(run.parent / "secret.png"), "final", "absent", "", "\0", "a" * 5000):
        assert record.path(name) is None


def test_not_a_run_folder(tmp_path):
    with pytest.raises(MulliganError, match="not a run folder"):
        read_run(tmp_path)


def test_a_newer_format(run):
    edit(run, "run.json", format=2)
    with pytest.raises(MulliganError, match="written by a newer version of mulligan"):
        read_run(run)


@pytest.mark.parametrize("name", ["run.json", "recipe.json", "task.json"])
@pytest.mark.parametrize("content", ["", '{"format": 1', "[]", "\xff", "null"])
def test_a_damaged_file_is_named(run, name, content):
    (run / name).write_text(content, encoding="latin-1")
    with pytest.raises(MulliganError, match=f"{name} is damaged"):
        read_run(run)


@pytest.mark.parametrize("recipe", [{"architecture": 3}, {"hyperparameters": []}, {"format": "x"}])
def test_a_recipe_that_is_none(run, recipe):
    (run / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(MulliganError, match=r"recipe"):
        read_run(run)


def test_a_missing_file_is_named(run):
    (run / "task.json").unlink()
    with pytest.raises(MulliganError, match=r"task\.json cannot be read: No such file"):
        read_run(run)


def test_events_that_are_none_at_all(run):
    (run / "events.jsonl").write_text("this is\nnot a\nrun\n")
    with pytest.raises(MulliganError, match=r"events\.jsonl is damaged"):
        read_run(run)


def test_the_fake_run_has_every_kind_of_event(rng_events):
    kinds = {"start", "chunk", "samples", "evaluation", "guard", "checkpoint", "resume", "stop"}
    assert {event["kind"] for event in rng_events} == kinds | {"average", "choice", "final"}


@pytest.fixture
def rng_events():
    import numpy as np

    return events(np.random.default_rng(0))
