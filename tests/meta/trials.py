"""Tasks and trials made up for tests of the experience, and what other processes do with them."""

import os
import time

from mulligan.meta.experience import Experience
from mulligan.meta.store.record import DONE, FAILED, Point, Records, TaskRecord, Trial
from mulligan.recipe import Recipe


def task(name: str = "a") -> TaskRecord:
    return TaskRecord(f"hash-{name}", f"family/{name}", "family", (28, 28, 1), {"train": 9}, 0, {"log_n": 2.25})


def trial(seed: int, name: str = "a", energy: float | None = 0.125, status: str = DONE) -> Trial:
    points = tuple(Point(100 * k, 1e9 * k, 0.5 * k, {"energy": energy, "frechet": 3.0 / k}) for k in (1, 2, 3))
    return Trial(
        task=f"hash-{name}",
        recipe_json=Recipe().to_json(),
        seed=seed,
        budget=3e9,
        status=status,
        reason=None if status == DONE else "it diverged",
        cost={"images": 300, "flops": 3e9, "seconds": 2.0},
        curve=points if status != FAILED else points[:1],
        code="0.1.0",
        space=1,
        device="cpu, 2 cores",
        finished="2026-11-23T12:00:00+00:00",
    )


def some(seeds, names="a") -> Records:
    """A trial of each seed on each task."""
    found = [trial(seed, name) for seed in seeds for name in names]
    return Records({task(name).id: task(name) for name in names}, {each.id: each for each in found})


def write_all(place: str, worker: str, seeds: range, die_at: int | None = None) -> None:
    """Claims and finishes trials; dies without a word while it holds a claim and a transaction is open."""
    experience = Experience(place)
    for seed in seeds:
        found = trial(seed)
        if not experience.claim(found.assignment, found.task, worker, lease=0.5):
            continue
        if seed == die_at:
            with experience._writing() as connection:
                connection.exec_driver_sql("UPDATE trials SET seed = seed + 1")
                os._exit(9)
        assert experience.finish(found, found.assignment, worker)


def write_until_killed(place: str, worker: str) -> None:
    """Writes trials one after the other, at whatever instant the kill comes."""
    experience = Experience(place)
    for seed in range(10**6):
        found = trial(seed)
        if experience.claim(found.assignment, found.task, worker):
            experience.finish(found, found.assignment, worker)
        time.sleep(0)
