"""Writes `docs/log/README.md`, the table of all studies, from their headers.

    python tools/log_index.py

A study is one file, `DATE-subject.md`. Its header says `date`, `verdict` (adopted, rejected or open) and `finding` (one
line); where there are any, also `command`, `machine` and `superseded by` (the name of a later study, without `.md`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

LOG = Path(__file__).resolve().parents[1] / "docs" / "log"
VERDICTS = ("adopted", "rejected", "open")
NEEDED, OPTIONAL = {"date", "verdict", "finding"}, {"command", "machine", "superseded by"}
BEGINNING = """# Log

Findings, newest first: what was tried, the numbers, the verdict. What did not work counts as much as what did.
A figure names its data, seeds, budget, protocol and machine. The plan that this checks is [design.md](../design.md).
A study is a file in this folder, and `python tools/log_index.py` writes this table from their headers.
Words that older studies use and the code no longer does are in [a study of their own](2026-11-27-names.md).

| date | study | verdict | finding |
|---|---|---|---|
"""


class Study(NamedTuple):
    """One file of the log: its name without `.md`, its title and its header."""

    name: str
    title: str
    header: dict[str, str]


def read_study(path: Path) -> Study:
    """The study in this file.

    Raises:
      ValueError: its header is not as it should be.
    """
    _, header, body = path.read_text().split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    if not NEEDED <= set(fields) <= NEEDED | OPTIONAL:
        raise ValueError(f"{path.name}: a header has {sorted(NEEDED)}, and perhaps {sorted(OPTIONAL)}")
    if fields["verdict"] not in VERDICTS or not path.name.startswith(fields["date"]):
        raise ValueError(f"{path.name}: the verdict is one of {VERDICTS}, and the name begins with the date")
    title = body.strip().splitlines()[0].removeprefix("# ")
    return Study(path.stem, title, fields)


def studies() -> list[Study]:
    """All studies, newest first."""
    return [read_study(path) for path in sorted(LOG.glob("[0-9]*.md"), reverse=True)]


def index() -> str:
    """What `docs/log/README.md` should say."""
    titles = {study.name: study.title for study in studies()}
    rows = []
    for name, title, header in studies():
        later = header.get("superseded by")
        verdict = header["verdict"] + (f"; superseded by [{titles[later]}]({later}.md)" if later else "")
        rows.append(f"| {header['date']} | [{title}]({name}.md) | {verdict} | {header['finding']} |\n")
    return BEGINNING + "".join(rows)


if __name__ == "__main__":
    (LOG / "README.md").write_text(index())
