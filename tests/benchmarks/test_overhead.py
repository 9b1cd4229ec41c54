"""Seconds of a run are all accounted for."""

import pytest

from benchmarks.speed.overhead import shares
from mulligan.events import ChunkTrained, Evaluated, FinalScored, GeneratorChosen, TrainingStarted
from mulligan.training.run import RunFolder


def run(path, chunks, spent_by_others=()):
    folder = RunFolder.create(path, {})
    folder.append(TrainingStarted.read({"nimg": 0, "seconds": 2.0, "compile_seconds": 1.5}))
    for number in range(chunks):
        folder.append(
            ChunkTrained.read({"nimg": 100 * (number + 1), "seconds": 3.0 + number, "images_per_second": 200.0})
        )
    folder.append(Evaluated.read({"nimg": 400, "seconds": 5.0, "spent": 0.5}))
    for event in spent_by_others:
        folder.append(event)
    return folder


END = (
    GeneratorChosen.read({"nimg": 400, "seconds": 7.0, "spent": 1.0}),
    FinalScored.read({"nimg": 400, "seconds": 10.0}),
)


def test_what_is_left_is_overhead(tmp_path):
    found = shares(run(tmp_path / "run", 4, END))
    expected = {"total": 10.0, "training": 2.0, "evaluating": 4.5, "compiling": 1.5, "rest": 2.0}
    assert found == pytest.approx(expected)


def test_all_arms_of_a_race_count(tmp_path):
    folder = run(tmp_path / "run", 4, END)
    folder.write("race", {"winner": 0, "spent_by_others": {"seconds": 6.0}})
    run(tmp_path / "run" / "trials" / "00", 1)
    run(tmp_path / "run" / "trials" / "01", 2)
    found = shares(folder)
    expected = {"total": 16.0, "training": 3.0, "evaluating": 5.0, "compiling": 3.0, "rest": 5.0}
    assert found == pytest.approx(expected)
