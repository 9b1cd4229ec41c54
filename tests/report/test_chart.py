"""Axes and charts."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.report.axis import DECADES, Axis, fitted, linear_ticks
from mulligan.report.chart import MOST_POINTS, Chart, ChartPoint, Flag, Series, Span, draw, spread

numbers = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.lists(numbers, max_size=20), st.none() | numbers)
def test_an_axis_shows_all_its_values_and_two_ticks_or_more(values, reference):
    axis = fitted(values, reference)
    largest = max([*values, reference or 0.0])
    shown = [value for value in values if not axis.log or value >= largest * DECADES]
    assert all(-1e-6 <= axis.place(value) <= 1 + 1e-6 for value in shown)
    ticks = axis.ticks()
    assert all(-1e-6 <= axis.place(tick) <= 1 + 1e-6 for tick in ticks)
    assert len(ticks) <= 5
    if axis.high - axis.low > 1e-9 * abs(axis.high):
        assert len(ticks) >= (1 if axis.log else 2)


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), most=st.integers(3, 10))
def test_linear_ticks_are_evenly_spaced_multiples_of_a_round_step(low, width, most):
    ticks = linear_ticks(low, low + width, most)
    steps = [after - before for before, after in pairwise(ticks)]
    for step in steps:
        assert math.isclose(step, steps[0], rel_tol=1e-6)
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert any(math.isclose(mantissa, round_, rel_tol=1e-6) for round_ in (1, 2, 2.5, 5, 10))


def test_a_logarithmic_axis_places_by_ratio():
    axis = Axis(0.01, 100.0, log=True)
    assert [axis.place(value) for value in (0.01, 1.0, 100.0)] == pytest.approx([0, 0.5, 1])
    assert axis.place(-1.0) == 0.0


def test_a_negative_estimate_of_about_zero_does_not_stop_a_logarithmic_axis():
    assert fitted([1.0, 0.1, 0.01, 0.001, -0.0002]).log
    assert not fitted([1.0, -1.0, 0.001]).log


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted))
def test_spread_labels_keep_their_order_and_do_not_touch(places):
    moved = spread(places, 0.1)
    assert all(after - before >= 0.1 - 1e-9 for before, after in pairwise(moved))
    assert moved[-1] <= 1 + 1e-9
    assert min(moved) >= -1e-9


def drawn(points: list[ChartPoint], flags: tuple[Flag, ...] = ()) -> str:
    figure = draw(Chart("Title", "note", [Series("line", "one", points)]), Span(100.0, flags))
    assert figure is not None
    return figure


def test_no_points_no_chart():
    assert draw(Chart("Title", "", [Series("line", "one", [])]), Span(100.0)) is None


def test_a_line_goes_through_its_points():
    figure = drawn([ChartPoint(0, 0.0), ChartPoint(50, 1.0), ChartPoint(100, 0.0)])
    (path,) = re.findall(r'class="line one" d="([^"]*)"', figure)
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, xy.split(","))) for xy in path[1:].split("L")]
    assert (x0, x1, x2) == (0, 500, 1000)
    assert y0 == y2 > y1


def test_a_thinned_line_keeps_its_spikes():
    points = [ChartPoint(index / 100, 1.0) for index in range(10_000)]
    points[5_555] = ChartPoint(55.55, 9.0)
    figure = drawn(points)
    (path,) = re.findall(r'class="line one" d="([^"]*)"', figure)
    assert path.count("L") <= MOST_POINTS
    assert "[55.55,9.0]" in figure


def test_an_abandoned_stretch_is_drawn_faintly_from_where_it_left_and_never_sets_the_scale():
    points = [ChartPoint(10, 1.0), ChartPoint(20, 2.0), ChartPoint(30, 1e9, abandoned=True), ChartPoint(40, 3.0)]
    figure = drawn(points)
    (faint,) = re.findall(r'class="line abandoned one" d="M([^"]*)"', figure)
    assert faint.startswith("200,")
    (kept,) = re.findall(r'class="line one" d="([^"]*)"', figure)
    heights = [float(xy.split(",")[1]) for xy in kept[1:].split("L")]
    assert len(heights) == 3
    assert heights[0] - heights[2] > 500


def test_flags_stand_at_their_time():
    figure = drawn([ChartPoint(0, 1.0), ChartPoint(100, 2.0)], (Flag(25, "1", "lost: halved"),))
    assert 'class="flag" title="lost: halved" style="left:25.00%">1<' in figure


def test_an_interval_is_a_band():
    figure = drawn([ChartPoint(0, 1.0, 0.9, 1.1), ChartPoint(100, 2.0, 1.8, 2.2)])
    (band,) = re.findall(r'class="band one" d="([^"]*)"', figure)
    assert band.count("L") == 3
    assert band.endswith("Z")
