"""Experiences that travel: one file to export and import, the one that is shipped, and the union of several.

The file is gzipped text with one JSON value a line: what it is, then every task and every trial by id with its digest,
then a digest of all ids. It does not depend on the database that it comes from; equal experiences give equal files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, first_line, printable
from mulligan.files import replace_file
from mulligan.meta.store.experience import Experience, own_place, required_place, without_password
from mulligan.meta.store.record import HERE, SHIPPED, Records, TaskRecord, Trial, digest
from mulligan.meta.store.sources import ImportSource, source_of

FORMAT = 2
SUFFIX = ".jsonl.gz"
PACKAGE = Path(__file__).resolve().parents[2] / "data"  # holds experience-YYYY-MM-DD.jsonl.gz
LONGEST_LINE = 4 * 2**20  # bytes; a trial takes a few thousand
MOST_BYTES = 2**29  # that a file may unpack to
KINDS = ("task", "trial")


def shipped_and_own(place: str | None = None) -> Records:
    """The shipped experience and the user's own, together; neither need be there.

    Raises:
      MulliganError: one is there and cannot be read.
    """
    shipped, own = shipped_file(), place or own_place()
    known = Records({}, {}) if shipped is None else read_file(shipped, SHIPPED)
    return known.union(read(own)) if own and ("://" in own or Path(own).exists()) else known


def shipped_file() -> Path | None:
    """The newest experience in the package."""
    return max(PACKAGE.glob(f"experience-*{SUFFIX}"), default=None)


def read(place: str | Path) -> Records:
    """What an exported file or an experience that exists holds; rows that cannot be read are left out and told of.

    Raises:
      MulliganError: there is none, or it cannot be read at all.
    """
    if str(place).endswith(SUFFIX):
        return read_file(Path(place), HERE)
    return existing(str(place)).records()


def imports(place: str | None = None) -> dict[str, ImportSource]:
    """The imports of an experience (the user's own if None) by name; an exported file and one that is not there have
    none.

    Raises:
      MulliganError: the experience cannot be read.
    """
    where = place or own_place()
    if not where or where.endswith(SUFFIX) or ("://" not in where and not Path(where).exists()):
        return {}
    return Experience(where).sources()


def damage(place: str | None = None) -> list[str]:
    """A sentence for everything that is damaged in an exported file or an experience (the user's own if None).

    Raises:
      MulliganError: there is none, or it cannot be opened.
    """
    where = place or required_place()
    if where.endswith(SUFFIX):
        return list(problems(Path(where)))
    return list(existing(where).problems())


def existing(place: str) -> Experience:
    """The experience at a place where there is one.

    Raises:
      MulliganError: there is none, or it cannot be opened.
    """
    if "://" not in place and not Path(place).is_file():
        raise MulliganError(f"there is no experience {place}: give a file, or the URL of a database.")
    return Experience(place)


def take(experience: Experience, places: Sequence[str], name: str | None = None) -> list[tuple[str, int, int]]:
    """Adds what exported files and other experiences hold, all of it or nothing.

    Args:
      name: of the source of what they hold; None for one of each file's own.

    Returns:
      Of each place the name of its source, how many trials were new, and of how many.

    Raises:
      MulliganError: one of them cannot be read, or a row in it is none; the sentence says which row and field.
    """
    imports: list[tuple[ImportSource, Records]] = []
    for place in places:  # all of them, before anything is written
        found = read(place)
        for sentence in found.skipped:
            raise MulliganError(f"{without_password(place)} cannot be taken in, and nothing of it was: {sentence}")
        if place.endswith(SUFFIX):
            checksum = hashlib.sha256(Path(place).read_bytes()).hexdigest()
        else:
            checksum = hashlib.sha256(json.dumps(sorted([*found.tasks, *found.trials])).encode()).hexdigest()
        source = source_of(printable(Path(without_password(place)).name), checksum, name)
        imports.append((source, found))
    added = experience.take(imports)
    return [(source.name, new, len(found.trials)) for (source, found), new in zip(imports, added, strict=True)]


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
