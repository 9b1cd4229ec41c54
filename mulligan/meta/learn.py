"""Fills the experience: tries recipes on many tasks until the time is up, in one process or several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mulligan.events import Listener, TaskRead
from mulligan.meta.collect.executors import executor
from mulligan.meta.collect.worker import WorkerConfig
from mulligan.meta.experience import Experience, required_place
from mulligan.meta.store.record import TaskRecord
from mulligan.tasks.families import read_family
from mulligan.tasks.task import Task

IMAGES = 32_000  # of the reference recipe, that a short trial lasts: see `meta.collect.trial`


@dataclass(frozen=True)
class CollectConfig:
    """What is to be learned from, and for how long.

    Attributes:
      sources: as `tasks.families.read_family` takes them.
      seconds: after which no trial begins; those under way are brought to their end.
      place: of the experience; None for the user's own.
      workers: a number of processes, or a Ray cluster's address: see `meta.collect.executors.executor`.
      images: length of a short trial, in reference images.
      size: side that all images are resampled to.
      trials: that each worker does at most.
    """

    sources: Sequence[str]
    seconds: float
    place: str | None = None
    workers: str = "1"
    images: int = IMAGES
    size: int | None = None
    trials: int | None = None


def learn(config: CollectConfig, listener: Listener = lambda event: None) -> dict[str, Any]:
    """Tries recipes until the time is up.

    Args:
      listener: called with an event for every task read and every trial ended.

    Returns:
      `tasks`, `trials` and `failed` of this call, `place` of the experience, and `seconds`.

    Raises:
      MulliganError: a source, the experience or the workers cannot be used.
    """
    began = time.monotonic()
    place = config.place or required_place()
    chosen = executor(config.workers, place)
    experience = Experience(place)
    until = time.monotonic() + config.seconds
    tasks: dict[str, Task] = {}
    for source in config.sources:
        family = read_family(source, size=config.size)
        for task in family.tasks:
            experience.add_task(TaskRecord.of(task, family.name))
            tasks[task.hash] = task
            listener(TaskRead(name=task.name, family=family.name, counts=task.counts).to_json())
    ended: list[dict[str, Any]] = []

    def hear(event: dict[str, Any]) -> None:
        ended.append(event)
        listener(event)

    work = WorkerConfig(place, tuple(tasks.values()), until - time.monotonic(), config.images, config.trials)
    chosen.run(work, hear)
    failed = sum(event["status"] == "failed" for event in ended)
    spent = round(time.monotonic() - began, 3)
    return {"tasks": len(tasks), "trials": len(ended), "failed": failed, "place": place, "seconds": spent}
