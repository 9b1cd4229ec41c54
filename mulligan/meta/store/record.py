"""What is remembered: a task without its images, and a trial with its curve. Plain values, and names made of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

from mulligan import schema
from mulligan.documents import finite
from mulligan.errors import MulliganError
from mulligan.metrics import EMBEDDING
from mulligan.metrics.selection import FIGURES, SELECTS
from mulligan.recipe import Recipe
from mulligan.schema import Checked, Line, OneOf, Within
from mulligan.tasks.task import Task

DONE, FAILED = "done", "failed"
HERE, SHIPPED = "here", "shipped"  # sources of what was tried on this experience's machines, and of the package's own
UNNAMED = "m1"  # the embedding of trials that name none: there was no other
DIGITS = 5  # of a figure that was measured
METRICS = (*(key for figure in FIGURES for key in figure.keys), "frechet", "diversity")  # of a point of a curve
COSTS = (
    "images",
    "flops",
    "seconds",
    "training_seconds",
    "evaluation_seconds",
    "compile_seconds",
    "training_cpu_seconds",
)

# What a record that was read may hold.
Metric = Annotated[str, OneOf(METRICS)]
Cost = Annotated[str, OneOf(COSTS)]
Part = Annotated[str, OneOf(("train", "validation", "test"))]
Name = Annotated[str, Line(500)]
Key = Annotated[str, Line(32)]  # as long as the tables' columns
Side = Annotated[int, Within(1, 4096)]
Count = Annotated[int, Within(0, 10**12)]
Amount = Annotated[float, Within(0, 1e30)]
Figure = Annotated[float, Within(-1e12, 1e12)]


def _with_training_images(counts: dict[str, int]) -> dict[str, int]:
    if not counts.get("train"):
        raise ValueError("it must say how many images train")
    return counts


def _date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _curve(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Training goes on from point to point."""
    for before, after in pairwise(points):
        if after.nimg <= before.nimg or after.flops <= before.flops or after.seconds < before.seconds:
            raise ValueError("images, operations and seconds must rise from point to point")
    return points


def _figures(figures: dict[str, float | None]) -> dict[str, float | None]:
    for name in ("frechet", "diversity"):
        if (figures.get(name) or 0.0) < 0:
            raise ValueError(f"{name} cannot be negative")
    for figure in FIGURES:
        value, low, high = figure.of(figures)
        if value is not None and not (value if low is None else low) <= value <= (value if high is None else high):
            raise ValueError("{} must lie between {} and {}".format(*figure.keys))
    return figures


@dataclass(frozen=True)
class TaskRecord:
    """A task as the experience knows it; `id` is the hash of its images and labels.

    `family` names what it shares an origin with: generalisation is measured across families.
    """

    id: Key
    name: Name
    family: Name
    shape: tuple[Side, Side, Annotated[int, Within(1, 4)]]
    counts: Annotated[dict[Part, Count], Checked(_with_training_images)]
    classes: Annotated[int, Within(0, 10**6)]
    descriptor: dict[Key, Figure]

    @staticmethod
    def of(task: Task, family: str) -> TaskRecord:
        classes = len(task.classes or ())
        return TaskRecord(task.hash, task.name, family, task.shape, task.counts, classes, task.descriptor)

    def to_json(self) -> dict[str, Any]:
        return finite(dataclasses.asdict(self))

    @staticmethod
    def from_json(document: Any, what: str = "the task") -> TaskRecord:
        """What `to_json` gave.

        Args:
          what: it is, for people.

        Raises:
          MulliganError: it is none, or cannot be.
        """
        return schema.read(TaskRecord, document, what)


class Point(NamedTuple):
    """One evaluation: figures of the generator after so much training.

    `seconds` are of training alone; what compiling and evaluating took is in the trial's cost. A figure that is not
    finite is None.
    """

    nimg: Count
    flops: Amount
    seconds: Amount
    figures: Annotated[dict[Metric, Figure | None], Checked(_figures)]

    @staticmethod
    def measured(nimg: int, flops: float, seconds: float, figures: Mapping[str, float | None]) -> Point:
        """Of an evaluation: of its figures, whose second digit is noise, the first `DIGITS` digits are kept."""
        kept = {name: None if value is None else float(f"{value:.{DIGITS}g}") for name, value in figures.items()}
        return Point(nimg, flops, seconds, kept)

    @property
    def value(self) -> float | None:
        """The figure that selects; None where it was not measured."""
        return SELECTS.of(self.figures)[0]

    def to_json(self) -> list[Any]:
        figures = {name: None if value is None else float(value) for name, value in self.figures.items()}
        return [int(self.nimg), float(self.flops), float(self.seconds), figures]


@dataclass(frozen=True)
class Trial:
    """One recipe trained on one task with one seed, as it ended.

    Attributes:
      task: id of the task.
      recipe_json: the recipe as it was written, whatever version wrote it.
      seed: of weights and batches.
      budget: operations that it was given (`meta.space.cost` counts them).
      status: DONE, or FAILED with the `reason`; a done trial may have one too, such as a limit of time.
      cost: `images`, `flops`, `seconds` in all; of these `training_seconds`, `evaluation_seconds`, and
        `compile_seconds` (little where the program was kept on disk); and `training_cpu_seconds`, for machines that do
        other work as well.
      curve: by ascending images.
      code: version of mulligan.
      space: version of the space that it was drawn from, 0 when from none.
      device: kind of device and number of cores.
      finished: UTC, ISO 8601.
      embedding: in which its figures were taken. Figures of different ones do not compare.
      source: where it was found, no part of what it says: HERE, SHIPPED, or the name of an import.
    """

    task: Key
    recipe_json: dict[str, Any]
    seed: Annotated[int, Within(-(2**63), 2**63 - 1)]
    budget: Amount
    status: Annotated[str, OneOf((DONE, FAILED))]
    reason: str | None
    cost: dict[Cost, Annotated[int | float, Within(0, 1e30)]]
    curve: Annotated[tuple[Point, ...], Checked(_curve)]
    code: Name
    space: Annotated[int, Within(0, 10**6)]
    device: Name
    finished: Annotated[Key, Checked(_date)]
    embedding: Key = EMBEDDING
    source: str = field(default=HERE, compare=False)

    @cached_property
    def id(self) -> str:
        """A digest of everything that the trial says: a merge is a union of ids, and damage shows."""
        return digest(self.to_json())

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.from_json(self.recipe_json)

    @property
    def comparable(self) -> bool:
        """Whether it was judged as runs are now: in the default embedding, by the figure that selects."""
        judged = any(point.value is not None for point in self.curve)
        return self.embedding == EMBEDDING and (judged or self.status == FAILED)

    @property
    def last(self) -> float | None:
        """The figure that selects where its curve ends; None where there is none."""
        return self.curve[-1].value if self.curve else None

    @property
    def assignment(self) -> str:
        """The name of what was to be done; see `assignment`."""
        return assignment(self.task, self.recipe, self.seed, self.budget, self.embedding)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is its inverse."""
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self) if entry.compare}
        if self.embedding == UNNAMED:
            del fields["embedding"]  # its digest stays what it was
        return finite(fields | {"curve": [point.to_json() for point in self.curve], "budget": float(self.budget)})

    @staticmethod
    def from_json(document: Any, source: str = HERE, what: str = "the trial") -> Trial:
        """What `to_json` gave, from a `source`.

        Args:
          what: it is, for people.

        Raises:
          MulliganError: it is none, or cannot be: its recipe is none, or its curve goes back.
        """
        if not isinstance(document, dict) or "source" in document:
            raise MulliganError(f"{what} is not what an experience holds of a trial.")
        trial = schema.read(Trial, {"embedding": UNNAMED, **document}, what)
        try:
            _ = trial.recipe
        except MulliganError as error:
            raise MulliganError(f"{what} has a recipe that is none: {error}") from error
        return dataclasses.replace(trial, source=source)


class Records(NamedTuple):
    """Tasks and trials by id, as they were read."""

    tasks: dict[str, TaskRecord]
    trials: dict[str, Trial]
    skipped: tuple[str, ...] = ()  # a sentence for each that could not be read

    def union(self, other: Records) -> Records:
        """Of both; what both hold as it is here."""
        return Records(other.tasks | self.tasks, other.trials | self.trials, self.skipped + other.skipped)

    def told(self) -> str | None:
        """That some could not be read, in one sentence; None where all could."""
        if not self.skipped:
            return None
        rows = "1 row" if len(self.skipped) == 1 else f"{len(self.skipped):,} rows"
        return f"{rows} of the experience left out (`mulligan experience verify` names all): {self.skipped[0]}"


def assignment(task: str, recipe: Recipe, seed: int, budget: float, embedding: str = EMBEDDING) -> str:
    """A name for a trial that is to be done: the same for everyone who would do the same."""
    named = [] if embedding == UNNAMED else [embedding]
    return digest([task, recipe.hash(), seed, budget, *named])


def digest(document: Any) -> str:
    """32 hexadecimal digits of the SHA-256 of a JSON value's canonical text.

    Example:
      >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
      True
    """
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
