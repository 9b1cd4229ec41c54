"""The run folder: what a run writes while it trains, described in docs/run-folder.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from mulligan import schema
from mulligan.commands import command
from mulligan.documents import finite, read_sealed, write_sealed
from mulligan.errors import MulliganError, newer_format
from mulligan.events import E, Evaluated, Event
from mulligan.files import locked, make_folder
from mulligan.metrics import EMBEDDING
from mulligan.schema import Checked, Within

FORMAT = 1
LOCK = ".lock"
Side = Annotated[int, Within(1, 65_536)]  # of an image
Shape = tuple[Side, Side, Annotated[int, Within(1, 4)]]


@dataclass(frozen=True)
class RunDocument:
    """What `run.json` holds at least (docs/run-folder.md)."""

    format: int
    version: str
    seed: int
    budget: dict[Literal["images", "seconds"], Annotated[float, Within(0, 1e15)]]
    source: str
    experience: str
    options: dict[str, Any]


def _size(value: Any) -> Any:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if value is not None and not all(type(side) is int and 1 <= side <= 65_536 for side in sides):
        raise ValueError("it must be a side, or height and width")
    return value


def _colour(value: Any) -> Any:
    numbers = isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value)
    if not (value is None or isinstance(value, str) or numbers):
        raise ValueError("it must be the name of a colour, or three numbers")
    return value


@dataclass(frozen=True)
class ReadingDocument:
    """What `run.json` says of how its images are read: no more than `tasks.images.read_task` takes."""

    size: Annotated[Any, Checked(_size)] = None
    labels: bool = False
    background: Annotated[Any, Checked(_colour)] = None
    fit: Literal["crop", "pad"] | None = None
    groups: str | None = None


@dataclass(frozen=True)
class TaskDocument:
    """What `task.json` holds at least."""

    name: str
    hash: str
    shape: Shape
    counts: dict[str, int]
    classes: list[str] | None


CHECKED = {"run": RunDocument, "task": TaskDocument}  # documents by name; a recipe is checked where it becomes one


@dataclass(frozen=True)
class RunFolder:
    """One run's folder: documents written once, events appended."""

    path: Path

    @staticmethod
    def create(path: Path, documents: dict[str, Any]) -> RunFolder:
        """Makes the folder with JSON documents; it is a run once its `run` document is written as well.

        Raises:
          MulliganError: there is already something at `path`.
        """
        taken = MulliganError(f"{path} already exists: choose another `out`, or go on with: {command('resume', path)}")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise taken
        make_folder(path)
        # Of two processes that make a run of the same folder at once, one alone makes this folder.
        try:
            (path / "checkpoints").mkdir()
        except FileExistsError:  # another process makes a run of it at this moment
            raise taken from None
        for part in ("samples", "final"):
            make_folder(path / part)
        folder = RunFolder(path)
        for name, document in documents.items():
            folder.write(name, document)
        return folder

    @staticmethod
    def open(path: Path) -> RunFolder:
        """An existing run.

        Raises:
          MulliganError: not a run folder, or one of a newer version.
        """
        if not (path / "run.json").is_file():
            raise MulliganError(
                f"{path} is not a run folder: it has no run.json; give the folder that `mulligan fit` made."
            )
        folder = RunFolder(path)
        written = folder.document("run")["format"]
        if written > FORMAT:
            raise newer_format(path, written, FORMAT)
        return folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps others from training this run as long as it is entered.

        Raises:
          MulliganError: another process is at it, or the folder cannot be written.
        """
        try:
            with locked(self.path / LOCK):
                yield
        except BlockingIOError as error:
            raise MulliganError(
                f"another process is training {self.path} now: wait until it has ended, or end it first."
            ) from error

    def document(self, name: str) -> dict[str, Any]:
        """The JSON document of this name.

        Raises:
          MulliganError: missing, damaged, edited, or without something that it must have.
        """
        path = self.path / f"{name}.json"
        document = read_sealed(path)
        if name in CHECKED:
            schema.read(CHECKED[name], document, str(path), extra="ignore")
        if name == "run":
            schema.read(ReadingDocument, document["options"], f"{path}'s options")
        return document

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Writes the JSON document of this name.

        Raises:
          MulliganError: the folder cannot be written.
        """
        write_sealed(self.path / f"{name}.json", document)

    def append(self, event: Event) -> None:
        """Adds one event; numbers that are not finite become null.

        Raises:
          MulliganError: the disk is full, or the folder was deleted.
        """
        with self._events() as file:
            file.write(json.dumps(finite(event.to_json()), separators=(",", ":")) + "\n")

    def events(self, kind: type[E]) -> list[E]:
        """The events of one kind, in the order they were written; a torn last line is left out."""
        path, found = self.path / "events.jsonl", []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                document = json.loads(line)
            except ValueError:  # a process was killed while it wrote this line
                continue
            if document and document.get("kind") == kind.kind:
                found.append(kind.read(document))
        return found

    def embedding(self) -> str:
        """In which its evaluations are made: as the first was, whatever newer versions take."""
        return next((event.embedding for event in self.events(Evaluated)), EMBEDDING)

    def events_length(self) -> int:
        """Bytes of the event file, made durable.

        Raises:
          MulliganError: the event file cannot be written.
        """
        with self._events() as file:
            os.fsync(file.fileno())
            return file.tell()

    def truncate_events(self, length: int) -> None:
        """Forgets what was written after a checkpoint: the resumed run writes it again.

        Args:
          length: bytes that are kept.

        Raises:
          MulliganError: the event file cannot be written.
        """
        with self._events() as file:
            file.truncate(length)

    @contextmanager
    def _events(self) -> Iterator[TextIO]:
        """The event file, to append to."""
        path = self.path / "events.jsonl"
        try:
            with path.open("a") as file:
                yield file
        except OSError as error:  # the disk is full, or the folder was deleted
            raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error
