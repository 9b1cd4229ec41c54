"""Recorded curves replayed: what an allocator would have found, look by look, for so many operations.

An allocator is a generator of moves. It yields the number of the arm that trains on to its next look, and is sent that
look's point, or None when the arm's record is at its end. It sees nothing else of the curves, and ends when it likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.meta.race.allocation import Allocation, ArmStatus, Decision
from mulligan.meta.space.fidelity import RUNG_RATIO
from mulligan.meta.store.figure_curves import log_figure
from mulligan.meta.store.record import Point

Moves = Generator[int, Point | None, None]


class Trace(NamedTuple):
    """What was found: the lowest log distance after so many operations, a pair for each look."""

    spent: Float[np.ndarray, " n"]
    lowest: Float[np.ndarray, " n"]

    def at(self, spent: float) -> float:
        """The lowest after so many operations; infinite before the first look."""
        return float(np.min(self.lowest, initial=math.inf, where=self.spent <= spent * (1 + 1e-9)))

    def reached(self, target: float) -> float:
        """Operations after which it was this low; infinite if it never was."""
        return float(np.min(self.spent, initial=math.inf, where=self.lowest <= target))


def replay(curves: Sequence[Sequence[Point]], allocator: Callable[[], Moves], budget: float) -> Trace:
    """Lets an allocator spend `budget` operations on recorded curves.

    A look costs the operations since the arm's last one. The one that the budget does not suffice for ends the replay,
    with a distance between those of the two looks.
    """
    had, spent = [0] * len(curves), 0.0
    lowest, trace = math.inf, []
    moves = allocator()
    answer: Point | None = None
    started, idle = False, 0
    while idle <= len(curves):  # an allocator that asks again and again for what has ended gets no further
        try:
            arm = moves.send(answer) if started else next(moves)
        except StopIteration:
            break
        started, curve = True, curves[arm]
        if had[arm] == len(curve):
            answer, idle = None, idle + 1
            continue
        before = curve[had[arm] - 1] if had[arm] else None
        answer, idle = curve[had[arm]], 0
        cost = max(answer.flops - (before.flops if before else 0.0), 0.0)
        suffices = spent + cost <= budget * (1 + 1e-9)
        found = log_figure(answer.figures) if suffices else _between(before, answer, budget - spent)
        lowest = min(lowest, math.inf if math.isnan(found) else found)
        spent = spent + cost if suffices else budget
        trace.append((spent, lowest))
        if not suffices:
            break
        had[arm] += 1
    where, values = np.array(trace, float).reshape(-1, 2).T
    return Trace(where, values)


def _between(before: Point | None, after: Point, flops: float) -> float:
    """The log distance so many operations after a look, on a straight line over their log; NaN before the first."""
    if before is None or flops <= 0:
        return math.nan
    share = math.log1p(flops / before.flops) / math.log(after.flops / before.flops)
    return (1 - share) * log_figure(before.figures) + share * log_figure(after.figures)


# --- allocators


class Progress:
    """What an allocator has seen of its arms."""

    def __init__(self, arms: int):
        self.points: list[list[Point]] = [[] for _ in range(arms)]
        self.over: set[int] = set()

    def spent(self, arm: int) -> float:
        return self.points[arm][-1].flops if self.points[arm] else 0.0

    def lowest(self, arm: int) -> float:
        """Infinite where it has no distance."""
        found = [value for point in self.points[arm] if not math.isnan(value := log_figure(point.figures))]
        return min(found, default=math.inf)

    def look(self, arm: int) -> Moves:
        """Trains an arm on to its next look."""
        point = yield arm
        if point is None:
            self.over.add(arm)
        else:
            self.points[arm].append(point)

    def until(self, arm: int, flops: float, slack: float = RUNG_RATIO**0.5) -> Moves:
        """Trains an arm on to the look that is nearest to so many operations, or to its end.

        Rungs lie RUNG_RATIO apart; one is had if it is beyond `flops` by a factor of `slack` at most. The first always
        is.
        """
        while arm not in self.over and self.spent(arm) * RUNG_RATIO <= flops * slack * 1.001:
            yield from self.look(arm)


def in_turn(order: Sequence[int], length: float) -> Moves:
    """One arm after the other, each for `length` operations; those with longer records then go on, the best first."""
    progress = Progress(max(order, default=-1) + 1)
    for arm in order:
        yield from progress.until(arm, length)
    for arm in sorted(order, key=progress.lowest):
        yield from progress.until(arm, math.inf)


def halving(order: Sequence[int], budget: float, keep: int = 4) -> Moves:
    """Successive halving: rungs of equal cost, each with the best one in `keep` of the last.

    Jamieson and Talwalkar 2016, arXiv 1502.07943. Where records end before a rung's share is spent, the others go on at
    the end, the best first.
    """
    progress = Progress(max(order, default=-1) + 1)
    rung, rungs = list(order), math.ceil(math.log(max(len(order), 1), keep) - 1e-9) + 1
    while True:
        share = budget / rungs / len(rung)
        for arm in rung:
            yield from progress.until(arm, progress.spent(arm) + share)
        if len(rung) == 1:
            break
        rung = sorted(rung, key=progress.lowest)[: math.ceil(len(rung) / keep)]
    for arm in sorted(order, key=progress.lowest):
        yield from progress.until(arm, math.inf)


Outlook = Callable[[int, Sequence[Sequence[Point]], float], float]  # arm, points of all, operations -> log distance

RACE_SHARE, SLICES = 0.5, 24  # of the budget until one arm gets the rest


def race(arms: int, budget: float, outlook: Outlook, allocation: Allocation) -> Moves:
    """A race in SLICES slices, before each of which the allocation sees what arms are expected to end with.

    That is given all that is left; an arm whose record has ended stays with what it reached. An arm is granted its
    slices at once, and comes to its next look when they suffice for it.
    """
    progress, granted, slices = Progress(arms), np.zeros(arms), [0] * arms
    state = allocation.init()
    while True:
        statuses = []
        for arm in range(arms):
            ended, left = arm in progress.over, budget - granted.sum() + granted[arm]
            reached = progress.lowest(arm) if ended else outlook(arm, progress.points, left)
            statuses.append(ArmStatus(slices[arm], reached, not ended))
        state, move = allocation.decide(state, statuses)
        [arm] = move.arms
        if move.won:
            break
        granted[arm] += budget * RACE_SHARE / SLICES
        slices[arm] += 1
        yield from progress.until(arm, granted[arm], slack=1.0)
    yield from progress.until(arm, math.inf)
    for other in sorted(range(arms), key=progress.lowest):
        yield from progress.until(other, math.inf)


def leader(weights: Sequence[float], slices: int) -> Allocation:
    """`meta.race.allocation.ftrl` where all predictions are finite, without compiling anew for every replay."""
    rate = math.sqrt(8 * math.log(max(len(weights), 2)) / slices)
    log_prior = np.log(np.array(weights, float))

    def move(state: tuple[np.ndarray, np.ndarray], statuses: Sequence[ArmStatus]) -> tuple[Any, Decision]:
        losses, due = state
        predicted = np.array([status.predicted for status in statuses])
        behind = np.minimum(predicted - predicted.min(), 3.0)
        logits = log_prior - rate * (losses + behind)
        played = np.exp(logits - logits.max())
        played /= played.sum()
        after = losses + behind, due + played
        alive = np.array([status.alive for status in statuses])
        best = int(played.argmax())
        given = [status.slices for status in statuses]
        if (played[best] >= 0.9 and given[best]) or sum(given) >= slices or not alive.any():
            return after, Decision((best,), True, tuple(played.tolist()))
        most = int(np.where(alive, after[1] - given, -np.inf).argmax())
        return after, Decision((most,), False, tuple(played.tolist()))

    return Allocation(lambda: (np.zeros(len(weights)), np.zeros(len(weights))), move)
