"""Arms that train at the same time on a Ray cluster, each in an actor that has a core, or a GPU, of some node.

The run's folder lies where all nodes see it, and an arm is trained there: nothing that decides travels by Ray. So an
actor whose worker or node is lost is followed by another, which goes on from the arm's newest checkpoint.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import jax

from mulligan.errors import MulliganError, first_line
from mulligan.files import make_folder
from mulligan.meta.cluster import join
from mulligan.meta.race.arm_run import ArmRun, ArmSpec, Slice, SliceResult, alone
from mulligan.meta.race.shared_task import SharedTask, is_shareable, share_task
from mulligan.meta.race.side_by_side import KILLS, SHARED
from mulligan.tasks.task import Task
from mulligan.training.cores import settle
from mulligan.training.device import cache_programs

POLL_SECONDS = 1.0  # after which an actor that trains says how it gets on


def lanes_on(cluster: str, task: Task, arms: int) -> int:
    """How many arms train at a time on a cluster: one for each core, or GPU, where there are so many arms.

    Raises:
      MulliganError: no cluster answers, or its nodes could not read the images.
    """
    ray = join(cluster)
    try:
        if not is_shareable(task):
            raise MulliganError(f"the images of {task.name} can be read by this process alone: leave out `workers`.")
        return max(min(int(ray.cluster_resources().get(_kind(), 0)), arms), 1)
    finally:
        ray.shutdown()


class ArmActors:
    """The actors of a race's arms. Each begins with its arm's first slice, and ends where another needs its place.

    Args:
      cluster: as `meta.cluster.join` takes it.
      hear: is told of every event of an arm's run, with the arm's number.
    """

    def __init__(self, specs: Sequence[ArmSpec], task: Task, cluster: str, hear: Callable[[int, dict[str, Any]], None]):
        folder = specs[0].run.resolve()  # workers have another current folder
        self.specs = [spec._replace(run=folder) for spec in specs]
        self.task, self.cluster, self.hear = task, cluster, hear
        self.running: dict[int, Any] = {}
        self._folder = folder / SHARED
        self._ray: Any = None
        self._shared: Any = None

    def train(self, slices: Mapping[int, Slice]) -> dict[int, SliceResult]:
        """Trains slices of different arms, as many at a time as there is room for.

        An actor that is lost is replaced, and its slice goes on from the arm's newest checkpoint.

        Raises:
          KeyboardInterrupt: a signal came; what an arm has trained since its newest checkpoint is to be trained again.
          MulliganError: no cluster answers, a node does not see the run's folder, or another process trains an arm.
        """
        self._ray = ray = self._ray or join(self.cluster)
        results: dict[int, SliceResult] = {}
        asked: dict[Any, int] = {}  # arms by what their actors have not answered yet
        silent = slices.keys() - self.running.keys()  # arms whose actors may still wait for a place
        lost = Counter[int]()  # actors, since the arm's last event
        while len(results) < len(slices):
            for number in slices.keys() - results.keys() - set(asked.values()):
                asked[self._actor(number).train.remote(slices[number])] = number
            if silent and ray.available_resources().get(_kind(), 0) < 1:
                for number in self.running.keys() - set(asked.values()):
                    self._end(number)
            for answer in ray.wait(list(asked), timeout=POLL_SECONDS)[0]:
                number = asked.pop(answer)
                try:
                    events, result = ray.get(answer)
                except ray.exceptions.RayTaskError as error:  # of the training itself
                    raise error.cause from error
                except ray.exceptions.RayError as error:  # the worker, its node or their memory is gone
                    self._end(number)
                    silent.add(number)
                    lost[number] += 1
                    if lost[number] >= KILLS:
                        results[number] = SliceResult(None, f"its worker was lost {KILLS} times: {first_line(error)}")
                    continue
                silent.discard(number)
                for event in events:
                    lost[number] = 0
                    self.hear(number, event)
                if result is not None:
                    results[number] = result
        for number in [number for number, result in results.items() if result.ended and number in self.running]:
            self._end(number)
        return results

    def close(self) -> None:
        """Ends all actors: between slices everything is saved."""
        for number in list(self.running):
            self._end(number)
        if self._ray is not None:
            self._ray.shutdown()
        self._ray = self._shared = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _actor(self, number: int) -> Any:
        """The actor of an arm; a new one gets the room for one worker, wherever there is some."""
        if number not in self.running:
            self._shared = self._shared or self._ray.put(share_task(self.task, make_folder(self._folder)))
            # Ray hides GPUs that were not asked for.
            remote = self._ray.remote(num_cpus=1, num_gpus=int(_kind() == "GPU"))(ArmActor)
            lock = self._folder / f"{number:02d}.lock"
            self.running[number] = remote.remote(self.specs[number], self._shared, lock, os.getcwd())
        return self.running[number]

    def _end(self, number: int) -> None:
        self._ray.kill(self.running.pop(number))


def _kind() -> str:
    """What a worker takes of a cluster: what this machine trains on, since it is this one that trains the winner."""
    return "CPU" if jax.default_backend() == "cpu" else "GPU"


class ArmActor:
    """An arm's run in a worker of the cluster, which keeps its compiled programs from slice to slice.

    Args:
      lock: that is held while the arm is trained here.
      here: the folder from which relative paths of images start.
    """

    def __init__(self, spec: ArmSpec, shared: SharedTask, lock: Path, here: str):
        settle(1)  # Ray gives a worker a core in its books alone
        with suppress(OSError):  # a folder that this node does not know; other paths may be whole
            os.chdir(here)
        self.spec, self.shared, self.lock = spec, shared, lock
        self._held, self._run = ExitStack(), None
        self._told: deque[dict[str, Any]] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._training: Future[SliceResult] = Future()
        self._asked: Slice | None = None

    def train(self, given: Slice) -> tuple[list[dict[str, Any]], SliceResult | None]:
        """Begins a slice, or goes on with it: to be called until there is a result. Calling too often does no harm.

        Returns:
          The events since the last call, and what came of the slice; None while it is trained.

        Raises:
          MulliganError: this node does not see the run's folder, or another process trains the arm.
        """
        if given != self._asked:
            self._asked, self._training = given, self._thread.submit(self._train, given)
        wait([self._training], POLL_SECONDS)
        result = self._training.result() if self._training.done() else None
        return [self._told.popleft() for _ in range(len(self._told))], result

    def _train(self, given: Slice) -> SliceResult:
        if self._run is None:
            if not (self.spec.run / "run.json").is_file():
                raise MulliganError(
                    f"{platform.node()} does not see {self.spec.run}: choose an `out` that all nodes share."
                )
            cache_programs()
            self._held.enter_context(alone(self.spec, self.lock))
            self._run = ArmRun(self.spec, self.shared.opened(), self._told.append)
        return self._run.train(given)
