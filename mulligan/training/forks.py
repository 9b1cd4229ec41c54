"""Strategies at work inside a run: forks that try several from one state, and switches from one to the next."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mulligan.game.step import GanState, Strategy
from mulligan.training.budget import Budget, steps_left
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.session import Session, advance, copy_tree
from mulligan.training.strategist import (
    FEWEST_STEPS,
    FORK_PARTS,
    SETTLED,
    STRATEGIES,
    Fork,
    Strategist,
    due,
)


class Forked(NamedTuple):
    """Where a fork led: the state to go on from, the strategy that led there, and the loss of each by rung.

    Where all strategies failed, the state is that from which they began, and there is neither strategy nor evaluation.
    """

    state: GanState
    strategy: str | None
    evaluation: Evaluation | None
    losses: list[dict[str, float]]


class Continuation(NamedTuple):
    """Where a strategy has come to in a fork, and how good its generator is there; None where it failed."""

    state: GanState
    evaluation: Evaluation | None


def fork_due(strategist: Strategist, progress: Progress, budget: Budget) -> Fork | None:
    """The fork for which it is time; none before the length of the run is known."""
    known = progress.planned or budget.images is not None
    wanted = strategist.mode == "fork" and known
    return due(progress.forks, progress.spent_nimg, progress.horizon_nimg) if wanted else None


def fork(
    programs: Session, strategist: Strategist, plan: Fork, origin: GanState, progress: Progress, budget: Budget
) -> Forked | None:
    """Strategies train on from `origin`, rung by rung; those left behind give up, and the leader's end is adopted.

    Returns:
      None where there is nothing to choose from, or the budget is too short for all of them.
    """
    progress.forks += 1
    names = strategist.begin(plan.names, raised=float(origin.strategy.gen_lr) > 1)
    rungs = [max(FEWEST_STEPS, int(share * progress.horizon_nimg) // programs.step_nimg) for share in plan.rungs]
    enough = sum(rungs) * len(names) <= steps_left(progress, budget, programs.step_nimg)
    if len(names) < 2 or not enough:
        return None
    start = Continuation(origin, None)
    reached = {name: start._replace(state=_under(origin, name)) for name in names}
    losses: list[dict[str, float]] = []
    nimg = int(origin.nimg)
    for steps in rungs:
        for name in names:
            progress.nimg = nimg
            reached[name] = _continued(programs, reached[name].state, steps, progress)
        losses.append(strategist.compare({name: reached[name].evaluation for name in names}))
        names = strategist.survivors([name for name in names if reached[name].evaluation])
        nimg += steps * programs.step_nimg
        if len(names) < 2:
            break
    leader = max(names, key=strategist.weights().__getitem__, default=None)
    progress.nimg = nimg if leader else int(origin.nimg)
    progress.strategy, progress.next_evaluation = leader, progress.spent_nimg
    end = reached[leader] if leader else start
    return Forked(end.state, leader, end.evaluation, losses)


def _under(state: GanState, name: str) -> GanState:
    """A copy of the state in which the strategy is in force, on top of what was."""
    state = copy_tree(state)
    return state._replace(strategy=jax.tree.map(jnp.multiply, state.strategy, factors(name)))


def judge(strategist: Strategist, evaluation: Evaluation, progress: Progress) -> float | None:
    """Judges the strategy that was played since the last evaluation by this one; its loss, or None where none was."""
    loss = None
    if progress.strategy and progress.before:
        loss = strategist.judge(progress.strategy, progress.before, evaluation)
    progress.before = evaluation
    return loss


def factors(name: str) -> Strategy:
    """What the strategy of this name changes."""
    return Strategy(*(jnp.float32(factor) for factor in STRATEGIES[name].factors))


def _continued(programs: Session, state: GanState, steps: int, progress: Progress) -> Continuation:
    """Trains on for so many steps; the state's buffers are given away.

    Judged is the mean of the generators on the way. The last iterate is noisy, the more so the higher the rates: it
    would have every fork go for lower ones. And the run's own averages would hardly have moved.
    """
    gens, done, part = [], 0, max(1, steps // FORK_PARTS)
    finite = True
    while done < steps:
        state, info, _ = advance(programs, state, min(part, steps - done), progress)
        done = min(done + part, steps)
        finite = bool(info.finite)
        gens += [copy_tree(state.gen)] if done > SETTLED * steps else []
    if not finite:
        return Continuation(state, None)
    began = time.monotonic()
    scores = programs.evaluator(jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *gens))
    progress.evaluation_seconds += time.monotonic() - began
    figures = {key: scores[key] for key in ("kid", "kid_low", "kid_high", "diversity")}
    return Continuation(state, Evaluation(**figures, nimg=progress.nimg, average="fork", sequence=progress.sequence))
