"""The run folder: what a run writes while it trains, described in docs/run-folder.md."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mulligan import schema
from mulligan.documents import finite, read_sealed, write_sealed
from mulligan.errors import MulliganError
from mulligan.files import make_folder
from mulligan.schema import Within

FORMAT = 1
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
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise MulliganError(f"{path} already exists: choose another --out, or go on with `mulligan resume {path}`.")
        for part in ("checkpoints", "samples", "final"):
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
            raise MulliganError(
                f"{path} was written by a newer mulligan (format {written}; this one reads up to {FORMAT}): upgrade it."
            )
        return folder

    def document(self, name: str) -> dict[str, Any]:
        """The JSON document of this name.

        Raises:
          MulliganError: missing, damaged, edited, or without something that it must have.
        """
        path = self.path / f"{name}.json"
        document = read_sealed(path)
        if name in CHECKED:
            schema.read(CHECKED[name], document, str(path), extra="ignore")
        return document

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Writes the JSON document of this name."""
        write_sealed(self.path / f"{name}.json", document)

    def append(self, event: dict[str, Any]) -> None:
        """Adds one event; numbers that are not finite become null."""
        with (self.path / "events.jsonl").open("a") as file:
            file.write(json.dumps(finite(event), separators=(",", ":")) + "\n")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in the order they were written; a torn last line is left out."""
        path = self.path / "events.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [event for event in map(_parsed, lines) if event and event.get("kind") == kind]

    def events_length(self) -> int:
        """Bytes of the event file, made durable."""
        with (self.path / "events.jsonl").open("a") as file:
            os.fsync(file.fileno())
            return file.tell()

    def truncate_events(self, length: int) -> None:
        """Forgets what was written after a checkpoint: the resumed run writes it again."""
        with (self.path / "events.jsonl").open("a") as file:
            file.truncate(length)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
