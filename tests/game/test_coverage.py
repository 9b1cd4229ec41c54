"""Twenty-five modes in the plane: who covers them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json
from benchmarks.common.mixture_game import Choice, cover
print(json.dumps([cover(choice, 3000, seed=0) for choice in (Choice("relativistic", "r1r2"), Choice())]))
"""


@pytest.mark.slow
def test_penalties_cover_modes_that_the_bare_game_drops():
    """In a process of its own, compiled for speed: other tests' programs run too briefly for that to pay."""
    fast = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=fast, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (modes, quality), (bare_modes, _) = json.loads(done.stdout)
    assert modes >= 18  # 20 and 22 on two seeds
    assert bare_modes <= 16  # 14 and 6
    assert quality > 0.3
