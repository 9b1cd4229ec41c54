"""Line charts as HTML: curves in an SVG that stretches, text beside it that does not.

At any width of the window lines keep their width and text its size; the page's script only moves a cursor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from mulligan.report.axis import Axis, fitted
from mulligan.report.markup import Html, element
from mulligan.report.words import number, short

SIDE = 1000  # of the drawing, in its own units
MOST_POINTS = 500  # drawn in one line
LABEL = 0.075  # height of a line of text as a share of the plot's


class ChartPoint(NamedTuple):
    """A value after so many images; with an interval, or `low` and `high` None."""

    nimg: float
    value: float
    low: float | None = None
    high: float | None = None
    abandoned: bool = False  # drawn faintly


class Series(NamedTuple):
    """One line. `colour` is a class of the style sheet: one, two, three, four, five or quiet."""

    name: str
    colour: str
    points: Sequence[ChartPoint]


class Flag(NamedTuple):
    """A moment marked on the time axis of every chart."""

    nimg: float
    label: str
    sentence: str


class Chart(NamedTuple):
    """What to draw."""

    title: str
    note: str
    series: Sequence[Series]
    reference: float | None = None  # a value to compare with, drawn as a line
    best: ChartPoint | None = None  # gets a ring


class Span(NamedTuple):
    """The time axis that all charts of a page share: 0 to `end` images seen."""

    end: float
    flags: Sequence[Flag] = ()


def draw(chart: Chart, span: Span) -> Html | None:
    """The chart as a `figure` element; None when it has no point."""
    lines = [series._replace(points=_thinned(series.points)) for series in chart.series if series.points]
    if not lines:
        return None
    time = Axis(0.0, span.end or 1.0, log=False)
    axis = _value_axis(lines, chart.reference)
    values = [(tick, short(tick) if abs(tick) >= 10_000 else number(tick)) for tick in axis.ticks()]
    flags = [(flag, time.place(flag.nimg)) for flag in span.flags]
    # Lines alone are in the drawing, which stretches with the window; all text lies over it.
    drawing = element(
        "svg",
        [_rule(axis.place(tick), "grid") for tick, _ in values],
        _rule(axis.place(chart.reference), "reference") if chart.reference is not None else None,
        [element("path", class_="post", d=f"M{SIDE * place:.4g},0V{SIDE}") for _, place in flags],
        [_band(series, time, axis) for series in lines],
        [_line(series, time, axis) for series in lines],
        viewBox=f"0 0 {SIDE} {SIDE}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    ring = None
    if chart.best:
        place = f"left:{100 * time.place(chart.best.nimg):.2f}%;top:{100 * (1 - axis.place(chart.best.value)):.2f}%"
        ring = element("span", class_="best", style=place)
    plot = element(
        "div",
        drawing,
        [_label(text, "tick y", top=1 - axis.place(tick)) for tick, text in values],
        [_label(short(tick), "tick x", left=time.place(tick)) for tick in time.ticks()],
        [
            element("span", flag.label, class_="flag", title=flag.sentence, style=f"left:{100 * place:.2f}%")
            for flag, place in flags
        ],
        _names(lines, axis) if len(lines) > 1 else None,
        ring,
        element("i", class_="cursor", hidden=True),
        class_="plot",
        style=f"--longest:{max(len(series.name) for series in lines)}" if len(lines) > 1 else None,
    )
    # The chart in a sentence, for those who cannot see it.
    spoken = "; ".join(
        f"{series.name} from {number(series.points[0].value)} to {number(series.points[-1].value)}" for series in lines
    )
    return element(
        "figure",
        element(
            "figcaption",
            element("strong", chart.title),
            element("span", chart.note, class_="note"),
            element("output", class_="readout"),
        ),
        plot,
        class_="chart",
        tabindex="0",
        role="group",
        aria_label=f"{chart.title}: {spoken}",
        data_end=span.end,
        data_series=_read_out(lines),
    )


def _read_out(lines: Sequence[Series]) -> str:
    """What the page's script shows under the cursor, as JSON."""
    data = []
    for series in lines:
        kept = [point for point in series.points if not point.abandoned]
        rows = [[p.nimg, p.value] + ([p.low, p.high] if p.low is not None and p.high is not None else []) for p in kept]
        data.append({"name": series.name, "points": [[float(f"{value:.4g}") for value in row] for row in rows]})
    return json.dumps(data, separators=(",", ":"))


def _value_axis(lines: Sequence[Series], reference: float | None) -> Axis:
    """Shows all that was kept; what was abandoned, often because it ran away, may leave through the edge."""
    points = [point for series in lines for point in series.points]
    points = [point for point in points if not point.abandoned] or points
    values = [point.value for point in points]
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    axis = fitted(values, reference)
    return axis if axis.log else fitted(values + ends, reference)  # on a log axis a low end near 0 leaves at the edge


def _line(series: Series, time: Axis, axis: Axis) -> Html:
    """What was kept as one line; each abandoned stretch by itself, from where it left."""
    kept = [point for point in series.points if not point.abandoned]
    paths = [element("path", class_=f"line {series.colour}", d=_path(kept, time, axis))] if kept else []
    if 0 < len(kept) <= 40:
        # A line of no length with round ends: a dot that keeps its size where the drawing stretches.
        dots = "".join(f"M{_xy(point.nimg, point.value, time, axis)}h0" for point in kept)
        paths.append(element("path", class_=f"dots {series.colour}", d=dots))
    before: list[ChartPoint] = []
    for abandoned, group in groupby(series.points, key=lambda point: point.abandoned):
        points = list(group)
        if abandoned:
            path = _path(before[-1:] + points, time, axis)
            paths.append(element("path", class_=f"line abandoned {series.colour}", d=path))
        else:
            before = points
    return Html("".join(reversed(paths)))  # what is kept is drawn last, over what was abandoned


def _band(series: Series, time: Axis, axis: Axis) -> Html | None:
    """The interval around what was kept."""
    points = [p for p in series.points if p.low is not None and p.high is not None and not p.abandoned]
    if len(points) < 2:
        return None
    upper = [_xy(p.nimg, p.high if p.high is not None else p.value, time, axis) for p in points]
    lower = [_xy(p.nimg, p.low if p.low is not None else p.value, time, axis) for p in reversed(points)]
    return element("path", class_=f"band {series.colour}", d="M" + "L".join(upper + lower) + "Z")


def _path(points: Sequence[ChartPoint], time: Axis, axis: Axis) -> str:
    return "M" + "L".join(_xy(point.nimg, point.value, time, axis) for point in points)


def _xy(nimg: float, value: float, time: Axis, axis: Axis) -> str:
    return f"{SIDE * time.place(nimg):.4g},{SIDE * (1 - axis.place(value)):.4g}"


def _rule(place: float, kind: str) -> Html:
    return element("path", class_=kind, d=f"M0,{SIDE * (1 - place):.4g}H{SIDE}")


def _label(text: str, kind: str, *, top: float | None = None, left: float | None = None) -> Html:
    place = f"top:{100 * top:.2f}%" if top is not None else f"left:{100 * (left or 0):.2f}%"
    return element("span", text, class_=kind, style=place, aria_hidden="true")


def _names(lines: Sequence[Series], axis: Axis) -> list[Html]:
    """Each line's name beside its end, moved apart where ends meet."""
    ends = []
    for series in lines:
        newest = next((point for point in reversed(series.points) if not point.abandoned), series.points[-1])
        ends.append((1 - axis.place(newest.value), series.name, series.colour))
    ends.sort()
    tops = spread([min(1.0, max(0.0, top)) for top, _, _ in ends], LABEL)
    return [
        element("span", name, class_=f"name {colour}", style=f"top:{100 * top:.2f}%")
        for top, (_, name, colour) in zip(tops, ends, strict=True)
    ]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Sorted places in [0, 1], moved by a sweep down and one up so that they are at least `gap` apart.

    >>> [round(place, 3) for place in spread([0.5, 0.5, 1.0], 0.1)]
    [0.5, 0.6, 1.0]
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    limit = 1.0
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def _thinned(points: Sequence[ChartPoint]) -> list[ChartPoint]:
    """At most about `MOST_POINTS`: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= MOST_POINTS:
        return list(points)
    length = math.ceil(2 * len(points) / MOST_POINTS)
    chosen: list[ChartPoint] = []
    for start in range(0, len(points), length):
        stretch = range(start, min(start + length, len(points)))
        ends = {min(stretch, key=lambda i: points[i].value), max(stretch, key=lambda i: points[i].value)}
        chosen += [points[index] for index in sorted(ends)]
    return chosen
