"""The table of averages: ratios within runs, medians over them, rows only for what there is."""

from argparse import Namespace

from benchmarks.quality.averages import interval, table


def test_ratios_are_within_runs_and_absent_candidates_are_left_out():
    kids = [{"last": 0.1, "ema": 0.05}, {"last": 0.4, "ema": 0.1}, {"last": 0.2, "ema": 0.2, "mixture": 0.1}]
    found = {("mnist", seed): {"kids": each} for seed, each in enumerate(kids)}
    rows = table(found, Namespace(tasks=["mnist"])).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| last", "| ema", "| mixture"]
    assert "| 0.1000 (0.0500..0.2000) | 0.50 (" in rows[1]
    assert rows[1].endswith("| 1.00 (1.00..1.00) | 3 |")
    assert rows[2].endswith("| 0.50 (0.50..0.50) | 0.50 (0.50..0.50) | 1 |")


def test_intervals_hold_the_median_and_widen_with_the_spread():
    assert interval([2.0, 2.0, 2.0]) == "2.00 (2.00..2.00)"
    assert interval([1.0, 2.0, 3.0]) == "2.00 (1.00..3.00)"
