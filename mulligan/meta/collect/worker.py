"""One worker of those that fill the experience: claims the next assignment there, does it, and writes how it went.

Workers share nothing but the experience. So they may be killed at any instant, and more may be started, here or on
another machine with the same database.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from mulligan.errors import MulliganError
from mulligan.events import Listener, TrialEnded
from mulligan.meta.collect.proposals import propose_trials
from mulligan.meta.collect.trial import TrialSpec
from mulligan.meta.collect.trial_batch import alike, population_size, run_trials
from mulligan.meta.experience import LEASE_SECONDS, Experience
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import Trial, assignment
from mulligan.metrics.selection import SELECTS
from mulligan.tasks.task import Task
from mulligan.training.device import cache_programs


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker does: it begins trials on `tasks` for so many `seconds`, and `trials` of them at most.

    It does one at a time, or `members` that one program can train; None for as many as suit the device.

    Seconds are counted by each process on a clock that nobody sets: `time.monotonic`, whose zero is a machine's own.
    """

    place: str
    tasks: tuple[Task, ...]
    seconds: float
    images: int
    trials: int | None
    members: int | None = None


def work(config: WorkerConfig, worker: str, emit: Listener) -> None:
    """One worker: claims, tries, writes, until the time is up.

    Raises:
      MulliganError: the experience cannot be opened, read or written.
    """
    until = time.monotonic() + config.seconds
    cache_programs()
    experience = Experience(config.place)
    try:
        done = 0
        while config.trials is None or done < config.trials:
            # In a process of its own a worker ends with the one that started it, which may have been killed.
            parent = multiprocessing.parent_process()
            over = time.monotonic() >= until or (parent is not None and not parent.is_alive())
            most = math.inf if config.trials is None else config.trials - done
            claimed = [] if over else _claimed(experience, config, most, worker)
            if not claimed:
                return
            done += len(claimed)
            names = [assignment_of(chosen) for chosen in claimed]
            with _kept_alive(experience, names, worker):
                tried = run_trials(claimed)
            for chosen, name, trial in zip(claimed, names, tried, strict=True):
                if not experience.finish(trial, name, worker):
                    continue
                ended = TrialEnded(
                    task=chosen.task.name,
                    recipe=chosen.recipe.hash(),
                    seed=chosen.seed,
                    status=trial.status,
                    reason=trial.reason,
                    figure=SELECTS.name,
                    value=trial.last,
                    **{name: trial.cost.get(name) for name in ("images", "flops", "seconds")},
                )
                emit(ended.to_json())
    finally:
        experience.release(worker)


def _claimed(experience: Experience, config: WorkerConfig, most: float, worker: str) -> list[TrialSpec]:
    """The most wanted assignment of the task that has had the least, and those that are to be trained with it, claimed.

    Args:
      most: assignments, whatever the device could train at once.
    """
    while True:
        taken, counts = experience.taken(), experience.counts()
        fewest = min(config.tasks, key=lambda task: sum(counts.get(task.hash, {}).values()), default=None)
        if fewest is None:
            return []
        budgets = {task.hash: reference_flops(task.shape, config.images) for task in config.tasks}
        known = _known(config.place)
        known |= {trial.id: trial for trial in experience.trials_besides(known)}
        ended = [trial for _, trial in sorted(known.items()) if trial.comparable]
        possible = propose_trials(fewest, config.images, ended, budgets)
        chosen = next(each for each in possible if assignment_of(each) not in taken)
        if not experience.claim(assignment_of(chosen), fewest.hash, worker):
            continue
        claimed = {assignment_of(chosen): chosen}
        members = min(most, population_size(chosen) if config.members is None else config.members)
        others = alike(chosen, possible) if members > 1 else iter(())
        while len(claimed) < members:
            name = assignment_of(other := next(others))
            if name not in taken and name not in claimed and experience.claim(name, fewest.hash, worker):
                claimed[name] = other
        return list(claimed.values())


@lru_cache(maxsize=1)
def _known(place: str) -> dict[str, Trial]:
    """Trials of the experience that this process has read, by id: a trial never changes."""
    del place
    return {}


def assignment_of(chosen: TrialSpec) -> str:
    return assignment(chosen.task.hash, chosen.recipe, chosen.seed, chosen.budget)


@contextmanager
def _kept_alive(experience: Experience, names: Sequence[str], worker: str) -> Iterator[None]:
    """Renews claims from another thread while their trials run."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE_SECONDS / 4):
            for name in names:
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


def new_worker_name() -> str:
    """A worker's name, that no other ever has."""
    return f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
