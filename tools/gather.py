"""Gathers the experience that is shipped, and goes on where it stopped.

    python tools/gather.py --time 90m --place first.db --workers 2
    python tools/gather.py --place first.db --ship

Every family of `../shared/data` that is there is learned from, and the built-in ones, at 16x16: small images make a
trial a matter of seconds. First come the rows of `tools/design.py`, then recipes bred from the best of them
(`meta/collect/evolution.py`), each on a few tasks first. With `--ship` all that the place then holds is written to
`mulligan/data/experience-DATE.jsonl.gz`: numbers alone, never images.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from benchmarks.common.data import groups_of
from benchmarks.common.places import DATA
from mulligan.budget import parse_seconds
from mulligan.meta.collect.evolution import Individual, candidates, child, promising
from mulligan.meta.collect.proposals import limits
from mulligan.meta.collect.trial import TrialSpec, run_trial
from mulligan.meta.experience import Experience, read
from mulligan.meta.space.cost import refusal
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.exchange import PACKAGE, SUFFIX, write_file
from mulligan.meta.store.record import TaskRecord, Trial, assignment
from mulligan.metrics.selection import SELECTS
from mulligan.tasks.families import parse_source, read_family
from mulligan.tasks.task import Task
from mulligan.training.device import cache_programs
from tools.design import QUARTER, rows

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


BRED = 4  # recipes bred before promising ones are looked at again
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
        path = PACKAGE / f"experience-{datetime.now(UTC):%Y-%m-%d}{SUFFIX}"
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
        family = read_family(source, size=SIZE, groups=groups_of(source))
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


def line(chosen: TrialSpec, trial: Trial) -> str:
    """How a trial went, for people."""
    value = "none" if trial.last is None else f"{trial.last:.4f}"
    cost = " ".join(f"{trial.cost[name]:.1f}" for name in ("training_cpu_seconds", "compile_seconds", "seconds"))
    tried = f"{chosen.task.name} {chosen.recipe.hash()} {chosen.images}"
    return f"{tried} {trial.status} {SELECTS.name} {value} seconds {cost}"


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


def wanted(tasks: Sequence[Task], experience: Experience) -> Iterator[TrialSpec]:
    """Assignments in the order in which they are wanted, without end; those that are taken are for the caller to skip.

    One recipe after the other, so that its compiled programs serve all tasks of a shape.
    """
    for row in rows():
        yield from (TrialSpec(task, row.recipe(task), row.seed, row.images) for task in tasks[: row.tasks])
    within = limits(QUARTER)
    while True:
        known = tried(experience)
        rng = np.random.default_rng([len(known), len(tasks)])
        for _ in range(BRED):
            bred = child(known, rng, lambda recipe: refusal(recipe, (SIZE, SIZE, 1), 0, within) is None)
            yield from (TrialSpec(task, bred, 0, QUARTER) for task in tasks[:PANEL])
        known = tried(experience)
        for task in tasks:
            yield from (TrialSpec(task, recipe, 0, QUARTER) for recipe in promising(known, task.hash)[:BRED])


def tried(experience: Experience) -> list[Individual]:
    """Every recipe that was tried for a quarter of a short trial, with its ranks."""
    budgets = {task.id: reference_flops(task.shape, QUARTER) for task in experience.tasks()}
    return candidates(experience.trials(), budgets)


if __name__ == "__main__":
    raise SystemExit(main())
