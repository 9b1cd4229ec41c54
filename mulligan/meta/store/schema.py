"""The tables of the experience, in SQLite or PostgreSQL, and how older ones are brought up to date."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
    text,
)

from mulligan.errors import MulliganError

VERSION = 5
SOURCE_LENGTH = 80
LOCK = 0x6D756C6C  # of PostgreSQL's advisory locks, by which whoever opens an experience first makes its tables alone


def add_embedding(connection: Connection) -> None:
    """Trials name the embedding that they were judged in; there was one."""
    connection.execute(text("ALTER TABLE trials ADD COLUMN embedding VARCHAR(32) NOT NULL DEFAULT 'm1'"))


def add_sources(connection: Connection) -> None:
    """Records name their source; what there was counts as tried here."""
    sources.create(connection)
    for table in (tasks, trials):
        column = f"VARCHAR({SOURCE_LENGTH}) NOT NULL DEFAULT 'here'"
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN source {column}"))


def add_runs(connection: Connection) -> None:
    """The folders of runs are remembered; there were none."""
    runs.create(connection)


def add_energy(connection: Connection) -> None:
    """Points have the energy distance as well; those that were there have none, and no table changes for it."""


# MIGRATIONS[version] brings the tables from the version before to that one. Each runs in a transaction, in order.
MIGRATIONS: dict[int, Callable[[Connection], None]] = {2: add_embedding, 3: add_sources, 4: add_runs, 5: add_energy}

metadata = MetaData()

about = Table("about", metadata, Column("version", Integer, nullable=False))

# Imports; what was tried on this experience's own machines has the source `here`, which needs no row.
sources = Table(
    "sources",
    metadata,
    Column("name", String(SOURCE_LENGTH), primary_key=True),
    Column("who", Text, nullable=False),
    Column("added", String(32), nullable=False),
    Column("file", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("shape", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("classes", Integer, nullable=False),
    Column("descriptor", JSON, nullable=False),
    Column("digest", String(32), nullable=False),  # of the row, to find damage
    Column("source", String(SOURCE_LENGTH), nullable=False),
)

recipes = Table("recipes", metadata, Column("digest", String(32), primary_key=True), Column("document", JSON))

# A row is written once, when its trial has ended; its id is the digest of everything that the trial says.
trials = Table(
    "trials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("assignment", String(32), nullable=False, index=True),
    Column("task", String(32), ForeignKey("tasks.id"), nullable=False, index=True),
    Column("recipe", String(32), ForeignKey("recipes.digest"), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("budget", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("cost", JSON, nullable=False),
    Column("code", Text, nullable=False),
    Column("space", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("finished", String(32), nullable=False),
    Column("embedding", String(32), nullable=False),
    Column("source", String(SOURCE_LENGTH), nullable=False),
)

curves = Table(
    "curves",
    metadata,
    Column("trial", String(32), ForeignKey("trials.id"), primary_key=True),
    Column("nimg", BigInteger, primary_key=True),
    Column("metric", String(32), primary_key=True),
    Column("flops", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("value", Double),  # null where it was not finite
)

# Trials that run now: whoever holds the claim does the assignment, until the lease ends.
claims = Table(
    "claims",
    metadata,
    Column("assignment", String(32), primary_key=True),
    Column("task", String(32), nullable=False),
    Column("worker", Text, nullable=False),
    Column("expires", Double, nullable=False),  # seconds since 1970
)

# Where runs of these machines' tasks are, for others to begin from; never exported.
runs = Table(
    "runs",
    metadata,
    Column("folder", Text, primary_key=True),
    Column("task", String(32), nullable=False),
    Column("ended", String(32), nullable=False),
)


def bring_up_to_date(connection: Connection, place: str) -> None:
    """Makes the tables, or migrates older ones; `connection` is in a transaction that no other writer shares.

    Raises:
      MulliganError: they are of a newer version.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers have the file to themselves
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    if not inspect(connection).has_table(about.name):
        metadata.create_all(connection)
        connection.execute(about.insert().values(version=VERSION))
        return
    version = check_version(connection, place)
    for step in range(version + 1, VERSION + 1):
        MIGRATIONS[step](connection)
    if version < VERSION:
        connection.execute(about.update().values(version=VERSION))


def check_version(connection: Connection, place: str) -> int:
    """The version of the tables that are there.

    Raises:
      MulliganError: newer than this mulligan knows.
    """
    version = connection.execute(select(about.c.version)).scalar_one()
    if version > VERSION:
        raise MulliganError(
            f"the experience {place} was written by a newer version of mulligan (format {version}; this version reads "
            f"up to {VERSION}): upgrade mulligan, or use another experience."
        )
    return version
