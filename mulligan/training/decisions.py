"""What a run does next, and what is noted of what it did: pure functions of what has been seen.

`next_action` says what to do where nothing else follows. What was done is noted by the functions `after_...`; those of
a chunk, a fork and an evaluation also say what must follow at once, if anything. `training.loop` does it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from mulligan.training import guard
from mulligan.training.budget import Budget, next_evaluation_nimg, plan_by_clock, steps_left
from mulligan.training.engine import ChunkInfo
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.stop import converged, memorised, with_evaluation
from mulligan.training.strategist import Fork, due

CHECKPOINT_SECONDS = 60.0  # between checkpoints, at most, but for the length of a chunk


@dataclass(frozen=True)
class Train:
    """Train on."""

    steps: int


@dataclass(frozen=True)
class Evaluate:
    """Score every average; then end where the budget is used up, else save, unless the figures send the run back.

    That it is used up is decided before: how long this evaluation takes must not give the run more time.
    """

    last: bool = False


@dataclass(frozen=True)
class Save:
    """Write a checkpoint."""


@dataclass(frozen=True)
class RollBack:
    """Return to the last good checkpoint, and go on more gently."""

    reason: str


@dataclass(frozen=True)
class Stop:
    """End the run; `code` is the reason in one word."""

    reason: str
    code: str


USED_UP = Stop("budget exhausted", "budget")
Action = Train | Fork | Evaluate | Save | RollBack | Stop


class Bounds(NamedTuple):
    """What decisions keep to.

    Attributes:
      budget: of the run.
      step_nimg: images of a step.
      most_steps: of a chunk; infinite where nothing limits them.
      forks: whether strategies are tried in forks.
    """

    budget: Budget
    step_nimg: int
    most_steps: float
    forks: bool


def next_action(progress: Progress, bounds: Bounds) -> Action:
    """What to do now: end, evaluate, save, fork, or train until one of these is due."""
    left = steps_left(progress, bounds.budget, bounds.step_nimg)
    if left <= 0 and progress.last_evaluation >= progress.spent_nimg:
        return USED_UP
    until_evaluation = -(-(progress.next_evaluation - progress.spent_nimg) // bounds.step_nimg)
    if left <= 0 or until_evaluation <= 0:
        return Evaluate(last=left <= 0)
    # Only what is new: a save that takes as long itself would be followed by another for ever.
    late = progress.seconds - progress.saved_seconds >= CHECKPOINT_SECONDS
    if late and progress.spent_nimg > progress.saved_nimg:
        return Save()
    if bounds.forks and (progress.planned or bounds.budget.images is not None):  # the run's length is known
        plan = due(progress.forks, progress.spent_nimg, progress.horizon_nimg)
        if plan:
            return plan
    return Train(int(min(progress.chunk_steps, until_evaluation, left, bounds.most_steps)))


def after_chunk(progress: Progress, info: ChunkInfo, bounds: Bounds) -> tuple[Progress, Action | None]:
    """A budget of time is turned into images anew; a number that is not finite sends the run back.

    Args:
      progress: in which the chunk is counted, and the time.
      info: what the chunk tells.
      bounds: of the run.

    Returns:
      The progress, and what must follow at once.
    """
    progress = replace(progress, accuracy=min(progress.accuracy, float(info.means.accuracy)))
    if bounds.budget.images is None:
        progress = plan_by_clock(progress, bounds.budget, bounds.step_nimg)
    return progress, None if info.finite else go_back(progress, guard.NOT_FINITE)


def after_fork(progress: Progress, evaluation: Evaluation | None) -> tuple[Progress, Action | None]:
    """Back where the leader of a fork, the best of all, is worse than what the run had reached.

    Args:
      progress: in which the fork is counted.
      evaluation: of its leader; None where there is none.

    Returns:
      The progress, and what must follow at once.
    """
    if evaluation is None:
        return progress, None
    reason = guard.runaway(evaluation.value, progress.best) or guard.worse(evaluation, progress.before)
    if reason and guard.can_be_judged(progress):
        return progress, go_back(progress, reason)
    return replace(progress, before=evaluation), None


def after_evaluation(progress: Progress, evaluation: Evaluation) -> tuple[Progress, Action | None]:
    """What the best average of this moment means: back, the end, or nothing.

    Args:
      progress: before it is noted, its time excepted.
      evaluation: of the best average of this moment.

    Returns:
      The progress, and what must follow at once.
    """
    progress, reason = guard.judge(progress, guard.Health(evaluation.value, evaluation.diversity, progress.accuracy))
    progress = replace(progress, accuracy=1.0, last_evaluation=progress.spent_nimg)
    if reason:
        return progress, go_back(progress, reason)
    progress = with_evaluation(progress, evaluation)
    progress = replace(progress, next_evaluation=next_evaluation_nimg(progress))
    if not progress.first_judged and guard.can_be_judged(progress):
        progress = replace(progress, first_judged=progress.sequence)
    for why, code in ((converged(progress), "converged"), (memorised(progress), "memorised")):
        if why:
            return progress, Stop(why, code)
    return progress, None


def go_back(progress: Progress, reason: str) -> RollBack | Stop:
    """To the last good checkpoint; the end where that was in vain too often."""
    if progress.attempts < guard.ATTEMPTS:
        return RollBack(reason)
    return Stop(f"{reason}, and going back {guard.ATTEMPTS} times did not help; the best generator is kept", "guard")


def after_rollback(progress: Progress, nimg: int) -> Progress:
    """The state is that of `nimg` images again; what was spent since stays spent."""
    progress = replace(progress, nimg=nimg, failures=0, attempts=progress.attempts + 1)
    return replace(progress, next_evaluation=max(next_evaluation_nimg(progress), progress.spent_nimg + 1))


def after_save(progress: Progress, seconds: float, events_length: int) -> Progress:
    """What a checkpoint holds, with the clock and the bytes of the event file as they stand."""
    saved = replace(progress, seconds=seconds, saved_seconds=seconds, saved_nimg=progress.spent_nimg)
    return replace(saved, sequence=progress.sequence + 1, events_length=events_length)


def after_extension(progress: Progress, bounds: Bounds, extensions: int) -> Progress:
    """Planned for a larger budget, as if it had been the budget from here on; whatever ended the run is forgotten."""
    progress = replace(progress, extensions=extensions, finished=None, code=None)
    progress = replace(progress, since_anchor=0, copies=0, attempts=0, failures=0)
    if bounds.budget.images is None:
        progress = plan_by_clock(progress, bounds.budget, bounds.step_nimg)
    else:
        progress = replace(progress, horizon_nimg=float(bounds.budget.images), planned=True)
    return replace(progress, next_evaluation=next_evaluation_nimg(progress))
