"""The race: several recipes train on one task, and an allocation shares the budget out among them, slice by slice.

Each arm is a run of its own in `RUN/trials/NN`, paused after its slice and resumed exactly. On a CPU of several cores
as many arms train at a time, each in a process of its own (`meta.race.side_by_side`), or on a cluster, if asked to
(`meta.race.on_cluster`); elsewhere one after the other in this process. `race.json` says who got what and why; it is
written before and after each round of slices, so a race can be killed at any instant. The winner's run becomes the run
itself, and gets all that is left.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from mulligan.errors import Interrupted, MulliganError, UsageError
from mulligan.events import Evaluated, Listener, RaceWon, RunEvent, SliceTrained
from mulligan.files import make_folder, replace_file
from mulligan.meta.race.allocation import ALLOCATIONS, ArmStatus
from mulligan.meta.race.arm_run import TRIALS, ArmRun, ArmSpec, Slice
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.extrapolation import ArmHistory, predict_final
from mulligan.meta.race.on_cluster import ArmActors, lanes_on
from mulligan.meta.race.side_by_side import ArmProcesses, lanes
from mulligan.meta.space.cost import footprint
from mulligan.meta.store.figure_curves import lowest_log_figure, points_of
from mulligan.meta.store.record import Point
from mulligan.tasks.task import Task
from mulligan.training.budget import NO_COST, NOMINAL_FLOPS, Budget, Cost
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.stopwatch import Stopwatch

DOCUMENT = "race"  # in a run's folder
ROUNDS = 24  # of slices, at most
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


def document(arms: Sequence[Arm], allocation: str, task: Task, workers: str | None = None) -> dict[str, Any]:
    """The `race.json` of a race that is about to begin, with as many lanes as this machine, or the cluster, has for it.

    Args:
      workers: the cluster that trains the arms; None for this machine.

    Raises:
      UsageError: no allocation of that name.
      MulliganError: no cluster answers, or it cannot read the images.
    """
    if allocation not in ALLOCATIONS:
        raise UsageError(f"unknown allocation {allocation!r}: choose {', '.join(ALLOCATIONS)}.")
    if workers is None:
        width = lanes(task, [footprint(arm.recipe, task.shape, len(task.classes or ())) for arm in arms])
    else:
        width = lanes_on(workers, task, len(arms))
    entries = [arm.to_json() | {"spent": NO_COST._asdict(), "ended": None} for arm in arms]
    return {
        "format": FORMAT,
        "allocation": allocation,
        "workers": workers,
        "lanes": width,
        "slices": ROUNDS * width,
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
    """A race: begins it, or goes on with it."""

    def __init__(self, spec: RaceSpec):
        self.spec = spec
        self.folder = spec.folder
        self.document = spec.folder.document(DOCUMENT)
        self.clock = Stopwatch(spec.started, self.document["seconds"])
        self.arms = [Arm.from_json(entry) for entry in self.document["arms"]]
        self.standings = [ArmStanding(self, number, arm) for number, arm in enumerate(self.arms)]
        self.told = [standing.spent.images for standing in self.standings]  # images of each arm, as last heard
        self._runs: dict[int, ArmRun] = {}  # of those that train in this process
        specs = [standing.spec for standing in self.standings]
        workers = self.document["workers"]
        self.processes = (
            ArmActors(specs, spec.task, workers, self._hear)
            if workers
            else ArmProcesses(specs, spec.task, self.document["lanes"], self._hear)
        )
        weights, slices = [arm.weight for arm in self.arms], self.document["slices"]
        self.allocation = ALLOCATIONS[self.document["allocation"]](weights, slices, self.document["lanes"])
        # The allocation's state after the moves that were made.
        self.state, given = self.allocation.init(), [0] * len(self.arms)
        for decision in self.document["decisions"]:
            predicted = [math.inf if value is None else value for value in decision["predicted"]]
            statuses = [ArmStatus(*of_arm) for of_arm in zip(given, predicted, decision["alive"], strict=True)]
            self.state, _ = self.allocation.decide(self.state, statuses)
            for number in decision["arms"]:
                given[number] += 1

    def run(self) -> None:
        """Races until one arm has won, and makes its run the run of the folder.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or SIGHUP; all is saved.
          MulliganError: every arm failed, or the folder cannot be written.
        """
        try:
            while self.document["winner"] is None:
                self._move()
            self.processes.close()
            if not self.document["adopted"]:
                self._adopt()
        except KeyboardInterrupt as stop:
            raise Interrupted(self.folder.path, stop) from stop
        finally:
            self.processes.close()

    # --- one round of slices

    def _move(self) -> None:
        decisions = self.document["decisions"]
        if len(decisions) == self.document["done"]:
            decisions.append(self._decided())
        decision = decisions[-1]
        if decision["won"]:
            [winner] = decision["arms"]
            spent_by_others = self.spent_by_others(winner)._asdict()
            self.document |= {"winner": winner, "spent_by_others": spent_by_others, "done": len(decisions)}
            self._write()
            slices = sum(len(made["arms"]) for made in decisions[:-1])
            self.emit(RaceWon(arm=winner, origin=self.arms[winner].origin, slices=slices))
            return
        # Written before and after: a race that is killed in between goes on with the same round, from the same
        # standings, whoever of it had been done.
        self._write()
        self._train(decision)
        self.document["done"] = len(decisions)
        self._write()
        for number in decision["arms"]:
            weights, predicted, ended = decision["weights"], decision["predicted"], self.standings[number].ended
            self.emit(SliceTrained(arm=number, weights=weights, predicted=predicted, ended=ended))

    def _train(self, decision: dict[str, Any]) -> None:
        """Trains the slices of a round, and notes what each arm has spent."""
        began, before = self.clock.seconds(), [standing.spent.seconds for standing in self.standings]
        slices = {
            number: Slice(until, self.spec.budget.without(self.spent_by_others(number)))
            for number, until in zip(decision["arms"], decision["until"], strict=True)
        }
        at_once = self._at_once(decision["alive"])
        if at_once:
            results = self.processes.train(slices)
        else:
            self.processes.close()
            results = {number: self._run_of(number).train(given) for number, given in slices.items()}
        for number, result in results.items():
            standing, entry = self.standings[number], self.document["arms"][number]
            standing.spent, standing.ended = result.spent or standing.spent, result.ended
            self.told[number] = max(self.told[number], standing.spent.images)
            entry["spent"], entry["ended"] = standing.spent._asdict(), standing.ended
        # What a process that was killed had not written of its time: slices that ran at once cost it once.
        took = [self.standings[number].spent.seconds - before[number] for number in slices]
        least = began + (max(took) if at_once else sum(took))
        if self.clock.seconds() < least:
            self.clock = Stopwatch(time.monotonic(), least)

    def _at_once(self, alive: Sequence[bool]) -> bool:
        """Whether a round's slices train at once: an arm that is left alone has all cores for itself."""
        elsewhere = self.document["workers"] is not None or jax.default_backend() == "cpu"
        return self.document["lanes"] > 1 and sum(alive) > 1 and elsewhere

    def _decided(self) -> dict[str, Any]:
        """The next move, and what it was made from."""
        # An arm of which nothing is known is taken to be as good as the best.
        decisions = self.document["decisions"][: self.document["done"]]
        done = [number for decision in decisions for number in decision["arms"]]
        expected = predict_final([standing.history() for standing in self.standings])
        best = min((end for end in expected if end is not None), default=0.0)
        statuses = [
            ArmStatus(done.count(number), *standing.status(best if end is None else end))
            for number, (standing, end) in enumerate(zip(self.standings, expected, strict=True))
        ]
        self.state, decision = self.allocation.decide(self.state, statuses)
        if decision.won and not math.isfinite(statuses[decision.arms[0]].predicted):
            reasons = "; ".join(
                f"{arm.origin}: {standing.ended}" for arm, standing in zip(self.arms, self.standings, strict=True)
            )
            raise MulliganError(f"every recipe failed ({reasons}): try another recipe or a longer budget.")
        # What each arm will have spent of its own after the slice: images, or seconds, which pass for several at once.
        budget, slices, spent = self.spec.budget, self.document["slices"], [each.spent for each in self.standings]
        if budget.images is not None:
            until = [spent[number].images + max(budget.images * SHARE / slices, 1) for number in decision.arms]
        else:
            width = self.document["lanes"] if self._at_once([status.alive for status in statuses]) else 1
            seconds = (budget.seconds or 0.0) * SHARE * width / slices
            until = [spent[number].seconds + seconds for number in decision.arms]
        return {
            **decision._asdict(),
            "predicted": [status.predicted for status in statuses],
            "alive": [status.alive for status in statuses],
            "until": until,
        }

    def spent_by_others(self, number: int) -> Cost:
        """What all but this arm took of the budget: seconds that passed for several at once count once."""
        others = [standing.spent for standing in self.standings if standing.spec.number != number]
        seconds = max(self.clock.seconds() - self.standings[number].spent.seconds, 0.0)
        return Cost(sum(cost.images for cost in others), seconds, sum(cost.flops for cost in others))

    def _run_of(self, number: int) -> ArmRun:
        """An arm's run in this process."""
        if number not in self._runs:
            spec = self.standings[number].spec
            self._runs[number] = ArmRun(spec, self.spec.task, lambda event: self._hear(number, event))
        return self._runs[number]

    # --- the end

    def _adopt(self) -> None:
        """Makes the winner's run the run of the folder; doing so twice does no harm."""
        winner = self.document["winner"]
        folder = self.standings[winner].folder
        self._run_of(winner).begin(self.spec.budget.without(self.spent_by_others(winner)))  # one without a slice
        for part in MOVED:
            source = folder.path / part
            if source.is_dir():
                target = make_folder(self.folder.path / part)
                for path in sorted(source.iterdir()):
                    replace_file(target / path.name, path.read_bytes())
        replace_file(self.folder.path / "events.jsonl", (folder.path / "events.jsonl").read_bytes())
        self.folder.write("recipe", self.arms[winner].recipe.to_json())
        self.document["adopted"] = True
        self._write()

    # --- what is written and told

    def emit(self, event: RunEvent) -> None:
        """Passes on what happened to the race; it is all in `race.json` as well."""
        images = sum(standing.spent.images for standing in self.standings)
        seconds, run = round(self.clock.seconds(), 3), str(self.folder.path)
        self.spec.emit(dataclasses.replace(event, nimg=images, seconds=seconds, run=run).to_json())

    def _hear(self, number: int, event: dict[str, Any]) -> None:
        """Passes on an event of an arm's as one of the run's, with what all arms have spent."""
        self.told[number] = max(self.told[number], event["nimg"])
        seconds = self.clock.seconds()
        told = {**event, "arm": number, "run": str(self.folder.path), "seconds": round(seconds, 3)}
        told["share"] = self.spec.budget.share(Cost(sum(self.told), seconds))
        if "path" in event:
            told["path"] = f"{TRIALS}/{self.standings[number].folder.path.name}/{event['path']}"
        self.spec.emit(told)

    def _write(self) -> None:
        self.document["seconds"] = self.clock.seconds()
        self.folder.write(DOCUMENT, self.document)


class ArmStanding:
    """Where one arm of a race stands.

    Attributes:
      spent: on it, up to the last round.
      ended: why it can no longer be trained; None for one that can.
    """

    def __init__(self, race: Race, number: int, arm: Arm):
        self.race, self.arm = race, arm
        entry = race.document["arms"][number]
        self.ended: str | None = entry["ended"]
        self.spent = Cost(**entry["spent"])
        per_image = footprint(arm.recipe, race.spec.task.shape, len(race.spec.task.classes or ())).flops_per_image
        self.spec = ArmSpec(race.folder.path, number, arm.recipe, race.spec.seed, per_image)
        self.folder = self.spec.folder

    def history(self) -> ArmHistory:
        """What there is to predict its end from: its operations are those that it has if it gets all that is left."""
        budget = self.race.spec.budget.without(self.race.spent_by_others(self.spec.number))
        if budget.images is not None:
            return ArmHistory(self.arm.forecast, self.points(), budget.images * self.spec.flops_per_image)
        speed = self.spent.flops / self.spent.seconds if self.spent.flops else NOMINAL_FLOPS[jax.default_backend()]
        return ArmHistory(self.arm.forecast, self.points(), speed * (budget.seconds or 0.0))

    def status(self, expected: float) -> tuple[float, bool]:
        """What it may come to, and whether it can be trained on: one that has ended comes to what it reached."""
        if self.ended is None:
            return expected, True
        reached = lowest_log_figure(self.points())
        return (math.inf if reached is None else reached), False

    def points(self) -> tuple[Point, ...]:
        """Its curve so far."""
        return tuple(points_of(self.folder.events(Evaluated), self.spec.flops_per_image))
