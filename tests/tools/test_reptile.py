"""The centre of runs on many tasks: the mean of where they end, and what a round begins with."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from mulligan.networks.architecture import Networks
from tools import reptile


def players(*values):
    """One of each, with a row for each member."""
    return Networks({"w": np.array(values, np.float32)}, {"w": -np.array(values, np.float32)})


def test_the_mean_leaves_out_runs_that_blew_up():
    mean = reptile.mean(players(1.0, np.nan, 3.0), np.array([True, False, True]))
    assert (float(mean.gen["w"]), float(mean.disc["w"])) == (2.0, -2.0)


def test_a_round_begins_between_the_centre_and_fresh_weights():
    begun = reptile.between(0.25, players(4.0), players(8.0))
    assert begun.gen["w"].tolist() == [7.0]
    assert reptile.apart(players(3.0), players(2.0)) == [0.5, 0.5]


@pytest.mark.slow
def test_rounds_move_the_centre_and_later_stages_go_on_from_it(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "tasks.npz", a=rng.integers(0, 99, (9, 8, 8, 3), np.uint8), b=np.full((5, 8, 8, 3), 200, np.uint8)
    )
    given = ["learn", str(tmp_path / "tasks.npz"), "--width", "4", "--batch", "4", "--members", "2"]

    def learned(out, *more):
        monkeypatch.setattr("sys.argv", ["reptile.py", *given, "--out", str(tmp_path / out), *more])
        reptile.main()
        [found] = tmp_path.glob(f"{out}-*.safetensors")
        return load_file(found), json.loads(found.with_suffix(".json").read_text())

    once, card = learned("once", "--stages", "2x1")
    assert (card["trained_on"], card["images_seen"]) == (["a", "b"], 2 * 1 * 4 * 2)
    assert all(np.isfinite(array).all() for array in once.values())
    begun = tmp_path / "once-0.safetensors"
    [on, again] = [learned(out, "--stages", "2x1", "--share", "1", "--begin", str(begun))[0] for out in ("on", "again")]
    assert all(np.array_equal(on[name], again[name]) for name in on)
    assert any((on[name] != once[name]).any() for name in on)
