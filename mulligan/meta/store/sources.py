"""Sources: where the records of an experience came from, so that what an import brought can be taken away again."""

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from mulligan.errors import MulliganError
from mulligan.meta.store.record import HERE, SHIPPED
from mulligan.meta.store.schema import SOURCE_LENGTH, curves, runs, sources, tasks, trials


class ImportSource(NamedTuple):
    """An import.

    Attributes:
      name: that each of its records carries.
      who: brought it, `user@host`.
      added: when; UTC, ISO 8601.
      file: name of the file or place it came from.
      sha256: of that file, or of the ids of what an experience held.
    """

    name: str
    who: str
    added: str
    file: str
    sha256: str


class Removed(NamedTuple):
    """How many records went."""

    trials: int
    tasks: int


def source_of(file: str, sha256: str, name: str | None = None) -> ImportSource:
    """The source that an import makes now; its name, if none is given, is the file's with the first digits of its sum.

    Raises:
      MulliganError: the name cannot be one.
    """
    named = f"{file[-(SOURCE_LENGTH - 9) :]}@{sha256[:8]}" if name is None else name
    if not named.strip() or len(named) > SOURCE_LENGTH or not named.isprintable() or named == SHIPPED:
        raise MulliganError(
            f"{named!r} cannot be the name of a source: give up to {SOURCE_LENGTH} letters, not {SHIPPED!r}."
        )
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name in the system's list of users
        user = "unknown"
    return ImportSource(
        named, f"{user}@{socket.gethostname()}", datetime.now(UTC).isoformat(timespec="seconds"), file, sha256
    )


def remove(connection: Connection, source: str | None, task: str | None, trial: str | None) -> Removed:
    """Deletes the trials that are of the source, of the task (its name or id) and of the id that are given.

    Where a source is given, its tasks and those of other imports go too, if no trial is left of them.

    Raises:
      MulliganError: there is nothing of the kind.
    """
    of_task = select(tasks.c.id).where(or_(tasks.c.name == task, tasks.c.id == task))
    wanted = [
        condition
        for given, condition in (
            (source, trials.c.source == source),
            (task, trials.c.task.in_(of_task)),
            (trial, trials.c.id == trial),
        )
        if given is not None
    ]
    ids = select(trials.c.id).where(*wanted)
    connection.execute(curves.delete().where(curves.c.trial.in_(ids)))
    gone = connection.execute(trials.delete().where(*wanted)).rowcount
    if task is not None and source is None and trial is None:
        connection.execute(runs.delete().where(runs.c.task.in_(of_task)))
    emptied = [or_(tasks.c.source == source, tasks.c.source != HERE), tasks.c.id.not_in(select(trials.c.task))]
    if task is not None:
        emptied.append(or_(tasks.c.name == task, tasks.c.id == task))
    orphans = connection.execute(tasks.delete().where(*emptied)).rowcount if source and trial is None else 0
    left = connection.execute(select(func.count()).select_from(trials).where(trials.c.source == source)).scalar_one()
    if source is not None and not left:
        connection.execute(sources.delete().where(sources.c.name == source))
    if not gone and not orphans:
        known = connection.execute(select(trials.c.source).distinct().order_by(trials.c.source)).scalars().all()
        raise MulliganError(f"there is nothing of the kind to remove; its sources are {', '.join(known) or HERE}.")
    return Removed(gone, orphans)
