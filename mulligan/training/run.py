"""The run folder: what a run writes while it trains, described in docs/run-folder.md."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError
from mulligan.files import make_folder, replace_file
from mulligan.metrics import EMBEDDING

FORMAT = 1


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
        written = folder.document("run").get("format", 0)
        if written > FORMAT:
            raise MulliganError(
                f"{path} was written by a newer mulligan (format {written}; this one reads up to {FORMAT}): upgrade it."
            )
        return folder

    def document(self, name: str) -> dict[str, Any]:
        """The JSON document of this name."""
        return read_json(self.path / f"{name}.json")

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Writes the JSON document of this name."""
        write_json(self.path / f"{name}.json", document)

    def append(self, event: dict[str, Any]) -> None:
        """Adds one event; numbers that are not finite become null."""
        with (self.path / "events.jsonl").open("a") as file:
            file.write(json.dumps(finite(event), separators=(",", ":")) + "\n")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in the order they were written; a torn last line is left out."""
        path = self.path / "events.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [event for event in map(_parsed, lines) if event and event.get("kind") == kind]

    def embedding(self) -> str:
        """In which its evaluations are made: as the first was, whatever newer versions take."""
        return next((event["embedding"] for event in self.events("evaluation")), EMBEDDING)

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
