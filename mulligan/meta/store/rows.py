"""Rows of the experience's tables: how records become some, and some records again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from mulligan.errors import MulliganError, first_line, printable
from mulligan.meta.store.record import HERE, TaskRecord, Trial, digest
from mulligan.meta.store.schema import curves, recipes, tasks, trials

T = TypeVar("T")
UNREADABLE = (ValueError, TypeError, KeyError, MulliganError)  # rows that are not even JSON, or not of a record
INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}  # of dialects that can insert where nothing is


def insert_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Inserts a row unless its key is there; false where it is. Of writers at the same instant one inserts it."""
    statement = INSERTS[connection.dialect.name](table).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def add_task(connection: Connection, task: TaskRecord, source: str = HERE) -> None:
    """Adds a task; one that is known stays as it was."""
    document = task.to_json()
    insert_new(connection, tasks, document | {"digest": digest(document), "source": source})


def add_trial(connection: Connection, trial: Trial, assignment: str | None = None) -> bool:
    """Adds a trial with its curve; false when it is known.

    Args:
      assignment: that was claimed for it; its own if not given.

    Raises:
      MulliganError: a trial of a task that is not known.
    """
    if connection.execute(select(trials.c.id).where(trials.c.id == trial.id)).first():
        return False
    if not connection.execute(select(tasks.c.id).where(tasks.c.id == trial.task)).first():
        raise MulliganError(f"the trial {trial.id} is of the task {trial.task}, which this experience does not know.")
    document = trial.to_json()
    recipe, points = document.pop("recipe_json"), document.pop("curve")
    name = digest(recipe)
    insert_new(connection, recipes, {"digest": name, "document": recipe})
    row = document | {
        "id": trial.id,
        "assignment": assignment or trial.assignment,
        "recipe": name,
        "embedding": trial.embedding,
        "source": trial.source,
    }
    if not insert_new(connection, trials, row):
        return False
    rows = [
        {"trial": trial.id, "nimg": nimg, "metric": metric, "flops": flops, "seconds": seconds, "value": value}
        for nimg, flops, seconds, figures in points
        for metric, value in figures.items()
    ]
    if rows:
        connection.execute(insert(curves), rows)
    return True


def readable(
    read: Callable[[Sequence[str]], Iterator[T]], ids: Sequence[str], kind: str, skipped: list[str] | None
) -> Iterator[T]:
    """Rows of these ids: all at once, or one by one where one of them cannot be read, so that the others can.

    Args:
      kind: of row, for people.
      skipped: receives a sentence for each that cannot be read.
    """
    try:
        yield from list(read(ids))
    except UNREADABLE as error:
        if len(ids) > 1:
            for name in ids:
                yield from readable(read, [name], kind, skipped)
        elif skipped is not None:
            skipped.append(f"the {kind} {printable(ids[0])} cannot be read: {first_line(error)}")


def read_tasks(connection: Connection, ids: Sequence[str]) -> Iterator[TaskRecord]:
    """The tasks of these ids, in their order.

    Raises:
      Exception: one of UNREADABLE, where a row is not of a record.
    """
    rows = connection.execute(select(tasks).where(tasks.c.id.in_(ids)))
    by_id = {}
    for row in rows:
        document = {name: value for name, value in row._asdict().items() if name not in ("digest", "source")}
        by_id[row.id] = TaskRecord.from_json(document)
    yield from (by_id[name] for name in ids)


def read_trials(connection: Connection, ids: Sequence[str]) -> Iterator[Trial]:
    """The trials of these ids, which ascend.

    Raises:
      Exception: one of UNREADABLE, where a row is not of a record.
    """
    joined: Select = select(trials, recipes.c.document).join(recipes, trials.c.recipe == recipes.c.digest)
    points = select(curves).where(curves.c.trial.in_(ids)).order_by(curves.c.trial, curves.c.nimg)
    by_trial: dict[str, list[Any]] = {}
    for (trial, nimg), rows in groupby(connection.execute(points), key=lambda row: (row.trial, row.nimg)):
        of_point = list(rows)
        figures = {row.metric: row.value for row in of_point}
        by_trial.setdefault(trial, []).append([nimg, of_point[0].flops, of_point[0].seconds, figures])
    aside = ("id", "assignment", "recipe", "document", "source")
    for found in connection.execute(joined.where(trials.c.id.in_(ids)).order_by(trials.c.id)):
        row = found._asdict()
        document = {name: row[name] for name in row if name not in aside}
        document |= {"recipe_json": row["document"], "curve": by_trial.get(row["id"], [])}
        yield Trial.from_json(document, row["source"])
