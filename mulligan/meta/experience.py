"""The experience: every trial on every task, in a SQLite file or a PostgreSQL database, for many writers at once; and
what several experiences hold together, in databases and in exported files.

Rows are written once and never changed. A trial is claimed before it runs, by a lease that ends when its worker no
longer renews it; it is written whole, with its curve and in one transaction, when it ends, and only by whoever holds
the claim. So a worker may be killed at any instant: nothing is lost but the trial it was at, and that is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.exc import IntegrityError

from mulligan.errors import MulliganError, printable
from mulligan.meta.store import exchange, rows, schema
from mulligan.meta.store.connections import connect, sentences, without_password
from mulligan.meta.store.record import HERE, SHIPPED, Records, TaskRecord, Trial, digest
from mulligan.meta.store.schema import claims, recipes, runs, sources, tasks, trials
from mulligan.meta.store.sources import ImportSource, Removed, remove, source_of
from mulligan.places import data_folder

LEASE_SECONDS = 120.0  # without a sign of life, before a trial is given to another worker
NONE = "none"  # in place of a place: nothing is asked, nothing remembered
HOMELESS = "this user has no home folder, so set MULLIGAN_EXPERIENCE to a file"
AT_A_TIME = 500  # trials read in one query


class Experience:
    """An experience that can be read and written; made where there is none yet.

    Args:
      place: a SQLite file or a SQLAlchemy URL; None for `own_place()`.
      clock: seconds since 1970, by which leases end.

    Raises (every method):
      MulliganError: it cannot be opened, read or written; the sentence says why.
    """

    def __init__(self, place: str | Path | None = None, clock: Callable[[], float] = time.time):
        self.place = str(place or required_place())
        self._clock = clock
        self._engine = connect(self.place)
        with self._writing() as connection:
            schema.bring_up_to_date(connection, self.place)

    # --- tasks and trials

    def add_task(self, task: TaskRecord) -> None:
        """Remembers a task; one that is known stays as it was."""
        with self._writing() as connection:
            rows.add_task(connection, task)

    def tasks(self, skipped: list[str] | None = None) -> list[TaskRecord]:
        """Every task, by name; to `skipped` is added a sentence for each row that cannot be read."""
        with self._reading() as connection:
            ids = connection.scalars(select(tasks.c.id).order_by(tasks.c.family, tasks.c.name, tasks.c.id)).all()
            return list(rows.readable(partial(rows.read_tasks, connection), ids, "task", skipped))

    def trials(self, task: str | None = None, skipped: list[str] | None = None) -> Iterator[Trial]:
        """Every trial that has ended, or those of one task, by id; `skipped` as of `tasks`."""
        with self._reading() as connection:
            wanted = select(trials.c.id).order_by(trials.c.id)
            if task is not None:
                wanted = wanted.where(trials.c.task == task)
            ids = connection.execute(wanted).scalars().all()
            for start in range(0, len(ids), AT_A_TIME):
                yield from rows.readable(
                    partial(rows.read_trials, connection), ids[start : start + AT_A_TIME], "trial", skipped
                )

    def trials_besides(self, known: Collection[str]) -> Iterator[Trial]:
        """Every trial whose id is not among those known, by id: all ids are read, and no more of the rest."""
        with self._reading() as connection:
            ids = connection.execute(select(trials.c.id).order_by(trials.c.id)).scalars()
            new = [name for name in ids if name not in known]
            for start in range(0, len(new), AT_A_TIME):
                part = new[start : start + AT_A_TIME]
                yield from rows.readable(partial(rows.read_trials, connection), part, "trial", None)

    def records(self) -> Records:
        """All that can be read, and a sentence for each row that cannot."""
        skipped: list[str] = []
        known = {task.id: task for task in self.tasks(skipped)}
        found = {trial.id: trial for trial in self.trials(skipped=skipped) if trial.task in known}
        return Records(known, found, tuple(skipped))

    def sources(self) -> dict[str, ImportSource]:
        """Imports by name, the oldest first."""
        with self._reading() as connection:
            found = connection.execute(select(sources).order_by(sources.c.added, sources.c.name))
            return {row.name: ImportSource(**row._asdict()) for row in found}

    def add(self, added: Iterable[Trial]) -> int:
        """Adds trials that ended elsewhere, in one transaction; those that are known are passed over.

        Returns:
          How many were new.

        Raises:
          MulliganError: a trial of a task that is not known.
        """
        with self._writing() as connection:
            return sum(rows.add_trial(connection, trial) for trial in added)

    def take(self, imports: Iterable[tuple[ImportSource, Records]]) -> list[int]:
        """Adds what came from elsewhere, all of it or nothing: one transaction. What is known stays as it is.

        Returns:
          How many trials of each were new.

        Raises:
          MulliganError: a trial of a task that neither it nor the experience knows.
        """
        added = []
        with self._writing() as connection:
            for source, found in imports:
                # In one order, so that writers at the same instant wait for each other in one direction only.
                if source.name != HERE:
                    rows.insert_new(connection, sources, source._asdict())
                for _, task in sorted(found.tasks.items()):
                    rows.add_task(connection, task, source.name)
                documents = {digest(trial.recipe_json): trial.recipe_json for trial in found.trials.values()}
                for name, document in sorted(documents.items()):
                    rows.insert_new(connection, recipes, {"digest": name, "document": document})
                ordered = (replace(trial, source=source.name) for _, trial in sorted(found.trials.items()))
                added.append(sum(rows.add_trial(connection, trial) for trial in ordered))
        return added

    def remove(self, source: str | None = None, task: str | None = None, trial: str | None = None) -> Removed:
        """Deletes trials; see `sources.remove`."""
        with self._writing() as connection:
            return remove(connection, source, task, trial)

    def add_run(self, folder: Path, task: str) -> None:
        """Remembers where a run of a task is; one that ended there before is forgotten."""
        row = {"folder": str(folder.absolute()), "task": task, "ended": datetime.now(UTC).isoformat()}
        with self._writing() as connection:
            connection.execute(runs.delete().where(runs.c.folder == row["folder"]))
            connection.execute(runs.insert().values(row))

    def runs(self) -> list[tuple[Path, str]]:
        """Folders of runs and the ids of their tasks, the latest first; some may be gone, or another machine's."""
        with self._reading() as connection:
            found = connection.execute(select(runs.c.folder, runs.c.task).order_by(runs.c.ended.desc(), runs.c.folder))
            return [(Path(row.folder), row.task) for row in found]

    def counts(self) -> dict[str, dict[str, int]]:
        """Of each task's id, how many trials have each status; `running` are those with a claim that holds."""
        with self._reading() as connection:
            ended = select(trials.c.task, trials.c.status, func.count()).group_by(trials.c.task, trials.c.status)
            running = (
                select(claims.c.task, func.count()).where(claims.c.expires > self._clock()).group_by(claims.c.task)
            )
            found: dict[str, dict[str, int]] = {}
            for task, status, number in connection.execute(ended):
                found.setdefault(task, {})[status] = number
            for task, number in connection.execute(running):
                found.setdefault(task, {})["running"] = number
            return found

    # --- claims

    def taken(self) -> set[str]:
        """Assignments that are done, or that a worker is at."""
        with self._reading() as connection:
            running = select(claims.c.assignment).where(claims.c.expires > self._clock())
            return set(connection.execute(select(trials.c.assignment).union(running)).scalars())

    def claim(self, assignment: str, task: str, worker: str, lease: float = LEASE_SECONDS) -> bool:
        """Takes an assignment for `worker`; false when it is done, or another worker is at it."""
        now = self._clock()
        row = {"assignment": assignment, "task": task, "worker": worker, "expires": now + lease}
        try:
            with self._writing() as connection:
                if connection.execute(select(trials.c.id).where(trials.c.assignment == assignment)).first():
                    return False
                mine_or_over = or_(claims.c.expires <= now, claims.c.worker == worker)
                connection.execute(claims.delete().where(claims.c.assignment == assignment, mine_or_over))
                connection.execute(claims.insert().values(row))
        except IntegrityError:
            return False
        return True

    def renew(self, assignment: str, worker: str, lease: float = LEASE_SECONDS) -> bool:
        """Sign of life; false when the claim is lost."""
        with self._writing() as connection:
            changed = claims.update().where(claims.c.assignment == assignment, claims.c.worker == worker)
            return connection.execute(changed.values(expires=self._clock() + lease)).rowcount == 1

    def release(self, worker: str) -> None:
        """Gives back all that `worker` holds, undone."""
        with self._writing() as connection:
            connection.execute(claims.delete().where(claims.c.worker == worker))

    def finish(self, trial: Trial, assignment: str, worker: str) -> bool:
        """Writes a claimed trial and ends its claim; false, and nothing written, when the claim is lost.

        Raises:
          MulliganError: a trial of a task that is not known.
        """
        with self._writing() as connection:
            held = claims.delete().where(claims.c.assignment == assignment, claims.c.worker == worker)
            if connection.execute(held).rowcount != 1:
                return False
            return rows.add_trial(connection, trial, assignment)

    # --- connections

    def problems(self) -> Iterator[str]:
        """A sentence for everything in it that is damaged."""
        with self._reading() as connection:
            if self._engine.dialect.name == "sqlite":
                found = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
                yield from (f"the file is damaged: {line}." for line in found if line != "ok")
            for name in connection.execute(select(tasks.c.id)).scalars().all():
                try:
                    written = connection.execute(select(tasks.c.digest).where(tasks.c.id == name)).scalar_one()
                    whole = all(written == digest(task.to_json()) for task in rows.read_tasks(connection, [name]))
                except rows.UNREADABLE:
                    whole = False
                if not whole:
                    yield f"the task {name} is not what was written."
            for name in connection.execute(select(trials.c.id)).scalars().all():
                try:
                    whole = all(trial.id == name for trial in rows.read_trials(connection, [name]))
                except rows.UNREADABLE:
                    whole = False
                if not whole:
                    yield f"the trial {name} is not what was written."

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(writes=True)
        with sentences(self.place), engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with sentences(self.place), self._engine.begin() as connection:
            yield connection


def own_place() -> str | None:
    """`MULLIGAN_EXPERIENCE` (`none` to have none), or `experience.db` in the user's data folder, if there is one."""
    folder = data_folder()
    return os.environ.get("MULLIGAN_EXPERIENCE") or (folder and str(folder / "experience.db"))


def required_place() -> str:
    """The user's own place.

    Raises:
      MulliganError: there is none.
    """
    place = own_place()
    if place is None:
        raise MulliganError(f"there is no place for your experience: {HOMELESS}.")
    return place


# --- experiences in files and databases


def shipped_and_own(place: str | None = None) -> Records:
    """The shipped experience and the user's own, together; neither need be there.

    Raises:
      MulliganError: one is there and cannot be read.
    """
    shipped = exchange.shipped_file()
    known = Records({}, {}) if shipped is None else exchange.read_file(shipped, SHIPPED)
    return known.union(own(place))


def own(place: str | None = None) -> Records:
    """The user's own experience; nothing where there is none yet.

    Raises:
      MulliganError: it is there and cannot be read.
    """
    where = place or own_place()
    return read(where) if where and ("://" in where or Path(where).exists()) else Records({}, {})


def read(place: str | Path) -> Records:
    """What an exported file or an experience that exists holds; rows that cannot be read are left out and told of.

    Raises:
      MulliganError: there is none, or it cannot be read at all.
    """
    if str(place).endswith(exchange.SUFFIX):
        return exchange.read_file(Path(place), HERE)
    return existing(str(place)).records()


def imports(place: str | None = None) -> dict[str, ImportSource]:
    """The imports of an experience (the user's own if None) by name; an exported file and one that is not there have
    none.

    Raises:
      MulliganError: the experience cannot be read.
    """
    where = place or own_place()
    if not where or where.endswith(exchange.SUFFIX) or ("://" not in where and not Path(where).exists()):
        return {}
    return Experience(where).sources()


def damage(place: str | None = None) -> list[str]:
    """A sentence for everything that is damaged in an exported file or an experience (the user's own if None).

    Raises:
      MulliganError: there is none, or it cannot be opened.
    """
    where = place or required_place()
    if where.endswith(exchange.SUFFIX):
        return list(exchange.problems(Path(where)))
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
    given: list[tuple[ImportSource, Records]] = []
    for place in places:  # all of them, before anything is written
        found = read(place)
        for sentence in found.skipped:
            raise MulliganError(f"{without_password(place)} cannot be taken in, and nothing of it was: {sentence}")
        if place.endswith(exchange.SUFFIX):
            checksum = hashlib.sha256(Path(place).read_bytes()).hexdigest()
        else:
            checksum = hashlib.sha256(json.dumps(sorted([*found.tasks, *found.trials])).encode()).hexdigest()
        source = source_of(printable(Path(without_password(place)).name), checksum, name)
        given.append((source, found))
    added = experience.take(given)
    return [(source.name, new, len(found.trials)) for (source, found), new in zip(given, added, strict=True)]
