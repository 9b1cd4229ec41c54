"""The report: one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mulligan.files import replace_file
from mulligan.report.averages import averages
from mulligan.report.classes import classes
from mulligan.report.curves import quality, training
from mulligan.report.facts import cost, data, recipe
from mulligan.report.frame import framed
from mulligan.report.markup import Html
from mulligan.report.pictures import interpolation, neighbours, samples
from mulligan.report.proof import proof
from mulligan.report.race import race
from mulligan.report.result import happened, summary
from mulligan.report.run import RunRecord, read_run

Section = Callable[[RunRecord], Html | None]  # a `section` element with an id and an h2, or None to leave it out

SECTIONS: list[Section] = [
    summary,
    samples,
    proof,
    classes,
    quality,
    race,
    averages,
    neighbours,
    interpolation,
    training,
    happened,
    recipe,
    data,
    cost,
]


def write_report(run: Path) -> Path:
    """Draws `report.html` in a run folder, finished or not, from what the folder holds.

    Returns:
      The page's path. It asks for nothing over a network, and is there whole or not at all.

    Raises:
      MulliganError: no run folder that can be read, or a folder that cannot be written to.
    """
    path = run / "report.html"
    replace_file(path, page(read_run(run)).encode("utf-8", errors="replace"))
    return path


def page(record: RunRecord) -> str:
    """The whole page."""
    name = str(record.task.get("name") or record.folder.resolve().name)
    return framed(name, (section(record) for section in SECTIONS))
