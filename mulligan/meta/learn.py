"""Fills the experience: tries recipes on many tasks until the time is up, in one process or several.

Workers share nothing but the experience: each claims the next assignment there, does it, and writes how it went. So
workers may be killed at any instant, and more may be started, here or on another machine with the same database.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mulligan.errors import MulliganError
from mulligan.meta.curriculum import wanted
from mulligan.meta.experience import LEASE_SECONDS, Experience, own_place
from mulligan.meta.record import TaskRecord, assignment
from mulligan.meta.trial import Assignment, budget_flops, run_trial
from mulligan.tasks.families import read_family
from mulligan.tasks.task import Task
from mulligan.training.device import cache_programs

IMAGES = 32_000  # of the yardstick, that a short trial lasts: see `meta.trial`
RESTARTS = 20  # of workers that died
TRIALS_A_PROCESS = 50  # then a new one takes its place: compiled programs leave some 10 MB each behind

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Lessons:
    """What is to be learned from, and for how long.

    Attributes:
      sources: as `tasks.families.read_family` takes them.
      seconds: after which no trial begins; those under way are brought to their end.
      place: of the experience; None for the user's own.
      workers: processes, each on its share of the cores; 1 trains in this process.
      images: length of a short trial, in images of the yardstick.
      size: side that all images are resampled to.
      trials: that each worker does at most.
    """

    sources: Sequence[str]
    seconds: float
    place: str | None = None
    workers: int = 1
    images: int = IMAGES
    size: int | None = None
    trials: int | None = None


def learn(lessons: Lessons, listener: Listener = lambda event: None) -> dict[str, Any]:
    """Tries recipes until the time is up.

    Args:
      listener: called with an event for every task read and every trial ended.

    Returns:
      `tasks`, `trials` and `failed` of this call, `place` of the experience, and `seconds`.

    Raises:
      MulliganError: a source or the experience cannot be used.
    """
    began = time.monotonic()
    place = lessons.place or own_place()
    experience = Experience(place)
    until = time.time() + lessons.seconds
    tasks: dict[str, Task] = {}
    for source in lessons.sources:
        family = read_family(source, size=lessons.size)
        for task in family.tasks:
            experience.add_task(TaskRecord.of(task, family.name))
            tasks[task.hash] = task
            listener({"kind": "task", "name": task.name, "family": family.name, "counts": task.counts})
    told: list[dict[str, Any]] = []

    def hear(event: dict[str, Any]) -> None:
        told.append(event)
        listener(event)

    duty = Duty(place, tuple(tasks.values()), until, lessons.images, lessons.trials)
    if lessons.workers == 1:
        work(duty, _name(), hear)
    else:
        _in_processes(duty, lessons.workers, hear)
    failed = sum(event["status"] == "failed" for event in told)
    spent = round(time.monotonic() - began, 3)
    return {"tasks": len(tasks), "trials": len(told), "failed": failed, "place": place, "seconds": spent}


@dataclass(frozen=True)
class Duty:
    """What a worker does: trials on `tasks` until a time in seconds since 1970, `trials` of them at most."""

    place: str
    tasks: tuple[Task, ...]
    until: float
    images: int
    trials: int | None


def work(duty: Duty, worker: str, tell: Listener) -> None:
    """One worker: claims, tries, writes, until the time is up."""
    cache_programs()
    experience = Experience(duty.place)
    try:
        for _ in range(duty.trials) if duty.trials is not None else iter(int, 1):
            over = time.time() >= duty.until or _orphaned()
            chosen = None if over else _claimed(experience, duty, worker)
            if chosen is None:
                return
            name = _assignment(chosen)
            with _kept_alive(experience, name, worker):
                trial = run_trial(chosen)
            if experience.finish(trial, name, worker):
                last = trial.curve[-1].figures["kid"] if trial.curve else None
                tell(
                    {
                        "kind": "trial",
                        "task": chosen.task.name,
                        "recipe": chosen.recipe.hash(),
                        "seed": chosen.seed,
                        "status": trial.status,
                        "reason": trial.reason,
                        "kid": last,
                        **trial.cost,
                    }
                )
    finally:
        experience.release(worker)


def _claimed(experience: Experience, duty: Duty, worker: str) -> Assignment | None:
    """The most wanted assignment of the task that has had the least, now claimed."""
    while True:
        taken, counts = experience.taken(), experience.counts()
        fewest = min(duty.tasks, key=lambda task: sum(counts.get(task.hash, {}).values()), default=None)
        if fewest is None:
            return None
        budgets = {task.hash: budget_flops(task.shape, duty.images) for task in duty.tasks}
        ended = list(experience.trials())
        possible = wanted(fewest, duty.images, ended, budgets)
        chosen = next(each for each in possible if _assignment(each) not in taken)
        if experience.claim(_assignment(chosen), fewest.hash, worker):
            return chosen


def _assignment(chosen: Assignment) -> str:
    return assignment(chosen.task.hash, chosen.recipe, chosen.seed, chosen.budget)


@contextmanager
def _kept_alive(experience: Experience, name: str, worker: str) -> Iterator[None]:
    """Renews a claim from another thread while its trial runs."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE_SECONDS / 4):
            try:
                experience.renew(name, worker)
            except MulliganError:  # busy for a moment: the lease outlasts a few of these
                continue

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- processes


def _in_processes(duty: Duty, workers: int, tell: Listener) -> None:
    """Runs workers side by side, and new ones in place of those that die."""
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    start = partial(_start, context, duty, events)
    cores = _shares(workers)
    running = {index: start(cores[index]) for index in range(workers)}
    restarts = 0
    try:
        while running:
            try:
                tell(events.get(timeout=0.5))
                continue
            except queue.Empty:
                pass
            for index, process in list(running.items()):
                if process.is_alive():
                    continue
                del running[index]
                restarts += process.exitcode != 0
                more = process.exitcode != 0 or duty.trials is None
                if more and restarts <= RESTARTS and time.time() < duty.until:
                    running[index] = start(cores[index])
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _start(context: Any, duty: Duty, events: Any, cores: Sequence[int]) -> Any:
    process = context.Process(target=_work_on, args=(duty, list(cores), events), daemon=True)
    process.start()
    return process


def _work_on(duty: Duty, cores: list[int], events: Any) -> None:
    """What a process does: XLA sizes its threads by the cores that it may use when it is first called."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    work(replace(duty, trials=duty.trials or TRIALS_A_PROCESS), _name(), events.put)


def _orphaned() -> bool:
    """Whether this is a worker's process, and the one that started it is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _shares(workers: int) -> list[Sequence[int]]:
    """The cores of each worker; none where they cannot be shared out."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < workers:
        return [()] * workers
    return [cores[index::workers] for index in range(workers)]


def _name() -> str:
    """A worker's name, that no other ever has."""
    return f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
