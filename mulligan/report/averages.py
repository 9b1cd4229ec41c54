"""The section that compares the averages of a run."""

from __future__ import annotations

from mulligan.report.markup import Html, element
from mulligan.report.run import Event, RunRecord, finite
from mulligan.report.words import UNKNOWN, count, figure, number


def averages(record: RunRecord) -> Html | None:
    """Every candidate on the images that chose, the best first, and what the one that is kept gains."""
    candidates = sorted(record.of("average"), key=_kid)
    if not candidates:
        return None
    choice = record.last("choice")
    kept = choice.text("average") if choice else ""
    names = ("Generator", "Images", "KID", "95%", "Fréchet distance")
    head = [element("th", name, class_="number" if place else None) for place, name in enumerate(names)]
    rows = [element("tr", head), *(_row(event, event.text("average") == kept) for event in candidates)]
    count_real = count(candidates[0].number("n_real"))
    return element(
        "section",
        element("h2", "Averages"),
        element("p", f"Compared on {count_real} validation images. ", _gained(choice), class_="lead"),
        element("div", element("table", rows), class_="scroll"),
        id="averages",
    )


def _kid(event: Event) -> float:
    kid = event.number("kid")
    return float("inf") if kid is None else kid


def _row(event: Event, kept: bool) -> Html:
    kid, interval = figure(event.number("kid"), event.number("kid_low"), event.number("kid_high"))
    name = event.text("average")
    values = (count(event.number("at_nimg")), kid, interval, number(event.number("frechet")))
    cells = [element("td", value, class_="number") for value in values]
    return element("tr", element("td", element("b", name, ", kept") if kept else name), *cells)


def _gained(choice: Event | None) -> str:
    """What was kept, and how it compares on the images that did not choose."""
    if choice is None:
        return ""
    words = f"“{choice.text('average')}” is kept. "
    gains = choice.values.get("gains")
    for other, gain in gains.items() if isinstance(gains, dict) else ():
        value, deviation = (finite(gain.get(key)) if isinstance(gain, dict) else None for key in ("value", "deviation"))
        if value is not None:
            plus_minus = "\N{PLUS-MINUS SIGN}"
            better = f"{number(abs(value))} {plus_minus} {number(deviation)} {'better' if value <= 0 else 'worse'}"
            words += f"On the other half of the images its KID is {better} than that of “{other}”. "
    skipped = choice.values.get("skipped")
    if isinstance(skipped, list) and skipped:
        words += f"The budget had no time for: {', '.join(map(str, skipped)) or UNKNOWN}. "
    return words
