"""What studies give contenders is what a table says, whatever was measured on this machine."""

import pytest

from benchmarks.common.speeds import SPEED, by_law, images_in
from mulligan.meta.space import prices
from mulligan.meta.space.default import default_recipe
from mulligan.training.budget import Budget


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("seconds", [20, 60, 160, 600])
def test_the_law_at_the_speeds_of_the_table(monkeypatch, side, seconds):
    """The same as the law gives where a machine is as fast as the table says; the table knows no width above 32."""
    shape = (side, side, 3)
    found = by_law(shape, 1000, seconds)
    as_said = lambda recipe, shape: prices.Price(0.0, speeds[recipe.architecture.gen_width], True)  # noqa: E731
    speeds = SPEED[side] | {64: 0.0}
    monkeypatch.setattr("mulligan.meta.space.default.price", as_said)
    assert found == default_recipe(shape, 1000, Budget(None, seconds))


def test_a_slow_machine_changes_nothing(monkeypatch):
    found = by_law((32, 32, 3), 1000, 160)
    monkeypatch.setattr("mulligan.meta.space.default.price", lambda *of: prices.Price(0.0, 1.0, True))
    assert by_law((32, 32, 3), 1000, 160) == found
    assert images_in(160, 32, found.architecture) == 192_000
