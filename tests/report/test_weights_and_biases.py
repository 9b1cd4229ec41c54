"""Weights & Biases in offline mode: what is logged, by a stand-in; and that the real library takes it."""

import sys
from types import SimpleNamespace

import pytest

from mulligan.errors import MulliganError
from mulligan.events import ChunkTrained
from mulligan.report.follow import write_curves
from mulligan.report.run import read_run


def test_what_is_logged_are_the_kept_events(light, tmp_path, monkeypatch):
    logged, started, ended = [], [], []

    class Target:
        log = staticmethod(logged.append)

        def finish(self, exit_code):
            ended.append(exit_code)

    def init(**options):
        started.append(options)
        return Target()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Image=lambda pixels: pixels.shape))
    write_curves(light, "wandb", str(tmp_path / "wb"))
    assert started[0]["mode"] == "offline"
    assert started[0]["config"]["architecture"]["family"]
    kept = read_run(light).kept(ChunkTrained)
    assert [entry["nimg"] for entry in logged if "train/gen_loss" in entry] == [event.nimg for event in kept]
    assert any(entry.get("samples", (0,))[-1] == 3 for entry in logged)
    assert any("test/power_10/precision" in entry for entry in logged)
    assert ended == [0]


def test_the_user_may_send_it_at_once(light, tmp_path, monkeypatch):
    started = []

    def init(**options):
        started.append(options["mode"])
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(MulliganError, match=r"cannot be written to .*: no network\."):
        write_curves(light, "wandb", str(tmp_path))
    assert started == ["online"]


def test_without_the_library_it_says_so(light, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[wandb\]'"):
        write_curves(light, "wandb", str(tmp_path))


@pytest.mark.slow
def test_the_real_library_writes_files_offline(light, tmp_path):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    write_curves(light, "wandb", str(tmp_path / "wb"))
    assert list((tmp_path / "wb").rglob("run-*.wandb"))
