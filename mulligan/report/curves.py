"""The sections of curves: quality on the validation split, and training itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mulligan.events import ChunkTrained, Evaluated, RolledBack, RunEvent
from mulligan.metrics.selection import FIGURES, SELECTS
from mulligan.report.chart import Chart, ChartPoint, Flag, Series, Span, draw
from mulligan.report.markup import Html, element
from mulligan.report.run import RunRecord
from mulligan.report.words import count, number

COLOURS = ("one", "two", "three", "four", "five")
LOWER = "lower is better"


def quality(record: RunRecord) -> Html | None:
    """What selects, KID, Fréchet distance and diversity of each average on the validation split."""
    newest = record.last(Evaluated)
    if newest is None:
        return None
    marked, at = best_evaluation(record), newest.embedding
    charts = []
    for figure in sorted(FIGURES, key=lambda each: each is not SELECTS):
        value = figure.of(vars(marked))[0] if marked else None
        ring = None if marked is None or value is None else ChartPoint(marked.nimg, value)
        note = f"{LOWER}; bands hold 95%" + (f"; the ring is the run's best, {number(value)}" if ring else "")
        charts += [Chart(figure.at(at), note, _by_average(record, figure.name), best=ring)]
    charts += [
        Chart(f"Fréchet distance@{at}", LOWER, _by_average(record, "frechet")),
        Chart(
            "Diversity",
            "distance between samples; 1 is that of real images",
            _by_average(record, "diversity"),
            1.0,
        ),
    ]
    samples, images = count(newest.n_fake), count(newest.n_real)
    return element(
        "section",
        element("h2", "Quality"),
        element("p", f"{samples} samples against {images} validation images, while training.", class_="lead"),
        element("div", _drawn(record, charts), class_="charts"),
        id="quality",
    )


def training(record: RunRecord) -> Html | None:
    """Losses, logits, penalty, speed, and the hyperparameters that change."""
    chunks = record.of(ChunkTrained)
    if not chunks:
        return None
    charts = [
        Chart("Losses", "", _lines(chunks, {"gen_loss": "gen", "disc_loss": "disc"})),
        Chart("Logits", "mean over a chunk", _lines(chunks, {"real_logit": "real", "fake_logit": "fake"}), 0.0),
        Chart("Gradient penalty", "mean squared norm, unweighted", _lines(chunks, {"penalty": "penalty"})),
        Chart("Speed", "images a second", _lines(chunks, {"images_per_second": "images/s"}), 0.0),
    ]
    # A chart for each hyperparameter that changes; those of both players share one.
    names = dict.fromkeys(name for chunk in chunks for name in chunk.hyperparameters)
    changing: dict[str, list[Series]] = {}
    for name in names:
        values = [(chunk, chunk.hyperparameters.get(name)) for chunk in chunks]
        if len({value for _, value in values} - {None}) < 2:
            continue
        player, _, rest = name.partition("_")
        title, shown = (rest, player) if player in ("gen", "disc") else (name, name)
        points = [
            ChartPoint(chunk.nimg, value, abandoned=chunk.abandoned) for chunk, value in values if value is not None
        ]
        series = changing.setdefault(title, [])
        series.append(Series(shown, COLOURS[len(series)], points))
    small = _drawn(record, [Chart(title, "", series) for title, series in changing.items()])
    return element(
        "section",
        element("h2", "Training"),
        element("div", _drawn(record, charts), class_="charts"),
        element("h3", "Hyperparameters that changed") if changing else None,
        element("div", small, class_="charts small") if changing else None,
        id="training",
    )


def best_evaluation(record: RunRecord) -> Evaluated | None:
    """The evaluation that the run itself marked as its best so far, the newest such."""
    marked = [event for event in record.kept(Evaluated) if event.best]
    return marked[-1] if marked else None


def _drawn(record: RunRecord, charts: Iterable[Chart]) -> list[Html]:
    """The charts that have points, over the run's time, with the guard's moments numbered as in its table."""
    flags = [
        Flag(event.nimg, str(index), f"{event.reason}: {event.action}")
        for index, event in enumerate(record.of(RolledBack), start=1)
    ]
    drawn = [draw(chart, Span(record.nimg, flags)) for chart in charts]
    return [figure for figure in drawn if figure]


def _by_average(record: RunRecord, name: str) -> list[Series]:
    """A line for each average; the last iterate, noisy and seldom chosen, stays quiet behind the others."""
    evaluations = record.of(Evaluated)
    averages = sorted({event.average for event in evaluations} - {"last"})
    colours = {"last": "quiet" if averages else "one"}
    colours |= {average: COLOURS[index % len(COLOURS)] for index, average in enumerate(averages)}
    return [
        Series(
            average,
            colour,
            _points([event for event in evaluations if event.average == average], name),
        )
        for average, colour in colours.items()
    ]


def _lines(events: Sequence[RunEvent], names: dict[str, str]) -> list[Series]:
    """A line for each of `names`: field of the events to name in the chart."""
    return [
        Series(shown, colour, _points(events, name))
        for (name, shown), colour in zip(names.items(), COLOURS, strict=False)
    ]


def _points(events: Iterable[RunEvent], name: str) -> list[ChartPoint]:
    """The finite values of the field `name`, with the interval where there are `name_low` and `name_high`."""
    found = [(event, getattr(event, name)) for event in events]
    return [
        ChartPoint(
            event.nimg,
            value,
            getattr(event, f"{name}_low", None),
            getattr(event, f"{name}_high", None),
            event.abandoned,
        )
        for event, value in found
        if value is not None
    ]
