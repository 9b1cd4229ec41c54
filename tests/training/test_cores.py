"""Processes side by side, each on its share of the cores."""

import os
import subprocess
import sys

import pytest

from mulligan.training.cores import PINS, move, own_cores, shares, started_on

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
