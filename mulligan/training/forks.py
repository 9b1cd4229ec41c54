"""Forks inside a run: several strategies train on from one state, and the leader's continuation is adopted."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mulligan.game.step import GanState, Strategy
from mulligan.training.budget import Budget, steps_left
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.session import Session, advance, copy_tree, evaluate
from mulligan.training.strategist import FEWEST_STEPS, FORK_PARTS, SETTLED, STRATEGIES, Fork, Strategist


class Forked(NamedTuple):
    """Where a fork led.

    Attributes:
      state: to go on from; that from which all began where all strategies failed.
      strategist: as it has learned from the fork.
      progress: in which all that was trained counts.
      strategy: the leader, which led there; None where all failed.
      evaluation: of the leader's generator.
      losses: of each strategy by rung; none where there was nothing to choose from, or too little of the budget left.
    """

    state: GanState
    strategist: Strategist
    progress: Progress
    strategy: str | None = None
    evaluation: Evaluation | None = None
    losses: tuple[dict[str, float], ...] = ()


class Continuation(NamedTuple):
    """Where a strategy has come to in a fork, and how good its generator is there; None where it failed."""

    state: GanState
    evaluation: Evaluation | None


def fork(
    session: Session, strategist: Strategist, plan: Fork, origin: GanState, progress: Progress, budget: Budget
) -> Forked:
    """Strategies train on from `origin`, rung by rung; those left behind give up, and the leader's end is adopted.

    Args:
      session: what trains and judges.
      strategist: which follows the leader.
      plan: who takes part, and how far.
      origin: the state from which all begin; it is left alone.
      progress: before the fork.
      budget: of the run.
    """
    progress = replace(progress, forks=progress.forks + 1)
    strategist = strategist.begun(plan.names, raised=float(origin.strategy.gen_lr) > 1)
    names = strategist.awake()
    rungs = [max(FEWEST_STEPS, int(share * progress.horizon_nimg) // session.step_nimg) for share in plan.rungs]
    enough = sum(rungs) * len(names) <= steps_left(progress, budget, session.step_nimg)
    if len(names) < 2 or not enough:
        return Forked(origin, strategist, progress)

    reached: dict[str, Continuation] = {}
    for name in names:
        # A copy for each: a chunk takes the buffers of the state that it trains.
        state = copy_tree(origin)
        strategy = jax.tree.map(jnp.multiply, state.strategy, factors(name))  # on top of what was in force
        reached[name] = Continuation(state._replace(strategy=strategy), None)
    losses: list[dict[str, float]] = []
    nimg = int(origin.nimg)
    for steps in rungs:
        for name in names:
            progress = replace(progress, nimg=nimg)
            reached[name], progress = _continued(session, reached[name].state, steps, progress)
        strategist, found = strategist.compared({name: reached[name].evaluation for name in names})
        losses.append(found)
        names = strategist.survivors([name for name in names if reached[name].evaluation])
        nimg += steps * session.step_nimg
        if len(names) < 2:
            break

    leader = max(names, key=strategist.weights().__getitem__, default=None)
    progress = replace(progress, strategy=leader, next_evaluation=progress.spent_nimg)
    if leader is None:
        return Forked(origin, strategist, replace(progress, nimg=int(origin.nimg)), losses=tuple(losses))
    end = reached[leader]
    return Forked(end.state, strategist, replace(progress, nimg=nimg), leader, end.evaluation, tuple(losses))


def factors(name: str) -> Strategy:
    """What the strategy of this name changes."""
    return Strategy(*(jnp.float32(factor) for factor in STRATEGIES[name].factors))


def _continued(session: Session, state: GanState, steps: int, progress: Progress) -> tuple[Continuation, Progress]:
    """Trains on for so many steps; the state's buffers are given away.

    Judged is the mean of the generators on the way. The last iterate is noisy, the more so the higher the rates: it
    would have every fork go for lower ones. And the run's own averages would hardly have moved.
    """
    gens, done, part = [], 0, max(1, steps // FORK_PARTS)
    finite = True
    while done < steps:
        state, info, progress = advance(session, state, min(part, steps - done), progress)
        done = min(done + part, steps)
        finite = bool(info.finite)
        gens += [copy_tree(state.gen)] if done > SETTLED * steps else []
    if not finite:
        return Continuation(state, None), progress
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *gens)
    scores, progress = evaluate(session, mean, progress)
    return Continuation(state, Evaluation.of(scores, "fork", progress)), progress
