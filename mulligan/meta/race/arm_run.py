"""The run of one arm of a race, trained slice after slice in this process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import jax

from mulligan.errors import MulliganError, first_line
from mulligan.events import Listener
from mulligan.files import locked
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget, Cost
from mulligan.training.loop import Loop
from mulligan.training.run import RunFolder
from mulligan.training.run_spec import RunSpec

TRIALS = "trials"  # in the folder of the run that the arms race for
PATIENCE = 60.0  # seconds that the process of a parent which was killed has left to end in


class ArmSpec(NamedTuple):
    """What an arm is, in this process or another.

    Attributes:
      run: folder of the run that the arms race for.
      number: of the arm, from 0.
      flops_per_image: operations.
    """

    run: Path
    number: int
    recipe: Recipe
    seed: int
    flops_per_image: float

    @property
    def folder(self) -> RunFolder:
        """Of the arm's own run."""
        return RunFolder(self.run / TRIALS / f"{self.number:02d}")


class Slice(NamedTuple):
    """What an arm trains before it pauses.

    Attributes:
      until: images or seconds of its own, whichever the budget counts, that it will then have spent.
      budget: that the arm has if it gets all that is left.
    """

    until: float
    budget: Budget


class SliceResult(NamedTuple):
    """What came of a slice: all that the arm has spent, or None where it cannot be told; and why it cannot go on."""

    spent: Cost | None
    ended: str | None


@contextmanager
def alone(spec: ArmSpec, lock: Path) -> Iterator[None]:
    """Keeps other processes from training an arm while it is entered, once those that are ending have ended.

    Raises:
      MulliganError: another one trains it.
    """
    until = time.monotonic() + PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(lock))
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise MulliganError(f"another process is training {spec.folder.path} now.") from error
                time.sleep(0.05)
        yield


class ArmRun:
    """An arm's run in this process: begun, or gone on with from its newest checkpoint.

    Args:
      emit: receives the run's events.
      started: `time.monotonic()` when the arm's clock started; None for when it is first trained.
    """

    def __init__(self, spec: ArmSpec, task: Task, emit: Listener, started: float | None = None):
        self.spec, self.task, self.emit, self.started = spec, task, emit, started
        self._loop: Loop | None = None

    def train(self, given: Slice) -> SliceResult:
        """Trains a slice, which may have been trained already, in part or whole.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or SIGHUP; the arm is saved.
        """
        by_images = given.budget.images is not None
        try:
            loop = self.begin(given.budget)
            spent = (lambda progress: progress.spent_nimg) if by_images else (lambda progress: loop.seconds())
            loop.train(lambda progress: spent(progress) >= given.until, given.budget)
        except (MulliganError, jax.errors.JaxRuntimeError, MemoryError) as error:
            return SliceResult(None, first_line(error))
        images = loop.now.progress.spent_nimg
        cost = Cost(images, loop.seconds(), images * self.spec.flops_per_image)
        return SliceResult(cost, loop.now.progress.finished)

    def begin(self, left: Budget) -> Loop:
        """The run's loop.

        Args:
          left: the budget of a run that begins; one that has begun keeps its own.

        Raises:
          MulliganError: its recipe cannot be trained, or its folder is damaged or cannot be written.
        """
        if self._loop is None:
            spec, folder, race = self.spec, self.spec.folder, RunFolder(self.spec.run)
            if not (folder.path / "run.json").is_file():  # its folder is not there whole
                shutil.rmtree(folder.path, ignore_errors=True)
                RunFolder.create(folder.path, {"recipe": spec.recipe.to_json(), "task": race.document("task")})
                folder.write("run", race.document("run") | {"budget": left.to_json()})
            document = folder.document("run")["budget"]
            budget = Budget(document.get("images"), document.get("seconds"))
            started = time.monotonic() if self.started is None else self.started
            self._loop = Loop(RunSpec(folder, self.task, spec.recipe, spec.seed, budget, self.emit, started))
        return self._loop
