"""Gathers the experience that is shipped, and goes on where it stopped.

    python benchmarks/gather.py --time 90m --place first.db --workers 2
    python benchmarks/gather.py --place first.db --ship

Every family of `../shared/data` that is there is learned from, and the built-in ones, at 16x16: small images make a
trial a matter of seconds. First every recipe of `benchmarks/design.py` is tried on every task for a quarter of a short
trial; the best by mean rank go on to whole ones, a few of those to four times that; then recipes are bred from the best
(`meta/evolution.py`) and go the same way. With `--ship` all that the place then holds is written to
`mulligan/data/experience-DATE.jsonl.gz`: numbers alone, never images.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.design import FIXED, recipes_for
from mulligan.budget import parse_seconds
from mulligan.meta.curriculum import limits
from mulligan.meta.evolution import Candidate, candidates, child, promising
from mulligan.meta.exchange import SHIPPED, SUFFIX, read, write_file
from mulligan.meta.experience import Experience
from mulligan.meta.footprint import refusal
from mulligan.meta.record import TaskRecord, Trial, assignment
from mulligan.meta.trial import Assignment, budget_flops, run_trial
from mulligan.tasks.families import parse_source, read_family
from mulligan.tasks.task import Task
from mulligan.training.device import cache_programs

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
SIZE = 16
GREY = (
    "fashion_mnist.npz",
    "mnist.npz",
    "omniglot.npz",
    "glyphs@labels=A,g",
    "digits",
    "fashion_mnist.npz@labels=1,7",
    "mnist.npz@labels=3",
    "omniglot.npz@alphabet=Greek,Korean",
)
COLOUR = (
    "emoji_noto.npz",
    "cifar10.npz",
    "textures@labels=pagoda,petals",
    "emoji_noto.npz@labels=People & Body",
    "cifar10.npz@labels=automobile,horse",
)


class Rung(NamedTuple):
    """A length of trials, in images of the yardstick, and how many of the recipes of the rung before get there."""

    images: int
    best: int
    tasks: int  # of each worker's tasks, the first so many


RUNGS = (Rung(8000, 10**6, 10**6), Rung(32_000, 10, 10**6), Rung(128_000, 3, 4))
BRED = 6  # recipes bred before promising ones are looked at again
PANEL = 3  # tasks of each worker on which a bred recipe is tried first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", help="such as 90m; nothing is tried if left out")
    parser.add_argument("--place", required=True, help="the experience to fill: a file, or the URL of a database")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=2, help="2: grey and colour side by side")
    parser.add_argument("--ship", action="store_true", help="write the file that goes into the package")
    arguments = parser.parse_args()
    until = time.time() + (parse_seconds(arguments.time) if arguments.time else 0.0)
    shares = [GREY, COLOUR] if arguments.workers == 2 else [GREY + COLOUR]
    shares = shares if arguments.time else []
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=work, args=(arguments.place, sources, until, core))
        for core, sources in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if arguments.ship:
        known = read(arguments.place)
        path = SHIPPED / f"experience-{datetime.now(UTC):%Y-%m-%d}{SUFFIX}"
        write_file(path, known)
        print(f"{path}: {len(known.trials)} trials on {len(known.tasks)} tasks")
    return int(any(worker.exitcode for worker in workers))


def work(place: str, sources: Sequence[str], until: float, core: int) -> None:
    """Tries what is wanted on the tasks of `sources`, on one core, until the time is up."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    cache_programs()
    experience, name = Experience(place), uuid.uuid4().hex
    tasks = []
    for source in there(sources):
        family = read_family(source, size=SIZE)
        for task in family.tasks:
            experience.add_task(TaskRecord.of(task, family.name))
            tasks.append(task)
    for chosen in wanted(tasks, experience):
        if time.time() > until:
            return
        called = assignment(chosen.task.hash, chosen.recipe, chosen.seed, chosen.budget)
        if experience.claim(called, chosen.task.hash, name, lease=900.0):
            trial = run_trial(chosen)
            experience.finish(trial, called, name)
            print(line(chosen, trial), flush=True)


def line(chosen: Assignment, trial: Trial) -> str:
    """How a trial went, for people."""
    last = trial.curve[-1].figures["kid"] if trial.curve else None
    kid = "none" if last is None else f"{last:.4f}"
    cost = " ".join(f"{trial.cost[name]:.1f}" for name in ("training_cpu_seconds", "compile_seconds", "seconds"))
    return f"{chosen.task.name} {chosen.recipe.hash()} {chosen.images} {trial.status} kid {kid} seconds {cost}"


def there(sources: Sequence[str]) -> list[str]:
    """The sources that are built in or lie in DATA, with their paths."""
    found = []
    for source in sources:
        name = parse_source(source).source
        if not name.endswith(".npz"):
            found.append(source)
        elif (DATA / name).is_file():
            found.append(str(DATA / source))
    return found


def wanted(tasks: Sequence[Task], experience: Experience) -> Iterator[Assignment]:
    """Assignments in the order in which they are wanted, without end; those that are taken are for the caller to skip.

    One recipe after the other, so that its compiled programs serve all tasks of a shape.
    """
    yield from rungs(tasks, experience)
    rng = np.random.default_rng([0, len(list(experience.trials())), len(tasks)])
    while True:
        known = known_at(experience, RUNGS[0].images)
        for _ in range(BRED):
            bred = child(
                known, rng, lambda recipe: refusal(recipe, (SIZE, SIZE, 1), 0, limits(RUNGS[0].images)) is None
            )
            yield from (Assignment(task, bred, 0, RUNGS[0].images) for task in tasks[:PANEL])
        known = known_at(experience, RUNGS[0].images)
        for task in tasks:
            yield from (Assignment(task, recipe, 0, RUNGS[0].images) for recipe in promising(known, task.hash)[:BRED])
        yield from rungs(tasks, experience)


def rungs(tasks: Sequence[Task], experience: Experience) -> Iterator[Assignment]:
    """The designed recipes on the first rung, the fixed ones and those of the best mean rank on the later ones."""
    for recipe_of in recipes_for(RUNGS[0].images):
        yield from (Assignment(task, recipe_of(task), 0, RUNGS[0].images) for task in tasks)
    for before, rung in itertools.pairwise(RUNGS):
        best = sorted(known_at(experience, before.images), key=lambda each: each.fitness)
        for fixed in FIXED:
            yield from (Assignment(task, fixed(task, rung.images), 0, rung.images) for task in tasks[: rung.tasks])
        for each in best[: rung.best]:
            yield from (Assignment(task, each.recipe, 0, rung.images) for task in tasks[: rung.tasks])


def known_at(experience: Experience, images: int) -> list[Candidate]:
    """Every recipe that was tried for so many images, with its ranks."""
    budgets = {task.id: budget_flops(task.shape, images) for task in experience.tasks()}
    return candidates(experience.trials(), budgets)


if __name__ == "__main__":
    raise SystemExit(main())
