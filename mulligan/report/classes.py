"""The section on classes: how good each is, the worst first."""

from __future__ import annotations

from mulligan.events import FinalScored
from mulligan.report.markup import Html, element, table
from mulligan.report.run import RunRecord
from mulligan.report.words import count, decimal, figure

SHOWN = 30  # rows


def classes(record: RunRecord) -> Html | None:
    """A table of what was measured of each class; None where nothing was."""
    final = record.last(FinalScored)
    rows = sorted((final and final.classes) or (), key=lambda row: -(row["kid"] or 0.0))
    if final is None or not rows:
        return None
    worst = final.worst_class
    said = f"The worst class is {worst}. " if worst else "No class can be told to be worse than the others. "
    left = final.unmeasured or ()
    said += f"Too few real images to measure: {', '.join(left[:SHOWN])}. " if left else ""
    said += "Each class against as many real images of its own; precision, recall and coverage depend on how many."
    names = ("Class", "Real images", "KID", "95%", "Precision", "Recall", "Coverage")
    cells = []
    for row in rows[:SHOWN]:
        figures = figure(row["kid"], row["kid_low"], row["kid_high"])
        shares = (decimal(row["precision"]), decimal(row["recall"]), decimal(row["coverage"]))
        cells.append((row["name"], count(row["n_real"]), *figures, *shares))
    return element(
        "section",
        element("h2", "By class"),
        element("p", said, class_="lead"),
        table(names, cells, numbers=range(1, len(names))),
        element("p", f"{len(rows) - SHOWN} better ones are not shown.", class_="note") if len(rows) > SHOWN else None,
        id="classes",
    )
