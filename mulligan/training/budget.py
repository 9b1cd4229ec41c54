"""How long a run lasts, and how its time is divided between training and looking."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import jax

from mulligan.training.progress import Progress

EVALUATION_SHARE = 0.03  # of the time, at most, for evaluations
PAUSE_EVALUATIONS = 4  # times as many evaluations as usual, at most, in a run that pauses
EVALUATIONS = 60  # evaluations a run, about
MIN_EVALUATIONS = 5  # even where they cost more than their share,
MAX_SHARE = 0.08  # up to this one where time is the budget
MIN_CHUNKS = 50
CHUNK_SECONDS = 1.0
NOMINAL_FLOPS = {
    "cpu": 4e10,
    "gpu": 4e12,
    "tpu": 4e12,
}  # a second, for planning where nothing may depend on a clock
FINAL_EVALUATIONS = 7  # evaluations that the final score takes as long as
MAX_FINAL = 0.1  # share of a time budget kept for it, at most
CHOICE_SHARE, MOST_CHOICE = 0.03, 0.07  # of a time budget, for comparing averages: commonly, and at most
MAX_COMPARED = 50  # evaluations that comparing all of them takes
CHOICE_OPERATIONS = 0.1  # of those of the training, at most, for comparing averages where images are the budget
MIN_COMPARED = 12  # evaluations for that, even where they cost more, but for the limit in time


class Cost(NamedTuple):
    """What training took."""

    images: int = 0
    seconds: float = 0.0
    flops: float = 0.0

    def plus(self, other: Cost) -> Cost:
        return Cost(self.images + other.images, self.seconds + other.seconds, self.flops + other.flops)


NO_COST = Cost()


class Budget(NamedTuple):
    """Images or seconds; one of the two is None."""

    images: int | None
    seconds: float | None

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in self._asdict().items() if value is not None}

    def without(self, spent: Cost) -> Budget:
        """What is left of it."""
        images = None if self.images is None else max(self.images - spent.images, 0)
        return Budget(images, None if self.seconds is None else max(self.seconds - spent.seconds, 0.0))

    def part(self, share: float) -> Budget:
        """A share of it."""
        images = None if self.images is None else int(share * self.images)
        return Budget(images, None if self.seconds is None else share * self.seconds)

    def share(self, spent: Cost) -> float:
        """How much of it is used up, 0 to 1."""
        if self.images is not None:
            return min(spent.images / self.images, 1.0)
        return min(spent.seconds / (self.seconds or 1.0), 1.0)


class Allowance(NamedTuple):
    """What comparing averages may take, without limit as it stands; whether a mixture is to become one network, and
    whether latents are to get weights.
    """

    seconds: float = math.inf
    evaluations: float = math.inf
    distil: bool = False
    weigh_latents: bool = False


def plan_by_cost(progress: Progress, budget: Budget, step_nimg: int, step_flops: float, look_flops: float) -> Progress:
    """Chunks and evaluations from counted operations alone, so that they are the same wherever the run resumes.

    Args:
      progress: of a run that begins.
      budget: of the run.
      step_nimg: images of a step.
      step_flops: operations of a step.
      look_flops: operations of an evaluation.
    """
    step_flops = max(step_flops, 1.0)
    chunk_steps = max(1, int(NOMINAL_FLOPS[jax.default_backend()] * CHUNK_SECONDS / step_flops))
    if budget.images is None:
        chunk_steps = max(1, chunk_steps // 4)  # the speed is not known yet
    else:
        chunk_steps = min(chunk_steps, max(1, budget.images // MIN_CHUNKS // step_nimg))
    return replace(
        progress,
        chunk_steps=chunk_steps,
        interval_nimg=int(look_flops / EVALUATION_SHARE / step_flops * step_nimg),
        horizon_nimg=float(budget.images or 0),
        next_evaluation=step_nimg * chunk_steps,
    )


def plan_by_clock(progress: Progress, budget: Budget, step_nimg: int) -> Progress:
    """The same from the speed seen so far, when time is the limit anyway; and how many images it is enough for.

    Args:
      progress: with the time that was spent.
      budget: in seconds.
      step_nimg: images of a step.
    """
    # Chunks last `CHUNK_SECONDS` of training; how often images are waited for depends on the chunk's length itself.
    chunk_seconds_nimg = progress.spent_nimg / max(progress.training_seconds, 1e-3) * CHUNK_SECONDS
    speed = _speed(progress)
    left = max((budget.seconds or 0) - reserve(progress, budget) - progress.seconds, 0.0)
    return replace(
        progress,
        chunk_steps=max(1, int(chunk_seconds_nimg / step_nimg)),
        interval_nimg=int(speed * progress.last_evaluation_seconds / EVALUATION_SHARE),
        shortest_interval_nimg=int(speed * progress.last_evaluation_seconds / MAX_SHARE),
        horizon_nimg=progress.spent_nimg + left * speed,
        planned=True,
    )


def next_evaluation_nimg(progress: Progress) -> int:
    """Images spent at which the next evaluation is due: closer together at the start, where most happens."""
    spent = progress.spent_nimg
    fewest = max(int(progress.horizon_nimg / MIN_EVALUATIONS), progress.shortest_interval_nimg)
    affordable = min(progress.interval_nimg, fewest)
    return spent + max(affordable, min(int(progress.horizon_nimg / EVALUATIONS), spent), 1)


def evaluates_before_pause(progress: Progress) -> bool:
    """Whether a run that pauses is evaluated first, so that it can be compared with others: a few times more often."""
    often = max(progress.interval_nimg / PAUSE_EVALUATIONS, 1)
    return progress.spent_nimg >= progress.next_evaluation or progress.spent_nimg - progress.last_evaluation >= often


def reserve(progress: Progress, budget: Budget) -> float:
    """Seconds of a time budget that are kept for comparing averages and for the final score."""
    seconds = budget.seconds or 0
    fewest, most = MIN_COMPARED * progress.last_evaluation_seconds, MAX_COMPARED * progress.last_evaluation_seconds
    comparing = min(max(CHOICE_SHARE * seconds, fewest), most, MOST_CHOICE * seconds)
    return comparing + _final_seconds(progress, seconds)


def _final_seconds(progress: Progress, seconds: float) -> float:
    return min(FINAL_EVALUATIONS * progress.last_evaluation_seconds, MAX_FINAL * seconds)


def choice_allowance(progress: Progress, budget: Budget) -> Allowance:
    """What remains for comparing averages when training has ended; no clock decides unless time is the budget.

    An evaluation costs the share `EVALUATION_SHARE` of training on `interval_nimg` images.
    """
    if budget.seconds is not None:
        return Allowance(seconds=budget.seconds - _final_seconds(progress, budget.seconds) - progress.seconds)
    affordable = CHOICE_OPERATIONS / EVALUATION_SHARE * progress.spent_nimg / max(progress.interval_nimg, 1)
    return Allowance(evaluations=max(MIN_COMPARED, int(affordable)))


def steps_left(progress: Progress, budget: Budget, step_nimg: int) -> int:
    """Steps until the budget is used up, at the speed seen so far.

    Args:
      progress: with the time that was spent.
      budget: images or seconds.
      step_nimg: images of a step.
    """
    if budget.images is not None:
        return -(-(budget.images - progress.spent_nimg) // step_nimg)
    left = (budget.seconds or 0) - reserve(progress, budget) - progress.seconds
    # The speed is not known before the first chunk, which every run gets.
    if not progress.spent_nimg:
        return progress.chunk_steps
    return int(left * _speed(progress) / step_nimg)


def _speed(progress: Progress) -> float:
    """Images a second, with the time that streamed images were waited for."""
    return progress.spent_nimg / max(progress.training_seconds + progress.loading_seconds, 1e-3)
