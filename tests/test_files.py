"""Locks: one holder at a time, and none once it has ended."""

import subprocess
import sys
import time

import pytest

from mulligan.errors import MulliganError
from mulligan.files import locked

HOLDER = """
import sys, time
from pathlib import Path
from mulligan.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_has_one_holder_and_is_free_again_when_that_one_is_killed(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), locked(path):
            pass
        holder.kill()
    time.sleep(0.05)
    with locked(path), pytest.raises(BlockingIOError), locked(path):
        pass
    with locked(path):
        pass


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path):
    with pytest.raises(MulliganError, match="cannot write"), locked(tmp_path / "absent" / "lock"):
        pass
