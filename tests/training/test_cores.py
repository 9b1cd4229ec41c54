"""Processes side by side, each on its share of the cores."""

import os
import subprocess
import sys
import threading

import pytest

from mulligan.training import cores, device
from mulligan.training.cores import move, shares, started_on, threads_on
from mulligan.training.device import PINS, own_cores

SAYS = "import os, sys\nfor _ in range(2): print(sorted(os.sched_getaffinity(0)), flush=True); sys.stdin.read(1)"


def test_cores_are_dealt_out():
    own = own_cores()
    assert sorted(core for share in shares(len(own)) for core in share) == own
    assert all(shares(len(own) + 3))
    if hasattr(os, "sched_getaffinity"):
        with started_on(own[:1]):
            assert own_cores() == own[:1]
        assert own_cores() == own


@pytest.mark.skipif(not PINS or len(own_cores()) < 2, reason="needs two cores, and a system that pins")
def test_a_process_starts_on_its_share_and_is_moved():
    own = own_cores()
    pipe = subprocess.PIPE
    with started_on(own[:1]):
        process = subprocess.Popen([sys.executable, "-c", SAYS], stdin=pipe, stdout=pipe, text=True)
    assert own_cores() == own
    assert process.stdout.readline().strip() == str(own[:1])
    move(process.pid, own[1:2])
    assert process.communicate("x")[0].strip() == str(own[1:2])


@pytest.mark.skipif(not PINS, reason="needs a system that pins")
def test_a_thread_that_ends_does_not_keep_the_others_where_they_are(monkeypatch):
    asked, until = [], threading.Event()
    other = threading.Thread(target=until.wait)
    other.start()

    def moved(thread, cores):
        asked.append(thread)
        raise ProcessLookupError

    monkeypatch.setattr(os, "sched_setaffinity", moved)
    move(os.getpid(), own_cores())
    until.set()
    other.join()
    assert {os.getpid(), other.native_id} <= set(asked)


@pytest.mark.parametrize(("quota", "all_cores", "half"), [("max 100000", 8, 4), ("150000 100000", 2, 1), (None, 8, 4)])
def test_a_container_has_no_more_threads_than_its_share_of_time(monkeypatch, tmp_path, quota, all_cores, half):
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    monkeypatch.setattr(cores, "own_cores", lambda: list(range(8)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert [threads_on(range(8)), threads_on(range(4)), threads_on([3])] == [all_cores, half, 1]
