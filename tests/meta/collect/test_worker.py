"""A worker's time is counted on a clock that nobody sets."""

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trials

from mulligan.meta.collect import worker as module
from mulligan.meta.collect.trial import static_part
from mulligan.meta.collect.worker import WorkerConfig, assignment_of, work
from mulligan.meta.experience import Experience
from mulligan.meta.store.record import TaskRecord
from mulligan.tasks.images import read_task


@pytest.mark.parametrize("jump", [1e6, -1e6])
def test_a_clock_that_is_set_neither_ends_nor_prolongs_the_work(tmp_path, monkeypatch, jump):
    task, place = read_task("digits/1"), str(tmp_path / "x.db")
    experience = Experience(place, clock=lambda: 0.0)
    experience.add_task(TaskRecord.of(task, "digits"))
    now, seeds, told = SimpleNamespace(seconds=0.0), itertools.count(), []

    def tried(claimed):
        now.seconds += 1.0
        return [replace(trials.trial(next(seeds)), task=chosen.task.hash) for chosen in claimed]

    wall = time.time
    monkeypatch.setattr(module, "run_trials", tried)
    monkeypatch.setattr(module, "Experience", lambda place: experience)
    monkeypatch.setattr(module, "cache_programs", lambda: None)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(time, "time", lambda: wall() + jump * now.seconds)
    work(WorkerConfig(place, (task,), 4.5, 1000, None), "w", told.append)
    assert len(told) == 5


@pytest.mark.slow
def test_what_one_program_can_train_is_claimed_together_and_written_one_by_one(tmp_path, monkeypatch):
    task, place = read_task("digits/1"), str(tmp_path / "x.db")
    experience = Experience(place)
    experience.add_task(TaskRecord.of(task, "digits"))
    batches, told = [], []

    def tried(claimed):
        batches.append(claimed)
        return [replace(trials.trial(len(batches)), **of(chosen)) for chosen in claimed]

    def of(chosen):
        return {"task": task.hash, "recipe_json": chosen.recipe.to_json(), "seed": chosen.seed}

    monkeypatch.setattr(module, "run_trials", tried)
    monkeypatch.setattr(module, "cache_programs", lambda: None)
    work(WorkerConfig(place, (task,), 1e6, 1000, trials=10, members=4), "w", told.append)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    for batch in batches:
        assert len({static_part(chosen.recipe) for chosen in batch}) == 1
    everything = {assignment_of(chosen) for batch in batches for chosen in batch}
    assert len(everything) == len(told) == 10
    assert everything <= experience.taken()
