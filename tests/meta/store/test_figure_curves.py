"""The figure that selects, on curves: its logarithm has a floor, and events become points in one way."""

import math

import pytest

from mulligan.events import read_event
from mulligan.meta.store.figure_curves import log_figure, lowest_figure, lowest_log_figure, points_of
from mulligan.meta.store.record import METRICS, Point


@pytest.mark.parametrize(
    ("figures", "value"),
    [
        ({"energy": 0.5, "energy_low": 0.4, "energy_high": 0.6}, 0.5),
        ({"energy": 0.01, "energy_low": -0.088, "energy_high": 0.108}, 0.05),  # below its standard error
        ({"energy": -1.0}, 1e-4),
    ],
)
def test_a_distance_below_its_error_counts_as_that(figures, value):
    assert log_figure(figures) == pytest.approx(math.log(value))


def test_a_curve_has_the_figure_that_selects_and_no_other():
    points = [Point(nimg, 1.0, 1.0, {"kid": 0.1 * nimg, "energy": 1.0 / nimg}) for nimg in (1, 2, 4)]
    assert lowest_log_figure(points) == pytest.approx(math.log(0.25))
    assert lowest_figure(points) == 0.25
    only_kid = Point(9, 1.0, 1.0, {"kid": 0.1})
    assert lowest_log_figure([*points[:1], only_kid]) == pytest.approx(0.0)
    assert lowest_log_figure([only_kid]) is lowest_figure([only_kid]) is None


def test_a_distance_that_is_missing_is_unknown():
    assert math.isnan(log_figure({"energy": None}))


def test_the_lowest_of_a_curve():
    points = [Point(nimg, 1.0, 1.0, {"energy": value}) for nimg, value in enumerate((0.2, None, -0.1, 0.3))]
    assert lowest_figure(points) == -0.1
    assert lowest_log_figure(points) == pytest.approx(math.log(1e-4))
    assert lowest_figure(points[1:2]) is None
    assert lowest_log_figure(points[1:2]) is None


def test_points_are_of_the_first_average_and_end_where_the_guard_went_back_to():
    events = [
        read_event({"kind": "evaluation", "nimg": nimg, "seconds": nimg / 10, "average": average, "kid": kid})
        for nimg, average, kid in ((10, "ema", 0.3), (10, "last", 0.1), (20, "ema", 0.2), (30, "ema", 9.0))
    ]
    found = list(points_of(events, 5.0, until=20))
    assert [(point.nimg, point.flops, point.seconds, point.figures["kid"]) for point in found] == [
        (10, 50.0, 1.0, 0.3),
        (20, 100.0, 2.0, 0.2),
    ]
    assert set(found[0].figures) == set(METRICS)
    assert len(list(points_of(events, 5.0))) == 3
