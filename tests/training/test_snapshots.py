"""Snapshots of power averages: when, what they hold, and what goes with time that a run went back over."""

import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.training.snapshots import MOST, PLANNED, Snapshots

NAMES = ("ema", "power_05", "power_10")


def averages(value):
    """As a run keeps them, all alike but for a factor."""
    return {name: {"dense": [jnp.full(3, factor * value)]} for factor, name in enumerate(NAMES, start=1)}


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path / "snapshots", NAMES)


def filled(snapshots, *times):
    for nimg in times:
        snapshots.write(nimg, averages(float(nimg)))
    return snapshots


def test_what_is_written_is_read_back_oldest_first_with_its_width(snapshots):
    read = filled(snapshots, 2_000, 1_000).read()
    assert [(each.nimg, each.width) for each in read] == [(1000, 0.05), (1000, 0.1), (2000, 0.05), (2000, 0.1)]
    assert [list(each.params) for each in read] == [["dense.0"]] * 4
    np.testing.assert_array_equal(read[1].params["dense.0"], np.full(3, 3_000.0, np.float32))


def test_one_is_due_whenever_another_part_of_the_run_is_over(snapshots):
    horizon, taken = 16_000.0, []
    for nimg in range(0, 16_001, 64):
        if snapshots.due(nimg, horizon):
            filled(snapshots, nimg)
            taken.append(nimg)
    assert len(taken) == PLANNED
    assert np.abs(np.array(taken) - 1000 * np.arange(1, PLANNED + 1)).max() < 64


def test_none_is_due_before_the_length_of_the_run_is_known(snapshots):
    assert not snapshots.due(5_000, 0.0)
    assert snapshots.due(5_000, 5_000.0)


def test_none_is_due_without_power_averages(tmp_path):
    assert not Snapshots(tmp_path, ("ema", "uniform")).due(5_000, 5_000.0)


def test_what_a_run_went_back_over_is_forgotten_and_due_again(snapshots):
    filled(snapshots, 1_000, 2_000, 3_000).forget_after(2_000)
    assert snapshots.newest() == 2_000
    assert snapshots.due(3_000, 16_000.0)
    snapshots.forget_after(0)
    assert (snapshots.newest(), snapshots.read()) == (0, [])


def test_too_many_are_thinned_out_and_the_newest_stays(snapshots):
    times = [1000 * part for part in range(1, MOST + 2)]
    kept = [each.nimg for each in filled(snapshots, *times).read()[::2]]
    assert kept == times[::2]
    assert kept[-1] == times[-1]


def test_a_damaged_one_is_left_out(snapshots):
    filled(snapshots, 1_000, 2_000)
    [first, _] = sorted(snapshots.folder.iterdir())
    first.write_bytes(first.read_bytes()[:-5])
    assert [each.nimg for each in snapshots.read()] == [2_000, 2_000]


def test_a_folder_that_is_not_there_holds_none(snapshots):
    snapshots.forget_after(5)
    assert (snapshots.newest(), snapshots.read()) == (0, [])
