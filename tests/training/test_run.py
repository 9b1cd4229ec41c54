"""The run folder: one trainer at a time, made by one of two, and a sentence where it is gone."""

import shutil

import pytest

from mulligan.errors import MulliganError
from mulligan.events import Noted
from mulligan.training.run import RunFolder


@pytest.fixture
def folder(tmp_path):
    run = {"format": 1, "version": "0", "seed": 0, "budget": {"images": 1}, "source": "x", "experience": "none"}
    return RunFolder.create(tmp_path / "run", {"run": {**run, "options": {}}})


def test_a_run_has_one_trainer_at_a_time(folder):
    with (
        folder.held(),
        pytest.raises(MulliganError, match=r"another process is training .*run now: wait until"),
        RunFolder.open(folder.path).held(),
    ):
        pass
    with folder.held():
        pass


def test_of_two_that_make_one_folder_only_one_does(tmp_path, monkeypatch):
    """Both have looked, and found nothing there."""
    RunFolder.create(tmp_path / "run", {})
    monkeypatch.setattr("pathlib.Path.iterdir", lambda path: iter(()))
    with pytest.raises(MulliganError, match=r"already exists: choose another `out`, or go on with: mulligan resume "):
        RunFolder.create(tmp_path / "run", {})


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: folder.append(Noted(text="x")),
        lambda folder: folder.truncate_events(0),
        lambda folder: folder.events_length(),
        lambda folder: folder.write("race", {}),
        lambda folder: folder.held().__enter__(),
    ],
)
def test_a_folder_that_was_deleted_is_one_sentence(folder, use):
    shutil.rmtree(folder.path)
    with pytest.raises(MulliganError, match=r"cannot write .*: No such file or directory\.$"):
        use(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "32"}, "size"),
        ({"size": [32, 32, 32]}, "size"),
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"labels": "yes"}, "labels"),
        ({"background": 7}, "background"),
        ({"background": [0, 0]}, "background"),
        ({"fit": "stretch"}, "fit"),
        ({"groups": 3}, "groups"),
        ({"seed": 1}, "seed"),
        ({"memory": 1}, "memory"),
        ({"source": "/etc"}, "source"),
    ],
)
def test_how_images_are_read_is_checked_field_by_field(folder, options, words):
    folder.write("run", folder.document("run") | {"options": options})
    with pytest.raises(MulliganError, match=rf"run\.json's options.*{words}"):
        folder.document("run")


def test_how_images_were_read_passes(folder):
    for options in (
        {"size": 32, "labels": True, "background": "white", "fit": "pad", "groups": "near"},
        {"size": [24, 32], "labels": False, "background": [255, 0, 0], "fit": None, "groups": None},
        {"labels": False, "groups": None},
    ):
        folder.write("run", folder.document("run") | {"options": options})
        assert folder.document("run")["options"] == options
