"""A run folder, parsed (`docs/run-folder.md`)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mulligan.documents import read_json, unsealed
from mulligan.errors import MulliganError, newer_format
from mulligan.events import R, Resumed, RolledBack, RunEvent, as_number, read_event
from mulligan.recipe import Recipe

FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """All that a run folder says, but its pictures and weights."""

    folder: Path
    run: dict[str, Any]
    recipe: Recipe
    task: dict[str, Any]
    events: tuple[RunEvent, ...] = field(repr=False)
    race: dict[str, Any] = field(default_factory=dict, repr=False)  # empty where there was none
    plan: dict[str, Any] = field(default_factory=dict, repr=False)  # what was expected
    proof: dict[str, Any] = field(default_factory=dict, repr=False)  # what its images are worth, once that was asked
    unreadable: int = 0  # lines of events.jsonl that were skipped, such as a torn last one

    def of(self, kind: type[R]) -> list[R]:
        """Events of one kind in the order they were written."""
        return [event for event in self.events if isinstance(event, kind)]

    def kept(self, kind: type[R]) -> list[R]:
        """Events of one kind, but those that the run went back to before."""
        return [event for event in self.of(kind) if not event.abandoned]

    def last(self, kind: type[R]) -> R | None:
        """The newest event of one kind."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    def path(self, relative: str) -> Path | None:
        """A file named inside the folder; None when it is not there or the name leads out of the folder."""
        try:
            path = (self.folder / relative).resolve()
            return path if path.is_relative_to(self.folder.resolve()) and path.is_file() else None
        except (OSError, ValueError):  # a name that no file can have
            return None

    @property
    def nimg(self) -> float:
        """Images seen, the most that any event tells of."""
        return max((event.nimg for event in self.events), default=0.0)

    @property
    def seconds(self) -> float:
        """Time spent so far."""
        return max((event.seconds for event in self.events), default=0.0)


def read_run(folder: Path) -> RunRecord:
    """Reads a run folder, finished or not.

    Raises:
      MulliganError: it is not a run folder, a newer version wrote it, or a file in it is damaged.
    """
    if not (folder / "run.json").is_file():
        raise MulliganError(
            f"{folder} is not a run folder: it has no run.json. Give the folder that `mulligan fit` wrote."
        )
    run = _document(folder / "run.json")
    written = run.get("format")
    if not isinstance(written, int):
        raise MulliganError(f"{folder / 'run.json'} is damaged: it does not say its format.")
    if written > FORMAT:
        raise newer_format(folder, written, FORMAT)
    recipe = Recipe.from_json(_document(folder / "recipe.json"))
    task = _document(folder / "task.json")
    events, unreadable = read_events(folder)
    # Backwards, for later events say what of earlier ones still stands: what was measured on a stretch of training that
    # the run went back to before is marked.
    marked: list[RunEvent] = []
    limit = math.inf  # of images seen
    for event in reversed(events):
        marked.append(replace(event, abandoned=event.nimg > limit))
        match event:
            case RolledBack(back_to_nimg=float(back) | int(back)) | Resumed(from_nimg=float(back) | int(back)):
                limit = min(limit, back)
    others = [folder / f"{name}.json" for name in ("race", "plan", "proof")]
    race, plan, proof = (_document(path) if path.exists() else {} for path in others)
    return RunRecord(folder, run, recipe, task, tuple(reversed(marked)), race, plan, proof, unreadable)


def _document(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise MulliganError(f"{path} is damaged: it holds no JSON object.")
    return unsealed(path, document)


def read_events(folder: Path) -> tuple[list[RunEvent], int]:
    """The events of a run folder, and how many lines are none; no events where there is no such folder.

    Raises:
      MulliganError: the file is damaged or cannot be read.
    """
    path = folder / "events.jsonl"
    if not path.exists():
        return [], 0
    try:
        # Not `splitlines`, which also splits at characters that may stand inside of JSON.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise MulliganError(f"{path} cannot be read: {error.strerror or error}.") from error
    lines = [line for line in lines if line.strip()]
    events = []
    for line in lines:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):  # a torn line, or hostile nesting
            continue
        if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
            continue
        if as_number(values.get("nimg")) is not None and as_number(values.get("seconds")) is not None:
            events.append(read_event(values))
    if len(lines) > 1 and not events:
        raise MulliganError(f"{path} is damaged: none of its {len(lines)} lines is an event.")
    return events, len(lines) - len(events)
