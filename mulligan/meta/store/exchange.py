"""Experiences that travel: one file to export and import, the one that is shipped, and the union of several.

The file is gzipped text with one JSON value a line: what it is, then every task and every trial by id with its digest,
then a digest of all ids. It does not depend on the database that it comes from; equal experiences give equal files.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mulligan.errors import MulliganError
from mulligan.files import replace_file
from mulligan.meta.store.experience import Experience, own_place, required_place
from mulligan.meta.store.record import TaskRecord, Trial, digest

FORMAT = 2
SUFFIX = ".jsonl.gz"
SHIPPED = Path(__file__).resolve().parents[2] / "data"  # holds experience-YYYY-MM-DD.jsonl.gz


class Records(NamedTuple):
    """Tasks and trials by id."""

    tasks: dict[str, TaskRecord]
    trials: dict[str, Trial]

    def union(self, other: Records) -> Records:
        return Records(self.tasks | other.tasks, self.trials | other.trials)


def records(experience: Experience) -> Records:
    """All that an experience holds."""
    return Records({task.id: task for task in experience.tasks()}, {trial.id: trial for trial in experience.trials()})


def shipped_and_own(place: str | None = None) -> Records:
    """The shipped experience and the user's own, together; neither need be there.

    Raises:
      MulliganError: one is there and cannot be read.
    """
    shipped, own = shipped_file(), place or own_place()
    known = Records({}, {}) if shipped is None else read_file(shipped)
    return known.union(read(own)) if own and ("://" in own or Path(own).exists()) else known


def shipped_file() -> Path | None:
    """The newest experience in the package."""
    return max(SHIPPED.glob(f"experience-*{SUFFIX}"), default=None)


def read(place: str | Path) -> Records:
    """What an exported file or an experience that exists holds."""
    return read_file(Path(place)) if str(place).endswith(SUFFIX) else records(_existing(str(place)))


def damage(place: str | None = None) -> list[str]:
    """A sentence for everything that is damaged in an exported file or an experience (the user's own if None)."""
    where = place or required_place()
    if where.endswith(SUFFIX):
        return list(problems(Path(where)))
    return list(_existing(where).problems())


def _existing(place: str) -> Experience:
    """The experience at a place where there is one."""
    if "://" not in place and not Path(place).is_file():
        raise MulliganError(f"there is no experience {place}: give a file, or the URL of a database.")
    return Experience(place)


def merge(experience: Experience, added: Records) -> int:
    """Adds what is new; returns the number of new trials. In any order, and again, the result is the same."""
    for task in added.tasks.values():
        experience.add_task(task)
    return experience.add(added.trials.values())


def write_file(path: Path, exported: Records) -> None:
    """Writes one portable file.

    Raises:
      MulliganError: the name does not end in `.jsonl.gz`, or it cannot be written.
    """
    if not path.name.endswith(SUFFIX):
        raise MulliganError(f"{path} does not end in {SUFFIX}: an exported experience is known by its name.")
    lines = [{"format": FORMAT, "tasks": len(exported.tasks), "trials": len(exported.trials)}]
    lines += [_with_digest("task", task.to_json()) for _, task in sorted(exported.tasks.items())]
    lines += [_with_digest("trial", trial.to_json()) for _, trial in sorted(exported.trials.items())]
    lines += [{"end": digest([line["digest"] for line in lines[1:]])}]
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)
    replace_file(path, gzip.compress(text.encode(), mtime=0))


def read_file(path: Path) -> Records:
    """Reads what `write_file` wrote.

    Raises:
      MulliganError: missing, damaged, or of a newer version.
    """
    found = problems(path)
    for problem in found:
        raise MulliganError(f"the exported experience {path} cannot be used: {problem}")
    tasks: dict[str, TaskRecord] = {}
    trials: dict[str, Trial] = {}
    for line in _lines(path):
        if "task" in line:
            tasks[line["task"]["id"]] = TaskRecord.from_json(line["task"])
        elif "trial" in line:
            trials[line["digest"]] = Trial.from_json(line["trial"])
    return Records(tasks, trials)


def problems(path: Path) -> Iterator[str]:
    """A sentence for everything in an exported file that is damaged."""
    digests = []
    try:
        lines = list(_lines(path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        yield f"it is missing, damaged or no exported experience ({error})."
        return
    if not lines or "format" not in lines[0]:
        yield "it does not begin as an exported experience does."
        return
    if lines[0]["format"] > FORMAT:
        written = lines[0]["format"]
        yield f"a newer version of mulligan wrote it (format {written}; this version reads up to {FORMAT}): upgrade."
        return
    for number, line in enumerate(lines[1:], 2):
        digests += [line["digest"]] if "digest" in line else []
        kind = next((kind for kind in ("task", "trial") if kind in line), None)
        if kind and digest(line[kind]) != line.get("digest"):
            yield f"the {kind} in line {number} is not what was written."
    if lines[-1].get("end") != digest(digests):
        yield "its end is missing."


def _with_digest(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {kind: document, "digest": digest(document)}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line)
