"""Experiences that travel: one file to export and import, and the one that is shipped.

The file is gzipped text with one JSON value a line: what it is, then every task and every trial by id with its digest,
then a digest of all ids. It does not depend on the database that it comes from; equal experiences give equal files.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, first_line
from mulligan.files import replace_file
from mulligan.meta.store.record import HERE, Records, TaskRecord, Trial, digest

FORMAT = 3
SUFFIX = ".jsonl.gz"
PACKAGE = Path(__file__).resolve().parents[2] / "data"  # holds experience-YYYY-MM-DD.jsonl.gz
LONGEST_LINE = 4 * 2**20  # bytes; a trial takes a few thousand
MOST_BYTES = 2**29  # that a file may unpack to
KINDS = ("task", "trial")


def shipped_file() -> Path | None:
    """The newest experience in the package."""
    return max(PACKAGE.glob(f"experience-*{SUFFIX}"), default=None)


def write_file(path: Path, exported: Records) -> None:
    """Writes one portable file.

    Raises:
      MulliganError: the name does not end in `.jsonl.gz`, or it cannot be written.
    """
    if not path.name.endswith(SUFFIX):
        raise MulliganError(f"{path} does not end in {SUFFIX}: an exported experience is known by its name.")
    records = [("task", task.to_json()) for _, task in sorted(exported.tasks.items())]
    records += [("trial", trial.to_json()) for _, trial in sorted(exported.trials.items())]
    lines: list[dict[str, Any]] = [
        {"format": FORMAT, "tasks": len(exported.tasks), "trials": len(exported.trials)},
        *({kind: document, "digest": digest(document)} for kind, document in records),
    ]
    lines += [{"end": digest([line["digest"] for line in lines[1:]])}]
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)
    replace_file(path, gzip.compress(text.encode(), mtime=0))  # no date, so that equal experiences give equal files


def read_file(path: Path, source: str = HERE) -> Records:
    """Reads what `write_file` wrote; rows that no trial or task can be are left out and told of.

    Raises:
      MulliganError: missing, damaged, or of a newer version.
    """
    for problem in problems(path):
        raise MulliganError(f"the exported experience {path} cannot be used: {problem}")
    known, found, skipped = {}, {}, []
    for number, line in enumerate(_lines(path), 1):
        kind = _kind(line)
        try:
            if kind == "task":
                task = TaskRecord.from_json(line[kind], f"the task in line {number}")
                known[task.id] = task
            elif kind == "trial":
                trial = Trial.from_json(line[kind], source, f"the trial in line {number}")
                if trial.task not in known:  # tasks come first
                    raise MulliganError(f"the trial in line {number} is of a task that the file does not hold.")
                found[trial.id] = trial
        except MulliganError as error:
            skipped.append(str(error))
    return Records(known, found, tuple(skipped))


def problems(path: Path) -> Iterator[str]:
    """A sentence for everything in an exported file that is not what was written."""
    digests: list[Any] = []
    line: Any = None
    try:
        for number, line in enumerate(_lines(path), 1):
            if number == 1:
                written = line.get("format") if isinstance(line, dict) else None
                if type(written) is not int:
                    yield "it does not begin as an exported experience does."
                    return
                if written > FORMAT:
                    reads = f"format {written}; this version reads up to {FORMAT}"
                    yield f"a newer version of mulligan wrote it ({reads}): upgrade."
                    return
            elif (kind := _kind(line)) is not None:
                digests.append(line.get("digest"))
                if digest(line[kind]) != line.get("digest"):
                    yield f"the {kind} in line {number} is not what was written."
        if not isinstance(line, dict) or line.get("end") != digest(digests):
            yield "its end is missing."
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        yield f"it is missing, damaged or no exported experience ({first_line(error)})."


def _kind(line: Any) -> str | None:
    return next((kind for kind in KINDS if kind in line), None) if isinstance(line, dict) else None


def _lines(path: Path) -> Iterator[Any]:
    """The values of the file's lines; no more of it is unpacked than an experience may hold."""
    left = MOST_BYTES
    with gzip.open(path, "rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            left -= len(line)
            if len(line) > LONGEST_LINE or left < 0:
                raise ValueError("it unpacks to more than an experience holds")
            yield json.loads(line)
