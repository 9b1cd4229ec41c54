"""Where workers run: in this process, in several, or on a Ray cluster. All do the same work (`meta.collect.worker`)."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from mulligan.errors import MulliganError, UsageError, optional_import
from mulligan.events import Listener
from mulligan.meta.collect.worker import WorkerConfig, new_worker_name, work

RESTARTS = 20  # of workers that died, or came back with nothing
TRIALS_A_PROCESS = 50  # then a new one takes its place: compiled programs leave some 10 MB each behind
CORES_A_WORKER = 1  # of a Ray cluster: two workers of one core each do as much as one of two


@runtime_checkable
class Executor(Protocol):
    """Somewhere to work."""

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        """Works until the duty's time is up; `emit` hears, in this process, of every trial that ended.

        Workers that die are replaced, a few times.

        Raises:
          MulliganError: the experience, or where the workers are to run, cannot be used.
        """
        ...


def executor(workers: str, place: str) -> Executor:
    """The executor that `workers` names.

    Args:
      workers: a number of processes that share this machine's cores (with 1 it is this process); `ray` for a cluster of
        Ray's that is known to this machine, or else one of its own; `ray://HOST:PORT` for one elsewhere.
      place: of the experience, which workers elsewhere must be able to reach.

    Raises:
      UsageError: it names none, or workers elsewhere are to write into a file here.

    Example:
      >>> executor("3", "mine.db")
      Processes(workers=3)
    """
    if workers.isdecimal() and int(workers) > 0:
        return Here() if int(workers) == 1 else Processes(int(workers))
    if workers != "ray" and not workers.startswith("ray://"):
        raise UsageError(f"invalid workers {workers!r}: give a number, ray, or ray://HOST:PORT.")
    if workers != "ray" and "://" not in place:
        raise UsageError(
            f"workers on {workers} cannot write into {place}: give `experience` the URL of a database that they reach."
        )
    return RayCluster(None if workers == "ray" else workers)


@dataclass(frozen=True)
class Here:
    """One worker: this process."""

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        work(config, new_worker_name(), emit)


@dataclass(frozen=True)
class Processes:
    """Workers side by side, each on its share of the cores."""

    workers: int

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        """Runs workers side by side, and new ones in place of those that die."""
        # A forked process would come with the threads of a device that it cannot use.
        context = multiprocessing.get_context("spawn")
        events = context.Queue()
        start, until = partial(_start, context, events), time.monotonic() + config.seconds
        # The cores are shared out, where there are enough of them and the system lets us.
        own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        cores = [own[index :: self.workers] if len(own) >= self.workers else [] for index in range(self.workers)]
        running = {index: start(config, cores[index]) for index in range(self.workers)}
        restarts = 0
        try:
            while running:
                try:
                    emit(events.get(timeout=0.5))
                    continue
                except queue.Empty:
                    pass
                for index, process in list(running.items()):
                    if process.is_alive():
                        continue
                    del running[index]
                    restarts += process.exitcode != 0
                    more = process.exitcode != 0 or config.trials is None
                    if more and restarts <= RESTARTS and (seconds := until - time.monotonic()) > 0:
                        running[index] = start(replace(config, seconds=seconds), cores[index])
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.join()


@dataclass(frozen=True)
class RayCluster:
    """A worker for every core of a cluster; `address` None is one known to this machine, or one of its own."""

    address: str | None

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        """Runs tasks of one trial each, as many at a time as there are cores.

        Raises:
          MulliganError: Ray is not installed, or no cluster answers.
        """
        with optional_import("Ray", "a cluster of workers", "ray"):
            import ray  # pyright: ignore[reportMissingImports]
        try:
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise MulliganError(f"no Ray cluster answers at {self.address}: {error}") from error
        try:
            remote = ray.remote(num_cpus=CORES_A_WORKER, max_retries=0, max_calls=TRIALS_A_PROCESS)(_one_trial)
            shared = ray.put(replace(config, trials=1))
            slots = max(int(ray.cluster_resources().get("CPU", 1)) // CORES_A_WORKER, 1)
            left = math.inf if config.trials is None else config.trials
            until = time.monotonic() + config.seconds
            running = {remote.remote(shared, config.seconds): left for _ in range(slots if left else 0)}
            fruitless = 0
            while running:
                [ended], _ = ray.wait(list(running))
                left = running.pop(ended)
                try:
                    told = ray.get(ended)
                except ray.exceptions.WorkerCrashedError:  # another will claim its trial
                    told = []
                for event in told:
                    emit(event)
                left -= len(told)
                fruitless += not told
                if left > 0 and fruitless <= RESTARTS and (seconds := until - time.monotonic()) > 0:
                    running[remote.remote(shared, seconds)] = left
        finally:
            ray.shutdown()


def _one_trial(config: WorkerConfig, seconds: float) -> list[dict[str, Any]]:
    """What happened; nothing where the time, of which there are `seconds` left, was up."""
    told: list[dict[str, Any]] = []
    work(replace(config, seconds=seconds), new_worker_name(), told.append)
    return told


def _start(context: Any, events: Any, config: WorkerConfig, cores: Sequence[int]) -> Any:
    process = context.Process(target=_work_on, args=(config, list(cores), events), daemon=True)
    process.start()
    return process


def _work_on(config: WorkerConfig, cores: list[int], events: Any) -> None:
    """What a process does: XLA sizes its threads by the cores that it may use when it is first called."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    work(replace(config, trials=config.trials or TRIALS_A_PROCESS), new_worker_name(), events.put)
