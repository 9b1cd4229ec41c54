"""One run on several devices: the same numbers as on one, whichever devices it goes on with."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest
from on_devices import run_on_devices
from small_runs import events, weights

from mulligan.errors import MulliganError
from mulligan.training import mesh
from mulligan.training.mesh import data_mesh, member_mesh


@pytest.mark.slow
def test_a_batch_that_devices_share_trains_as_on_one(tmp_path):
    done = run_on_devices(8, "chunks", tmp_path / "found.npz")
    assert done.returncode == 0, done.stderr
    found, costs = np.load(tmp_path / "found.npz"), json.loads(done.stdout)
    for devices in ("2", "8"):
        np.testing.assert_allclose(found[devices], found["1"], rtol=2e-4, atol=2e-5)
        # Where each device did everything, all together would do as many times as much.
        assert costs[devices] < 1.5 * costs["1"]


@pytest.mark.slow
def test_a_run_killed_on_eight_devices_goes_on_with_two_and_with_one(tmp_path):
    whole = run_on_devices(1, "fit", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    killed = run_on_devices(8, "fit", tmp_path / "killed", 3, used=8)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for devices in (2, 1):
        run = shutil.copytree(tmp_path / "killed", tmp_path / f"on {devices}")
        done = run_on_devices(8, "fit", run, used=devices)
        assert done.returncode == 0, done.stderr
        assert [event["nimg"] for event in events(run, "chunk")] == [
            event["nimg"] for event in events(tmp_path / "whole", "chunk")
        ]
        for name, array in weights(run).items():
            np.testing.assert_allclose(array, weights(tmp_path / "whole")[name], rtol=1e-2, atol=1e-3)


class Device:
    """One that is only counted."""

    platform, process_index = "gpu", 0


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many devices."""

    def having(number, backend="gpu"):
        monkeypatch.delenv(mesh.VARIABLE, raising=False)
        monkeypatch.setattr(jax, "local_device_count", lambda: number)
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        monkeypatch.setattr(jax, "local_devices", lambda: [Device() for _ in range(number)])

    return having


def sides(found):
    """Devices along each axis."""
    return found and dict(found.shape)


@pytest.mark.parametrize(
    ("devices", "batch", "side", "share"),
    [(8, 64, 64, 4), (8, 64, 28, 1), (8, 64, 128, 8), (3, 64, 256, 2), (8, 60, 256, 6), (1, 64, 256, 1)],
)
def test_as_many_devices_share_a_batch_as_divide_it_and_have_enough_to_do(machine, devices, batch, side, share):
    machine(devices)
    assert sides(data_mesh(batch, (side, side, 3))) == (None if share == 1 else {"data": share, "member": 1})


def test_populations_are_shared_along_the_other_axis(machine):
    machine(8)
    assert sides(member_mesh(12)) == {"data": 1, "member": 6}
    assert sides(member_mesh(7)) == {"data": 1, "member": 7}


def test_nothing_is_shared_on_a_cpu_unless_it_is_asked_for(machine, monkeypatch):
    machine(8, "cpu")
    assert data_mesh(64, (256, 256, 3)) is None
    assert member_mesh(8) is None
    monkeypatch.setenv(mesh.VARIABLE, "4")
    assert sides(data_mesh(64, (8, 8, 1))) == {"data": 4, "member": 1}
    assert sides(data_mesh(6, (8, 8, 1))) == {"data": 3, "member": 1}
    assert sides(member_mesh(6)) == {"data": 1, "member": 3}


@pytest.mark.parametrize("asked", ["0", "9", "all", "-1"])
def test_devices_that_are_not_there_are_told(machine, monkeypatch, asked):
    machine(8)
    monkeypatch.setenv(mesh.VARIABLE, asked)
    with pytest.raises(MulliganError, match=rf"MULLIGAN_DEVICES is '{asked}': this machine has 8, .* from 1 to 8"):
        data_mesh(64, (64, 64, 3))
