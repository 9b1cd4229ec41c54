"""The race: several recipes train on one task, and an allocation shares the budget out among them, slice by slice.

Each arm is a run of its own in `RUN/trials/NN`, paused after its slice and resumed exactly. `race.json` says who got
what and why; it is written before and after each slice, so a race can be killed at any instant. The winner's run
becomes the run itself, and gets all that is left.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from mulligan.errors import Interrupted, MulliganError, UsageError, first_line
from mulligan.events import Evaluated, Listener, RaceWon, RunEvent, SliceTrained
from mulligan.files import make_folder, replace_file
from mulligan.meta.race.allocation import ALLOCATIONS, ArmStatus
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.extrapolation import ArmHistory, predict_final
from mulligan.meta.space.cost import footprint
from mulligan.meta.store.kid_curves import lowest_log_kid, points_of
from mulligan.meta.store.record import Point
from mulligan.tasks.task import Task
from mulligan.training.budget import NO_COST, NOMINAL_FLOPS, Budget, Cost
from mulligan.training.loop import Loop
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.run_spec import RunSpec
from mulligan.training.stopwatch import Stopwatch

DOCUMENT, TRIALS = "race", "trials"  # in a run's folder
SLICES = 24
SHARE = 0.5  # of the budget, at most, before one arm gets all the rest
MOVED = ("checkpoints", "samples", "snapshots")  # folders of the winner that become the run's


@dataclass(frozen=True)
class RaceSpec:
    """What a race is about; its arms and how it stands are in the folder's `race.json`.

    Attributes:
      folder: of the run.
      seed: of the weights and batches of every arm.
      budget: of the whole run, what comes after the race included.
      emit: receives the events of all arms, with their number as `arm`.
      started: `time.monotonic()` when the run's clock started.
    """

    folder: RunFolder
    task: Task
    seed: int
    budget: Budget
    emit: Listener
    started: float


def document(arms: Sequence[Arm], allocation: str) -> dict[str, Any]:
    """The `race.json` of a race that is about to begin.

    Raises:
      UsageError: no allocation of that name.
    """
    if allocation not in ALLOCATIONS:
        raise UsageError(f"unknown allocation {allocation!r}: choose {', '.join(ALLOCATIONS)}.")
    entries = [arm.to_json() | {"spent": NO_COST._asdict(), "ended": None} for arm in arms]
    return {
        "format": FORMAT,
        "allocation": allocation,
        "slices": SLICES,
        "arms": entries,
        "decisions": [],
        "done": 0,
        "winner": None,
        "spent_by_others": None,
        "adopted": False,
        "seconds": 0.0,
    }


def is_on(folder: RunFolder) -> bool:
    """Whether recipes still race in a run's folder.

    Raises:
      MulliganError: its `race.json` is damaged.
    """
    return (folder.path / f"{DOCUMENT}.json").is_file() and not folder.document(DOCUMENT)["adopted"]


def spent_by_others(folder: RunFolder) -> Cost:
    """What the arms that lost took of a run's budget; nothing where there was no race.

    Raises:
      MulliganError: its `race.json` is damaged.
    """
    path = folder.path / f"{DOCUMENT}.json"
    spent = folder.document(DOCUMENT)["spent_by_others"] if path.is_file() else None
    return Cost(**spent) if spent else NO_COST


def with_total_cost(emit: Listener, budget: Budget, spent_by_others: Cost) -> Listener:
    """A listener for a run's own events that counts what was spent elsewhere as well: they get the `share` spent."""

    def told(event: dict[str, Any]) -> None:
        seconds = event["seconds"] + spent_by_others.seconds
        share = budget.share(Cost(event["nimg"] + spent_by_others.images, seconds))
        emit({**event, "seconds": round(seconds, 3), "share": share})

    return told


class Race:
    """A race in this process: begins it, or goes on with it."""

    def __init__(self, spec: RaceSpec):
        self.spec = spec
        self.folder = spec.folder
        self.document = spec.folder.document(DOCUMENT)
        self.clock = Stopwatch(spec.started, self.document["seconds"])
        self.arms = [Arm.from_json(entry) for entry in self.document["arms"]]
        self.runners = [ArmRunner(self, number, arm) for number, arm in enumerate(self.arms)]
        weights = [arm.weight for arm in self.arms]
        self.allocation = ALLOCATIONS[self.document["allocation"]](weights, self.document["slices"])
        # The allocation's state after the moves that were made.
        self.state, given = self.allocation.init(), [0] * len(self.arms)
        for decision in self.document["decisions"]:
            predicted = [math.inf if value is None else value for value in decision["predicted"]]
            statuses = [ArmStatus(*of_arm) for of_arm in zip(given, predicted, decision["alive"], strict=True)]
            self.state, _ = self.allocation.decide(self.state, statuses)
            given[decision["arm"]] += 1

    def run(self) -> None:
        """Races until one arm has won, and makes its run the run of the folder.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or SIGHUP; all is saved.
          MulliganError: every arm failed, or the folder cannot be written.
        """
        try:
            while self.document["winner"] is None:
                self._move()
            if not self.document["adopted"]:
                self._adopt()
        except KeyboardInterrupt as stop:
            raise Interrupted(self.folder.path, stop) from stop

    # --- one slice

    def _move(self) -> None:
        decisions = self.document["decisions"]
        if len(decisions) == self.document["done"]:
            decisions.append(self._decided())
        decision = decisions[-1]
        if decision["won"]:
            winner = decision["arm"]
            spent_by_others = self.spent_by_others(winner)._asdict()
            self.document |= {"winner": winner, "spent_by_others": spent_by_others, "done": len(decisions)}
            self._write()
            self.emit(RaceWon(arm=winner, origin=self.arms[winner].origin, slices=len(decisions) - 1))
            return
        # Written before and after: a race that is killed in between goes on with the same slice.
        self._write()
        runner = self.runners[decision["arm"]]
        runner.train(decision["until"])
        self.document["done"] = len(decisions)
        entry = self.document["arms"][decision["arm"]]
        entry["spent"], entry["ended"] = runner.spent._asdict(), runner.ended
        self._write()
        self.emit(
            SliceTrained(
                arm=decision["arm"],
                weights=decision["weights"],
                predicted=decision["predicted"],
                ended=runner.ended,
            )
        )

    def _decided(self) -> dict[str, Any]:
        """The next move, and what it was made from."""
        # An arm of which nothing is known is taken to be as good as the best.
        done = [decision["arm"] for decision in self.document["decisions"][: self.document["done"]]]
        expected = predict_final([runner.history() for runner in self.runners])
        best = min((end for end in expected if end is not None), default=0.0)
        statuses = [
            ArmStatus(done.count(number), *runner.status(best if end is None else end))
            for number, (runner, end) in enumerate(zip(self.runners, expected, strict=True))
        ]
        self.state, decision = self.allocation.decide(self.state, statuses)
        if decision.won and not math.isfinite(statuses[decision.arm].predicted):
            reasons = "; ".join(
                f"{arm.origin}: {runner.ended}" for arm, runner in zip(self.arms, self.runners, strict=True)
            )
            raise MulliganError(f"every recipe failed ({reasons}): try another recipe or a longer budget.")
        # What the arm will have spent of its own after the slice, in images or seconds.
        budget, spent = self.spec.budget, self.runners[decision.arm].spent
        if budget.images is not None:
            until = spent.images + max(budget.images * SHARE / self.document["slices"], 1)
        else:
            until = spent.seconds + (budget.seconds or 0.0) * SHARE / self.document["slices"]
        return {
            **decision._asdict(),
            "predicted": [status.predicted for status in statuses],
            "alive": [status.alive for status in statuses],
            "until": until,
        }

    def spent_by_others(self, number: int) -> Cost:
        """What was spent on all but this arm."""
        costs = [runner.spent for runner in self.runners]
        others = [cost for other, cost in enumerate(costs) if other != number]
        own = costs[number].seconds
        seconds = max(self.clock.seconds() - own, sum(cost.seconds for cost in others))
        return Cost(sum(cost.images for cost in others), seconds, sum(cost.flops for cost in others))

    # --- the end

    def _adopt(self) -> None:
        """Makes the winner's run the run of the folder; doing so twice does no harm."""
        winner = self.document["winner"]
        runner = self.runners[winner]
        runner.begin()  # one that won without a slice
        for part in MOVED:
            source = runner.folder.path / part
            if source.is_dir():
                target = make_folder(self.folder.path / part)
                for path in sorted(source.iterdir()):
                    replace_file(target / path.name, path.read_bytes())
        replace_file(self.folder.path / "events.jsonl", (runner.folder.path / "events.jsonl").read_bytes())
        self.folder.write("recipe", self.arms[winner].recipe.to_json())
        self.document["adopted"] = True
        self._write()

    # --- what is written and told

    def emit(self, event: RunEvent) -> None:
        """Passes on what happened to the race; it is all in `race.json` as well."""
        images = sum(runner.spent.images for runner in self.runners)
        seconds, run = round(self.clock.seconds(), 3), str(self.folder.path)
        self.spec.emit(dataclasses.replace(event, nimg=images, seconds=seconds, run=run).to_json())

    def _write(self) -> None:
        self.document["seconds"] = self.clock.seconds()
        self.folder.write(DOCUMENT, self.document)


class ArmRunner:
    """One arm of a race, and its run."""

    def __init__(self, race: Race, number: int, arm: Arm):
        self.race = race
        self.number = number
        self.arm = arm
        self.folder = RunFolder(race.folder.path / TRIALS / f"{number:02d}")
        entry = race.document["arms"][number]
        self.ended: str | None = entry["ended"]
        self.spent = Cost(**entry["spent"])  # so far
        self._loop: Loop | None = None
        shape, classes = race.spec.task.shape, len(race.spec.task.classes or ())
        self.flops_per_image = footprint(arm.recipe, shape, classes).flops_per_image

    def train(self, until: float) -> None:
        """Trains on until it has spent so many images or seconds of its own, or cannot go on."""
        by_images = self.race.spec.budget.images is not None
        try:
            loop = self.begin()
            budget = self.race.spec.budget.without(self.race.spent_by_others(self.number))
            loop.train(lambda progress: (progress.spent_nimg if by_images else loop.seconds()) >= until, budget)
        except (MulliganError, jax.errors.JaxRuntimeError, MemoryError) as error:
            self.ended = first_line(error)
            return
        images = loop.now.progress.spent_nimg
        self.spent = Cost(images, loop.seconds(), images * self.flops_per_image)
        self.ended = loop.now.progress.finished

    def begin(self) -> Loop:
        """The arm's run, begun or gone on with.

        Raises:
          MulliganError: its recipe cannot be trained, or its folder is damaged or cannot be written.
        """
        if self._loop is None:
            race, spec = self.race, self.race.spec
            if not (self.folder.path / "run.json").is_file():  # its folder is not there whole
                shutil.rmtree(self.folder.path, ignore_errors=True)
                task = race.folder.document("task")
                RunFolder.create(self.folder.path, {"recipe": self.arm.recipe.to_json(), "task": task})
                left = spec.budget.without(race.spent_by_others(self.number))
                self.folder.write("run", race.folder.document("run") | {"budget": left.to_json()})
            document = self.folder.document("run")
            budget = Budget(document["budget"].get("images"), document["budget"].get("seconds"))
            arguments = self.folder, spec.task, self.arm.recipe, spec.seed, budget, self._emit, time.monotonic()
            self._loop = Loop(RunSpec(*arguments))
        return self._loop

    def history(self) -> ArmHistory:
        """What there is to predict its end from: its operations are those that it has if it gets all that is left."""
        budget = self.race.spec.budget.without(self.race.spent_by_others(self.number))
        if budget.images is not None:
            return ArmHistory(self.arm.forecast, self.points(), budget.images * self.flops_per_image)
        speed = self.spent.flops / self.spent.seconds if self.spent.flops else NOMINAL_FLOPS[jax.default_backend()]
        return ArmHistory(self.arm.forecast, self.points(), speed * (budget.seconds or 0.0))

    def status(self, expected: float) -> tuple[float, bool]:
        """What it may come to, and whether it can be trained on: one that has ended comes to what it reached."""
        if self.ended is None:
            return expected, True
        reached = lowest_log_kid(self.points())
        return (math.inf if reached is None else reached), False

    def points(self) -> tuple[Point, ...]:
        """Its curve so far."""
        return tuple(points_of(self.folder.events(Evaluated), self.flops_per_image))

    def _emit(self, event: dict[str, Any]) -> None:
        """An event of the arm's, as one of the run's."""
        path = {"path": f"{TRIALS}/{self.folder.path.name}/{event['path']}"} if "path" in event else {}
        told = {**event, **path, "arm": self.number, "run": str(self.race.folder.path)}
        with_total_cost(self.race.spec.emit, self.race.spec.budget, self.race.spent_by_others(self.number))(told)
