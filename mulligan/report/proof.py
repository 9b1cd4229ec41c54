"""The section that says what a generator's images are worth, of a run whose data have classes or that was proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mulligan.events import as_number
from mulligan.report.markup import Html, element, table
from mulligan.report.run import RunRecord
from mulligan.report.words import UNKNOWN, count, decimal

SOURCES = {"real": "real images", "synthetic": "generated images alone", "both": "both"}


def proof(record: RunRecord) -> Html | None:
    """The sentence, what three classifiers reach, class by class, and the attacks; or how to have all that."""
    if not record.proof:
        if not record.task.get("classes"):
            return None
        command = element("code", f"mulligan prove {record.folder.resolve().name} DATA")
        words = " says whether these images help a classifier, and whether they are copies."
        return element("section", element("h2", "Proof"), element("p", command, words, class_="lead"), id="proof")
    found = Entries.of(record.proof)
    useful = found.within("usefulness")
    parts = f"{count(found.number('n_synthetic'))} images generated for each of {count(found.number('seeds'))} seeds"
    real = f"{count(found.number('n_train'))} real images to train on, {count(found.number('n_test'))} to test on"
    steps = f"{count(found.number('steps'))} steps each"
    how = f"small classifiers of features of {found.text('embedding')}, every class as often, {steps}"
    unsure = (
        "" if found.values.get("known") is True else " It is not known that the generator never saw the test images."
    )
    protocol = f"{parts}; {real}; {how}; intervals over seeds and test images.{unsure}"
    return element(
        "section",
        element("h2", "Proof"),
        element("p", found.text("sentence"), class_="lead"),
        element("div", _tiles(found, useful), class_="tiles"),
        _classes(useful),
        element("p", protocol, class_="note"),
        id="proof",
    )


@dataclass(frozen=True)
class Entries:
    """A JSON object of which any value may be missing or of another type."""

    values: dict[str, Any]

    @staticmethod
    def of(value: Any) -> Entries:
        return Entries(value if isinstance(value, dict) else {})

    def number(self, name: str) -> float | None:
        return as_number(self.values.get(name))

    def text(self, name: str) -> str:
        return "" if self.values.get(name) is None else str(self.values[name])

    def within(self, name: str) -> Entries:
        return Entries.of(self.values.get(name))


def _tiles(found: Entries, useful: Entries) -> list[Html]:
    accuracy = useful.within("accuracy")
    tiles = [
        _tile(f"Trained on {words}", accuracy.within(source), "accuracy, mean over classes")
        for source, words in SOURCES.items()
        if source in accuracy.values
    ]
    attacks = found.within("attacks")
    tiles += [
        _tile(f"Attack by {name}", attacks.within(name), "0 is chance, 1 always right") for name in attacks.values
    ]
    copies = found.within("copies")
    shares = [copies.number(name) for name in ("generated", "held_out")]
    generated, real = (UNKNOWN if share is None else f"{share:.1%}" for share in shares)
    detail = element("small", f"of unseen real images {real}")
    return [*tiles, element("div", element("span", "Near copies"), element("strong", generated), detail)]


def _tile(label: str, estimate: Entries, detail: str) -> Html:
    value, low, high = (decimal(estimate.number(name)) for name in ("value", "low", "high"))
    interval = f"95%: {low} to {high}; {detail}"
    return element("div", element("span", label), element("strong", value), element("small", interval))


def _classes(useful: Entries) -> Html | None:
    """A table, the class that loses most first."""
    given = useful.values.get("classes")
    rows = [Entries.of(entry) for entry in given] if isinstance(given, list) else []
    if not rows:
        return None
    names = (
        "Class",
        "Real images",
        "Test images",
        *(words.capitalize() for words in SOURCES.values()),
        "Gain",
        "95% together",
    )
    cells = []
    for row in sorted(rows, key=lambda row: row.within("gain").number("value") or 0.0):
        gain, low, high = (row.within("gain").number(end) for end in ("value", "low", "high"))
        hurt = high is not None and high < 0  # with 95% for all classes together
        name = element("b", row.text("name"), ", hurt") if hurt else row.text("name")
        counts = (count(row.number("n_train")), count(row.number("n_test")))
        reached = [decimal(row.number(source)) for source in SOURCES]
        cells.append((name, *counts, *reached, _points(gain), f"{_points(low)} to {_points(high)}"))
    return table(names, cells, numbers=range(1, len(names)))


def _points(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:+.1f}"
