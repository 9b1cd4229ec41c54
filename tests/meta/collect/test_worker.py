"""A worker's time is counted on a clock that nobody sets."""

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trials

from mulligan.meta.collect import worker as module
from mulligan.meta.collect.worker import WorkerConfig, work
from mulligan.meta.experience import Experience
from mulligan.meta.store.record import TaskRecord
from mulligan.tasks.images import read_task


@pytest.mark.parametrize("jump", [1e6, -1e6])
def test_a_clock_that_is_set_neither_ends_nor_prolongs_the_work(tmp_path, monkeypatch, jump):
    task, place = read_task("digits/1"), str(tmp_path / "x.db")
    experience = Experience(place, clock=lambda: 0.0)
    experience.add_task(TaskRecord.of(task, "digits"))
    now, seeds, told = SimpleNamespace(seconds=0.0), itertools.count(), []

    def tried(chosen):
        now.seconds += 1.0
        return replace(trials.trial(next(seeds)), task=chosen.task.hash)

    wall = time.time
    monkeypatch.setattr(module, "run_trial", tried)
    monkeypatch.setattr(module, "Experience", lambda place: experience)
    monkeypatch.setattr(module, "cache_programs", lambda: None)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(time, "time", lambda: wall() + jump * now.seconds)
    work(WorkerConfig(place, (task,), 4.5, 1000, None), "w", told.append)
    assert len(told) == 5
