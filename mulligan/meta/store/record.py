"""What is remembered: a task without its images, and a trial with its curve. Plain values, and names made of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mulligan.documents import finite
from mulligan.metrics import EMBEDDING
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task

DONE, FAILED = "done", "failed"
UNNAMED = "m1"  # the embedding of trials that name none: there was no other
METRICS = ("kid", "kid_low", "kid_high", "frechet", "diversity")  # figures of a point of a curve


@dataclass(frozen=True)
class TaskRecord:
    """A task as the experience knows it; `id` is the hash of its images and labels.

    `family` names what it shares an origin with: generalisation is measured across families.
    """

    id: str
    name: str
    family: str
    shape: tuple[int, int, int]
    counts: dict[str, int]
    classes: int
    descriptor: dict[str, float]

    @staticmethod
    def of(task: Task, family: str) -> TaskRecord:
        classes = len(task.classes or ())
        return TaskRecord(task.hash, task.name, family, task.shape, task.counts, classes, task.descriptor)

    def to_json(self) -> dict[str, Any]:
        return finite(dataclasses.asdict(self))

    @staticmethod
    def from_json(document: dict[str, Any]) -> TaskRecord:
        return TaskRecord(**{**document, "shape": tuple(document["shape"])})


@dataclass(frozen=True)
class Point:
    """One evaluation: figures of the generator after so much training.

    `seconds` are of training alone; what compiling and evaluating took is in the trial's cost. A figure that is not
    finite is None.
    """

    nimg: int
    flops: float
    seconds: float
    figures: dict[str, float | None]

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
    """

    task: str
    recipe_json: dict[str, Any]
    seed: int
    budget: float
    status: str
    reason: str | None
    cost: dict[str, float]
    curve: tuple[Point, ...]
    code: str
    space: int
    device: str
    finished: str
    embedding: str = EMBEDDING

    @cached_property
    def id(self) -> str:
        """A digest of everything that the trial says: a merge is a union of ids, and damage shows."""
        return digest(self.to_json())

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.from_json(self.recipe_json)

    @property
    def assignment(self) -> str:
        """The name of what was to be done; see `assignment`."""
        return assignment(self.task, self.recipe, self.seed, self.budget, self.embedding)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is its inverse."""
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        if self.embedding == UNNAMED:
            del fields["embedding"]  # its digest stays what it was
        return finite(fields | {"curve": [point.to_json() for point in self.curve], "budget": float(self.budget)})

    @staticmethod
    def from_json(document: dict[str, Any]) -> Trial:
        curve = tuple(Point(*point) for point in document["curve"])
        return Trial(**{"embedding": UNNAMED, **document, "curve": curve})


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
