"""The sections of curves: quality on the validation split, and training itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mulligan.report.chart import Chart, Flag, Point, Series, Span, draw
from mulligan.report.markup import Html, element
from mulligan.report.run import Event, RunRecord
from mulligan.report.words import count, number

COLOURS = ("one", "two", "three", "four", "five")
LOWER = "lower is better"


def quality(record: RunRecord) -> Html | None:
    """KID with its interval, Fréchet distance and diversity of each average on the validation split."""
    newest = record.last("evaluation")
    if newest is None:
        return None
    at = f"@{newest.text('embedding')}"
    best = _best(record)
    note = f"{LOWER}; bands hold 95%" + (f"; the ring is the best, {number(best.value)}" if best else "")
    kid = Chart(f"KID{at}", note, _by_average(record, "kid"), best=best)
    others = [
        Chart(f"Fréchet distance{at}", LOWER, _by_average(record, "frechet")),
        Chart(
            "Diversity",
            "distance between samples; 1 is that of real images",
            _by_average(record, "diversity"),
            1.0,
        ),
    ]
    samples, images = count(newest.number("n_fake")), count(newest.number("n_real"))
    return element(
        "section",
        element("h2", "Quality"),
        element("p", f"{samples} samples against {images} validation images, while training.", class_="lead"),
        element("div", _drawn(record, [kid]), class_="charts wide"),
        element("div", _drawn(record, others), class_="charts"),
        id="quality",
    )


def training(record: RunRecord) -> Html | None:
    """Losses, logits, penalty, speed, and the hyperparameters that change."""
    chunks = record.of("chunk")
    if not chunks:
        return None
    charts = [
        Chart("Losses", "", _lines(chunks, {"gen_loss": "gen", "disc_loss": "disc"})),
        Chart("Logits", "mean over a chunk", _lines(chunks, {"real_logit": "real", "fake_logit": "fake"}), 0.0),
        Chart("Gradient penalty", "mean squared norm, unweighted", _lines(chunks, {"penalty": "penalty"})),
        Chart("Speed", "images a second", _lines(chunks, {"images_per_second": "images/s"}), 0.0),
    ]
    changing = _hyperparameters([event.within("hyperparameters") for event in chunks])
    return element(
        "section",
        element("h2", "Training"),
        element("div", _drawn(record, charts), class_="charts"),
        element("h3", "Hyperparameters that changed") if changing else None,
        element("div", _drawn(record, changing), class_="charts small") if changing else None,
        id="training",
    )


def best_evaluation(record: RunRecord) -> Event | None:
    """The evaluation that the run itself marked as its best so far, the newest such."""
    marked = [event for event in record.kept("evaluation") if event.values.get("best") is True]
    return marked[-1] if marked else None


def _drawn(record: RunRecord, charts: Iterable[Chart]) -> list[Html]:
    """The charts that have points, over the run's time, with the guard's moments numbered as in its table."""
    flags = [
        Flag(event.nimg, str(index), f"{event.text('reason')}: {event.text('action')}")
        for index, event in enumerate(record.of("guard"), start=1)
    ]
    drawn = [draw(chart, Span(record.nimg, flags)) for chart in charts]
    return [figure for figure in drawn if figure]


def _by_average(record: RunRecord, name: str) -> list[Series]:
    """A line for each average; the last iterate, noisy and seldom chosen, stays quiet behind the others."""
    evaluations = record.of("evaluation")
    averages = sorted({event.text("average") for event in evaluations} - {"last"})
    colours = {"last": "quiet" if averages else "one"}
    colours |= {average: COLOURS[index % len(COLOURS)] for index, average in enumerate(averages)}
    return [
        Series(
            average,
            colour,
            _points([event for event in evaluations if event.text("average") == average], name),
        )
        for average, colour in colours.items()
    ]


def _lines(events: Sequence[Event], names: dict[str, str]) -> list[Series]:
    """A line for each of `names`: key in the events to name in the chart."""
    return [
        Series(shown, colour, _points(events, name))
        for (name, shown), colour in zip(names.items(), COLOURS, strict=False)
    ]


def _hyperparameters(events: Sequence[Event]) -> list[Chart]:
    """A chart for each hyperparameter that changes; those of both players share one."""
    names = dict.fromkeys(name for event in events for name in event.values)
    changing = [name for name in names if len({event.number(name) for event in events} - {None}) > 1]
    charts: dict[str, dict[str, str]] = {}  # title -> key in the events -> name in the chart
    for name in changing:
        player, _, rest = name.partition("_")
        title, shown = (rest, player) if player in ("gen", "disc") else (name, name)
        charts.setdefault(title, {})[name] = shown
    return [Chart(title, "", _lines(events, lines)) for title, lines in charts.items()]


def _points(events: Iterable[Event], name: str) -> list[Point]:
    """The finite values under `name`, with the interval where `name_low` and `name_high` are there."""
    return [
        Point(event.nimg, value, event.number(f"{name}_low"), event.number(f"{name}_high"), event.abandoned)
        for event in events
        if (value := event.number(name)) is not None
    ]


def _best(record: RunRecord) -> Point | None:
    event = best_evaluation(record)
    value = event.number("kid") if event else None
    return Point(event.nimg, value) if event and value is not None else None
