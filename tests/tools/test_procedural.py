"""Pictures drawn at random to learn from: objects before a ground, each another, the same for a seed."""

import numpy as np
import pytest

from tools.procedural import things


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return things(64, 32)


def test_a_seed_draws_the_same_pictures_whatever_their_number(drawn):
    assert drawn.shape == (64, 32, 32, 3)
    assert drawn.dtype == np.uint8
    assert (things(5, 32) == drawn[:5]).all()
    assert not (things(5, 32, seed=1) == drawn[:5]).all()


def test_no_two_are_alike(drawn):
    flat = drawn.reshape(64, -1).astype(float)
    apart = np.abs(flat[:, None] - flat).mean(-1)
    assert apart[~np.eye(64, dtype=bool)].min() > 4


def test_something_stands_in_the_middle_before_a_ground_that_varies_less(drawn):
    pictures = drawn.astype(float)
    border = np.concatenate([pictures[:, :4].reshape(64, -1, 3), pictures[:, -4:].reshape(64, -1, 3)], 1)
    ground = np.median(border, 1)[:, None, None]
    unlike = np.abs(pictures - ground).mean(-1)
    assert unlike[:, 12:20, 12:20].mean() > 2 * unlike[:, :4].mean()


def test_grounds_are_dark_and_bright_dull_and_coloured(drawn):
    corner = drawn[:, :3, :3].reshape(64, -1, 3).mean(1)
    value, spread = corner.max(-1), corner.max(-1) - corner.min(-1)
    assert value.min() < 60
    assert value.max() > 220
    assert (spread < 20).sum() > 10
    assert (spread > 60).sum() > 5
