"""Twenty-five modes in the plane: who covers them."""

import pytest

from benchmarks.mixture_game import Choice, cover

STEPS = 3000


@pytest.mark.slow
def test_penalties_cover_modes_that_the_bare_game_drops():
    covered = cover(Choice("relativistic", "r1r2"), STEPS, seed=0)
    bare = cover(Choice(), STEPS, seed=0)
    assert covered.modes >= 18  # 20 and 22 on two seeds
    assert bare.modes <= 16  # 14 and 6
    assert covered.quality > 0.3
