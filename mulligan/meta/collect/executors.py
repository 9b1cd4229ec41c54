"""Where workers run: in this process, in several, on a Ray cluster, or as jobs of Slurm.

All do the same work (`meta.collect.worker`), on a core each where they can: two workers of one core do more than
one of two.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import queue
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mulligan.errors import MulliganError, UsageError, first_line, optional_import
from mulligan.events import Listener
from mulligan.files import make_folder
from mulligan.meta.cluster import ELSEWHERE, RAY, join
from mulligan.meta.collect.worker import WorkerConfig, new_worker_name, work
from mulligan.training.cores import settle, shares, started_on, threads_on
from mulligan.training.device import own_cores

RESTARTS = 20  # of workers that died, or came back with nothing
TRIALS_A_PROCESS = 50  # then a new one takes its place: compiled programs leave some 10 MB each behind
MINUTES_AFTER = 30  # that a job has for its last trial, when no more begin
POLL_SECONDS = 1.0  # between two looks at what workers elsewhere have done


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
        Ray's that is known to this machine, or else one of its own; `ray://HOST:PORT` for one elsewhere; `slurm:N` for
        N jobs of Slurm's, from a machine that may submit them.
      place: of the experience, which workers elsewhere must be able to reach.

    Raises:
      UsageError: it names none, or workers elsewhere are to write into a file here.

    Example:
      >>> executor("3", "mine.db")
      Processes(workers=3)
    """
    if workers.isdecimal() and int(workers) > 0:
        return Here() if int(workers) == 1 else Processes(int(workers))
    jobs = workers.removeprefix("slurm:")
    slurm = jobs != workers and jobs.isdecimal() and int(jobs) > 0
    if not slurm and workers != RAY and not workers.startswith(ELSEWHERE):
        raise UsageError(f"invalid workers {workers!r}: give a number, ray, ray://HOST:PORT, or slurm:N.")
    if workers != RAY and "://" not in place:
        raise UsageError(
            f"workers on {workers} cannot write into {place}: give `experience` the URL of a database that they reach."
        )
    return Jobs(int(jobs)) if slurm else RayCluster(workers)


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
        # Where there are too few cores each worker may use all of them.
        cores = shares(self.workers) if threads_on(own_cores()) >= self.workers else [own_cores()] * self.workers
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
    """A worker for every core of a cluster, or for every GPU where it has any.

    `cluster` is named as `meta.cluster.join` takes it.
    """

    cluster: str

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        """Runs tasks of one trial each, as many at a time as there is room for: nodes may come and go.

        Raises:
          MulliganError: Ray is not installed, no cluster answers, its nodes cannot reach the experience, or a worker
            cannot use it.
        """
        ray = join(self.cluster)
        try:
            hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
            if len(hosts) > 1 and "://" not in config.place:
                raise MulliganError(
                    f"{len(hosts)} machines of this cluster cannot all write into {config.place}: give `experience` "
                    "the URL of a database that they reach."
                )
            _share_out(ray, config, emit)
        finally:
            ray.shutdown()


def _share_out(ray: Any, config: WorkerConfig, emit: Listener) -> None:
    """Keeps a cluster busy until the time is up, or every worker has done its trials."""
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"  # Ray hides GPUs not asked for
    options = {"num_cpus": 1, "num_gpus": int(kind == "GPU"), "max_retries": 0, "max_calls": TRIALS_A_PROCESS}
    remote = ray.remote(**options)(_one_trial)
    shared, until = ray.put(replace(config, trials=1)), time.monotonic() + config.seconds
    slots = max(int(ray.cluster_resources().get(kind, 1)), 1)
    waiting = [math.inf if config.trials is None else config.trials] * slots  # trials of workers that are free
    running: dict[Any, float] = {}
    fruitless = 0
    while running or waiting:
        slots, seconds = int(ray.cluster_resources().get(kind, 0)), until - time.monotonic()
        if config.trials is None:  # for nodes that have joined
            waiting += [math.inf] * (slots - len(running) - len(waiting))
        if seconds <= 0 or fruitless > RESTARTS + slots:
            waiting = []
        while waiting and len(running) < slots:
            if (left := waiting.pop()) > 0:
                running[remote.remote(shared, seconds)] = left
        if not running:
            time.sleep(POLL_SECONDS if waiting else 0.0)  # for a node that has room
            continue
        for ended in ray.wait(list(running), timeout=POLL_SECONDS)[0]:
            left = running.pop(ended)
            try:
                told = ray.get(ended)
            except ray.exceptions.RayTaskError as error:  # of the work itself
                raise error.cause from error
            except ray.exceptions.RayError:  # the worker, its node or their memory is gone: another does it
                told = []
            for event in told:
                emit(event)
            fruitless = 0 if told else fruitless + 1
            waiting.append(left - len(told))


@dataclass(frozen=True)
class Jobs:
    """So many jobs of Slurm's, of a core each; `cluster` is submitit's name for where they run, None for Slurm."""

    number: int
    cluster: str | None = "slurm"

    def run(self, config: WorkerConfig, emit: Listener) -> None:
        """Submits the jobs from a folder that they share with this machine, and new ones in place of those that die.

        Raises:
          MulliganError: submitit is not installed, there is no Slurm, or a job cannot use the experience.
        """
        with optional_import("submitit", "submitting jobs to Slurm", "slurm"):
            import submitit  # pyright: ignore[reportMissingImports]
        folder = make_folder(Path("mulligan-jobs") / new_worker_name().replace(" ", "-")).resolve()
        try:
            submits = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise MulliganError(f"no jobs can be submitted from this machine: {first_line(error)}.") from error
        until = time.monotonic() + config.seconds
        running: dict[Any, _Told] = {}
        restarts, wanted = 0, self.number
        try:
            while running or wanted:
                seconds = until - time.monotonic()
                wanted = wanted if seconds > 0 and restarts <= RESTARTS + self.number else 0
                submits.update_parameters(timeout_min=math.ceil(max(seconds, 0) / 60) + MINUTES_AFTER, cpus_per_task=1)
                for _ in range(wanted):
                    told = _Told(folder / f"{len(list(folder.glob('*.jsonl')))}.jsonl")
                    told.path.touch()
                    job = submits.submit(_trials_into, replace(config, seconds=seconds), told.path)
                    running[job] = told
                wanted = 0
                time.sleep(POLL_SECONDS)
                for job, told in list(running.items()):
                    over = job.done()
                    for event in told.new():
                        emit(event)
                    if not over:
                        continue
                    del running[job]
                    error = job.exception()
                    if isinstance(error, submitit.core.utils.FailedJobError) and "mulligan.errors." in str(error):
                        # A traceback, and after it where its log lies.
                        lines = [line for line in str(error).splitlines() if line.startswith("mulligan.errors.")]
                        sentences = [line.partition(": ")[2] for line in lines]
                        raise MulliganError(sentences[-1] if sentences else f"a job failed: its log is in {folder}.")
                    restarts += error is not None
                    wanted += error is not None or config.trials is None
        finally:
            for job in running:
                job.cancel(check=False)  # one that cannot be is no reason to leave the others running


class _Told:
    """What a job elsewhere writes, line by line, read as it comes."""

    def __init__(self, path: Path):
        self.path, self._read = path, 0

    def new(self) -> list[dict[str, Any]]:
        """Events since the last call; a line that is not whole yet waits."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _trials_into(config: WorkerConfig, path: Path) -> None:
    """What a job does, a line in the file for each event."""
    settle(1)  # as many as it asked Slurm for

    def emit(event: dict[str, Any]) -> None:
        with path.open("a") as file:
            print(json.dumps(event), file=file)

    work(replace(config, trials=config.trials or TRIALS_A_PROCESS), new_worker_name(), emit)


def _one_trial(config: WorkerConfig, seconds: float) -> list[dict[str, Any]]:
    """What happened; nothing where the time, of which there are `seconds` left, was up."""
    settle(1)  # Ray gives a worker a core in its books alone
    told: list[dict[str, Any]] = []
    work(replace(config, seconds=seconds), new_worker_name(), told.append)
    return told


def _start(context: Any, events: Any, config: WorkerConfig, cores: Sequence[int]) -> Any:
    process = context.Process(target=_work_on, args=(config, events, threads_on(cores)), daemon=True)
    with started_on(cores):
        process.start()
    return process


def _work_on(config: WorkerConfig, events: Any, threads: int) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
    settle(threads)
    work(replace(config, trials=config.trials or TRIALS_A_PROCESS), new_worker_name(), events.put)
