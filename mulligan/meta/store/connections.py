"""Connections to a SQLite file or a PostgreSQL database, and sentences for what goes wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mulligan.errors import MulliganError, first_line
from mulligan.files import make_folder
from mulligan.meta.store import rows

PATIENCE_SECONDS = 30.0  # for another writer's transaction


@contextmanager
def sentences(place: str) -> Iterator[None]:
    """Turns a database's errors into one sentence.

    Raises:
      MulliganError: the database, or what connects to it, failed.
      IntegrityError: as it is: a row that another writer was first with is for the caller to handle.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, ImportError) as error:
        why = first_line(getattr(error, "orig", None) or error).rstrip(".")
        raise MulliganError(
            f"the experience {without_password(place)} cannot be used: {why}; see `mulligan experience verify`."
        ) from error


def without_password(place: str) -> str:
    """A place as it may be written down: a URL keeps its user, and leaves its password to PGPASSWORD or ~/.pgpass.

    Example:
      >>> without_password("postgresql+psycopg://ada:secret@db/mulligan")
      'postgresql+psycopg://ada@db/mulligan'
    """
    if "://" not in place:
        return place
    try:
        return make_url(place)._replace(password=None).render_as_string()
    except ArgumentError:
        return "URL"


def connect(place: str) -> Engine:
    """Connections to a file or URL. Without a pool: processes are forked, and a file opens fast."""
    if "://" in place:
        with sentences(place):
            try:
                engine = create_engine(place, poolclass=NullPool)
            except (ArgumentError, NoSuchModuleError) as error:
                raise MulliganError(
                    "this URL of a database cannot be read: it looks like postgresql+psycopg://USER@HOST/DATABASE."
                ) from error
        if engine.dialect.name not in rows.INSERTS:
            raise MulliganError(f"an experience is a SQLite file or a PostgreSQL database, not {engine.dialect.name}.")
    else:
        path = Path(place)
        make_folder(path.absolute().parent)
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": PATIENCE_SECONDS})
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """Write-ahead log: readers and one writer do not wait for each other, and a killed writer leaves no trace."""
    del record
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and then writes could not wait for its turn.
    immediate = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
