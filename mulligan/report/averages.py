"""The section that compares the averages of a run."""

from __future__ import annotations

import math

from mulligan.events import AverageScored, GeneratorChosen
from mulligan.metrics.selection import ENERGY, KID, SELECTS, figure_named
from mulligan.report.markup import Html, element, table
from mulligan.report.run import RunRecord
from mulligan.report.words import UNKNOWN, count, figure, number


def averages(record: RunRecord) -> Html | None:
    """Every candidate on the images that chose, the best first, and what the one that is kept gains."""
    choice = record.last(GeneratorChosen)
    by = figure_named(choice.figure) if choice else SELECTS
    judged = [(event, by.of(vars(event))) for event in record.of(AverageScored)]
    if not judged:
        return None
    judged.sort(key=lambda each: math.inf if each[1][0] is None else each[1][0])
    names = ("Generator", "Images", "Energy distance", "95%", "KID", "95%", "Fréchet distance")
    rows = []
    for event, _ in judged:
        kept = choice is not None and event.average == choice.average
        name = element("b", event.average, ", kept") if kept else event.average
        figures = *figure(*ENERGY.of(vars(event))), *figure(*KID.of(vars(event)))
        rows.append((name, count(event.at_nimg), *figures, number(event.frechet)))
    # What was kept, and how it compares on the images that did not choose.
    gained = f"“{choice.average}” is kept. " if choice else ""
    for other, gain in (choice.gains if choice else {}).items():
        if (value := gain["value"]) is not None:
            spread = f"\N{PLUS-MINUS SIGN} {number(gain['deviation'])}"
            better = f"{number(abs(value))} {spread} {'better' if value <= 0 else 'worse'}"
            gained += f"On the other half of the images its {by.title} is {better} than that of “{other}”. "
    if choice and choice.skipped:
        gained += f"The budget had no time for: {', '.join(choice.skipped) or UNKNOWN}. "
    count_real = count(judged[0][0].n_real)
    return element(
        "section",
        element("h2", "Averages"),
        element("p", f"Compared on {count_real} validation images. ", gained, class_="lead"),
        table(names, rows, numbers=range(1, len(names))),
        id="averages",
    )
