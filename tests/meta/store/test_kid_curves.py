"""KID on curves: its logarithm has a floor, and events become points in one way."""

import math

import pytest

from mulligan.events import read_event
from mulligan.meta.store.kid_curves import log_kid, lowest_kid, lowest_log_kid, points_of
from mulligan.meta.store.record import METRICS, Point
from mulligan.metrics.selection import ENERGY


@pytest.mark.parametrize(
    ("figures", "kid"),
    [
        ({"kid": 0.5, "kid_low": 0.4, "kid_high": 0.6}, 0.5),
        ({"kid": 0.01, "kid_low": -0.088, "kid_high": 0.108}, 0.05),  # below its standard error
        ({"kid": -1.0}, 1e-4),
    ],
)
def test_a_kid_below_its_error_counts_as_that(figures, kid):
    assert log_kid(figures) == pytest.approx(math.log(kid))


def test_another_figure_has_its_own_logarithm():
    points = [Point(nimg, 1.0, 1.0, {"kid": 0.1 * nimg, "energy": 1.0 / nimg}) for nimg in (1, 2, 4)]
    assert lowest_log_kid(points) == pytest.approx(math.log(0.1))
    assert lowest_log_kid(points, ENERGY) == pytest.approx(math.log(0.25))
    assert lowest_log_kid([*points[:1], Point(9, 1.0, 1.0, {"kid": 0.1})], ENERGY) == pytest.approx(0.0)


def test_a_kid_that_is_missing_is_unknown():
    assert math.isnan(log_kid({"kid": None}))


def test_the_lowest_of_a_curve():
    points = [Point(nimg, 1.0, 1.0, {"kid": kid}) for nimg, kid in enumerate((0.2, None, -0.1, 0.3))]
    assert lowest_kid(points) == -0.1
    assert lowest_log_kid(points) == pytest.approx(math.log(1e-4))
    assert lowest_kid(points[1:2]) is None
    assert lowest_log_kid(points[1:2]) is None


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
