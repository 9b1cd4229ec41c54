"""The run folder: what a run writes while it trains, described in docs/run-folder.md."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mulligan.commands import command
from mulligan.errors import MulliganError
from mulligan.files import locked, make_folder, replace_file

FORMAT = 1
LOCK = ".lock"


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
        taken = MulliganError(f"{path} already exists: choose another --out, or go on with: {command('resume', path)}")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise taken
        make_folder(path)
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
        written = folder.document("run").get("format", 0)
        if written > FORMAT:
            raise MulliganError(
                f"{path} was written by a newer mulligan (format {written}; this one reads up to {FORMAT}): upgrade it."
            )
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
        """The JSON document of this name."""
        return read_json(self.path / f"{name}.json")

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Writes the JSON document of this name."""
        write_json(self.path / f"{name}.json", document)

    def append(self, event: dict[str, Any]) -> None:
        """Adds one event; numbers that are not finite become null."""
        with self._events() as file:
            file.write(json.dumps(finite(event), separators=(",", ":")) + "\n")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in the order they were written; a torn last line is left out."""
        path = self.path / "events.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [event for event in map(_parsed, lines) if event and event.get("kind") == kind]

    def events_length(self) -> int:
        """Bytes of the event file, made durable."""
        with self._events() as file:
            os.fsync(file.fileno())
            return file.tell()

    def truncate_events(self, length: int) -> None:
        """Forgets what was written after a checkpoint: the resumed run writes it again."""
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


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def finite(value: Any) -> Any:
    """As JSON gives the value back: null for numbers that JSON cannot hold, lists for tuples.

    Example:
      >>> finite({"kid": float("nan"), "n": [1, 2.5], "shape": (28, 28, 1)})
      {'kid': None, 'n': [1, 2.5], 'shape': [28, 28, 1]}
    """
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: Path) -> Any:
    """Reads a document.

    Raises:
      MulliganError: missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MulliganError(f"{path} is missing or damaged ({error}); it cannot be read.") from error


def write_json(path: Path, document: Any) -> None:
    """Writes a document whole or not at all."""
    replace_file(path, (json.dumps(finite(document), indent=2) + "\n").encode())
