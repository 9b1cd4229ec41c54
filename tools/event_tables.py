"""Writes the tables of events in docs/run-folder.md from the classes in `mulligan.events`.

`python -m tools.event_tables` brings the document up to date; a test holds that it is.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from mulligan.events import AROUND_RUN, IN_RUN, OTHERS, Event, RunEvent, own_fields

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "run-folder.md"
TABLES = {"events in a run": IN_RUN, "events around a run": AROUND_RUN, "events of learn and prove": OTHERS}


def described(event: type[Event]) -> dict[str, str]:
    """Field to what the docstrings of its class and of those above it say of it, the nearest first."""
    found: dict[str, str] = {}
    for kind in event.__mro__:
        text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
        for names, words in re.findall(r"^  (\w+(?:, \w+)*): ((?:.|\n   )*)", text, re.MULTILINE):
            for name in names.split(", "):
                found.setdefault(name, re.sub(r"(?<!\.)\.$", "", " ".join(words.split())))
    return found


def table(events: tuple[type[Event], ...]) -> str:
    """One row for each kind: when it is told, and its keys."""
    rows = ["| kind | when | further keys |", "|---|---|---|"]
    explained: set[str] = set()  # what several kinds, or several keys, have in common is said once
    for event in events:
        words, keys = described(event), []
        names = [field.name for field in dataclasses.fields(event)]
        if issubclass(event, RunEvent):
            names = ["arm"] * ("arm:" in (event.__doc__ or "")) + own_fields(event)
        for name, following in zip(names, [*names[1:], ""], strict=True):
            said = words.get(name, "")
            keys.append(f"`{name}`" + (f" ({said})" if said and said not in explained | {words.get(following)} else ""))
            explained |= {said} if said and said != words.get(following) else set()
        when = inspect.cleandoc(event.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        rows.append(f"| `{event.kind}` | {when} | {', '.join(keys)} |")
    return "\n".join(rows)


def updated(document: str) -> str:
    """The document with its tables as the classes have them."""
    for name, events in TABLES.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, _, rest = document.partition(start)
        document = before + start + table(events) + "\n" + end + rest.partition(end)[2]
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
