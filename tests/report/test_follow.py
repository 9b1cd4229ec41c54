"""Curves while a run trains: from its first event or from where it goes on, and never at the run's expense."""

import json
import sys

import pytest

from mulligan import api
from mulligan.errors import MulliganError, UsageError
from mulligan.events import ChunkTrained, RolledBack
from mulligan.report import follow as module
from mulligan.report.follow import Following, following
from mulligan.report.run import read_run


class Kept:
    """A log that remembers what it was told."""

    def __init__(self, record):
        self.told = []

    def add(self, record, event):
        self.told.append((event.kind, event.nimg))

    def back_to(self, nimg):
        self.told.append(("back", nimg))

    def close(self, failed):
        self.told.append(("close", failed))


@pytest.fixture
def logs():
    return []


@pytest.fixture
def opening(logs):
    def begin(record):
        logs.append(Kept(record))
        return logs[-1]

    return begin


def replay(run, listener):
    """A run's events as its training told them, one by one, each after it was written."""
    lines = (run / "events.jsonl").read_text().splitlines()
    (run / "events.jsonl").write_text("")
    for line in lines:
        with (run / "events.jsonl").open("a") as file:
            file.write(line + "\n")
        listener(json.loads(line))


def test_every_event_is_told_once_as_it_happens_and_a_return_too(light, logs, opening):
    record = read_run(light)
    follow = Following("kept", opening, light)
    replay(light, follow)
    follow.close(failed=False)
    first, second = logs  # the run was interrupted once
    told = [entry for entry in first.told if entry[0] in ("chunk", "back")]
    [guard] = record.of(RolledBack)
    assert ("back", guard.back_to_nimg) in told
    assert first.told[-1] == ("close", False)
    kept = [(event.kind, event.nimg) for event in record.events if not event.abandoned]
    assert second.told == [*kept, ("close", False)]


def test_a_run_that_is_known_already_is_written_from_its_beginning(light, logs, opening):
    follow = Following("kept", opening, light)
    follow({"kind": "choice", "nimg": 5, "seconds": 1.0})
    [log] = logs
    assert [entry for entry in log.told if entry[0] == "chunk"] == [
        ("chunk", event.nimg) for event in read_run(light).kept(ChunkTrained)
    ]


def test_recipes_that_race_and_what_comes_before_are_not_followed(light, logs, opening):
    follow = Following("kept", opening)
    for event in (
        {"kind": "plan", "run": str(light)},
        {"kind": "chunk", "arm": 1},
        {"kind": "chunk", "small": True},
        {"kind": "note", "text": "x"},
    ):
        follow({"nimg": 0, "seconds": 0.0, **event})
    assert not logs


def test_a_log_that_fails_ends_itself_and_not_the_run(light, opening, capsys):
    def failing(record):
        raise ConnectionError("the server is gone\nat line 3")

    follow = Following("mlflow", failing, light)
    for _ in range(3):
        follow({"kind": "start", "nimg": 0, "seconds": 0.0})
    follow.close(failed=False)
    assert capsys.readouterr().err == "mulligan: mlflow is no longer written: the server is gone\n"


def test_an_unknown_program_and_one_that_is_not_installed_are_told_before_training(monkeypatch):
    with pytest.raises(UsageError, match="'tensorbord': choose tensorboard, wandb, mlflow"):
        api.fit("digits", log={"tensorbord": "tb"})
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[mlflow\]'"):
        api.fit("digits", log={"mlflow": "runs"})


def test_a_log_is_told_whether_the_run_failed(light, monkeypatch, logs, opening):
    monkeypatch.setattr(module, "_opening", lambda name, place: opening)
    heard = []

    def interrupted():
        with following({"kept": "x"}, heard.append, light) as listen:
            listen({"kind": "start", "nimg": 0, "seconds": 0.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert logs[0].told[-1] == ("close", True)
    assert [event["kind"] for event in heard] == ["start"]


@pytest.mark.slow
def test_a_run_writes_its_curves_while_it_trains(tmp_path, monkeypatch, logs, opening):
    monkeypatch.setattr(module, "_opening", lambda name, place: opening)
    widths = {"gen_width": 8, "disc_width": 8, "gen_depth": 1, "disc_depth": 1, "latent": 4}
    recipe = {"architecture": {"family": "mlp", **widths}}
    seen = []
    gan = api.fit(
        "digits",
        images=2000,
        size=8,
        recipe=recipe,
        out=tmp_path / "run",
        log={"kept": "x"},
        listener=lambda event: seen.append(len(logs)),
    )
    [log] = logs
    assert 1 in seen  # before the run had ended
    written = [(event.kind, event.nimg) for event in read_run(gan.run).events if event.kind not in ("data", "plan")]
    assert [entry for entry in log.told if entry[0] not in ("close", "data")] == written
