"""Tasks and trials made up for tests of the experience, and what other processes do with them."""

import os
import time

import numpy as np

from mulligan.meta.experience import Experience
from mulligan.meta.gather.trial import budget_flops, looks
from mulligan.meta.recipes.default import default_recipe, textbook_recipe
from mulligan.meta.store.exchange import Records
from mulligan.meta.store.record import DONE, FAILED, Point, TaskRecord, Trial
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget


def task(name: str = "a") -> TaskRecord:
    return TaskRecord(f"hash-{name}", f"family/{name}", "family", (28, 28, 1), {"train": 9}, 0, {"log_n": 2.25})


def trial(seed: int, name: str = "a", kid: float | None = 0.125, status: str = DONE) -> Trial:
    points = tuple(Point(100 * k, 1e9 * k, 0.5 * k, {"kid": kid, "frechet": 3.0 / k}) for k in (1, 2, 3))
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


def write_experience(place: str, better: Recipe) -> None:
    """An experience of six families in which `better` ends with a tenth of the default recipe's KID everywhere."""
    shape, images = (8, 8, 1), 32_000
    experience, rng = Experience(place), np.random.default_rng(0)
    factors = {default_recipe(shape, 1437, Budget(images, None)): 1.0, better: 0.1, textbook_recipe(): 8.0}
    for number in range(6):
        name = f"family{number}/a"
        descriptor = read_task("digits").descriptor
        experience.add_task(TaskRecord(name, name, f"family{number}", shape, {"train": 1437}, 0, descriptor))
        for recipe, factor in factors.items():
            luck = float(rng.lognormal(sigma=0.1))
            experience.add([judged(name, recipe, shape, images, factor * luck)])


def judged(task: str, recipe: Recipe, shape: tuple[int, int, int], images: int, factor: float) -> Trial:
    """A trial whose KID falls with the square root of its images, from about `factor`."""
    curve = tuple(
        Point(int(look), budget_flops(shape, 1) * look, look / 1000, figures(factor * 30 / look**0.5))
        for look in looks(images)
    )
    cost, when = {"seconds": 1.0}, "2026-11-23T12:00:00+00:00"
    document, budget = recipe.to_json(), budget_flops(shape, images)
    return Trial(task, document, 0, budget, DONE, None, cost, curve, "0.1.0", 1, "cpu, 2 cores", when)


def figures(kid: float) -> dict[str, float | None]:
    return {"kid": kid, "kid_low": kid * 0.9, "kid_high": kid * 1.1, "frechet": kid, "diversity": 1.0}
