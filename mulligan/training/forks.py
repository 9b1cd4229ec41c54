"""Strategies at work inside a run: forks that try several from one state, and switches from one to the next."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mulligan.game.state import GanState, Strategy
from mulligan.training.budget import Budget, steps_left
from mulligan.training.programs import Programs, advance, outliving
from mulligan.training.progress import Best, Progress
from mulligan.training.strategist import FORK_PARTS, STRATEGIES, Strategist, due, fork_nimg


class Fork(NamedTuple):
    """Where a fork led: the state to go on from, and the loss of each strategy."""

    state: GanState
    losses: dict[str, float]


def fork_due(strategist: Strategist, progress: Progress, budget: Budget) -> bool:
    """Whether it is time to fork; never before the length of the run is known."""
    known = progress.planned or budget.images is not None
    return strategist.mode == "fork" and known and due(progress.forks, progress.spent_nimg, progress.horizon_nimg)


def fork(
    programs: Programs, strategist: Strategist, origin: GanState, progress: Progress, budget: Budget
) -> Fork | None:
    """Each strategy trains on from `origin` for a while; the leader's continuation is adopted.

    Returns:
      None where the budget is too short for all of them.
    """
    names = strategist.awake()
    progress.forks += 1
    part = max(1, fork_nimg(progress.horizon_nimg, len(names)) // programs.step_nimg // FORK_PARTS)
    if part * FORK_PARTS * len(names) > steps_left(progress, budget, programs.step_nimg):
        return None
    nimg = progress.nimg
    ends: dict[str, GanState] = {}
    looks: dict[str, Best | None] = {}
    for name in names:
        progress.nimg = nimg
        begin = outliving(origin)._replace(strategy=factors(name))
        ends[name], looks[name] = _continued(programs, begin, part, progress)
    losses = strategist.compare(looks)
    for name, look in looks.items():
        if look is None:
            strategist.fail(name)
    leader = max((name for name in names if looks[name]), key=strategist.weights().__getitem__, default=None)
    progress.nimg = nimg + part * FORK_PARTS * programs.step_nimg * bool(leader)
    progress.strategy, progress.next_evaluation = leader, progress.spent_nimg
    return Fork(ends[leader] if leader else origin, losses)


def judge(strategist: Strategist, look: Best, progress: Progress) -> float | None:
    """Judges the strategy that was played since the last evaluation by this one; its loss, or None where none was."""
    loss = None
    if progress.strategy and progress.before:
        loss = strategist.judge(progress.strategy, progress.before, look)
    progress.before = look
    return loss


def factors(name: str) -> Strategy:
    """What the strategy of this name changes."""
    return Strategy(*(jnp.float32(factor) for factor in STRATEGIES[name].factors))


def _continued(programs: Programs, state: GanState, part: int, progress: Progress) -> tuple[GanState, Best | None]:
    """Trains on for a few parts of so many steps; how good the generator then is, or None when it failed.

    The run's own averages would hardly have moved, and the last iterate alone is left to chance.
    """
    gens, info = [], None
    for _ in range(FORK_PARTS):
        state, info, _ = advance(programs, state, part, progress)
        gens.append(outliving(state.gen))
    if info is None or not bool(info.finite):
        return state, None
    began = time.monotonic()
    scores = programs.evaluator(jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *gens[1:]))
    progress.evaluation_seconds += time.monotonic() - began
    figures = {key: scores[key] for key in ("kid", "kid_low", "kid_high", "diversity")}
    return state, Best(**figures, nimg=progress.nimg, average="fork", sequence=progress.sequence)
