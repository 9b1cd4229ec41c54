"""The guard: notices that a run has gone wrong, and what it then does about it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mulligan.game.step import Strategy
from mulligan.metrics.selection import SELECTS
from mulligan.training.progress import Evaluation, Progress

ATTEMPTS = 4  # in vain, before the run stops
JUDGED_NIMG, JUDGED_SHARE = 20_000, 0.2  # images, or the share of the run if that is less, before it can be judged
PATIENCE = 3  # evaluations in a row that look bad, before the guard acts
WON = 0.995  # share of pairs that the discriminator tells apart above which it has won
COLLAPSED = 0.1  # diversity of samples, real images having 1
RUNAWAY = 4.0  # times the best metric's upper bound
NEGLIGIBLE = 0.02  # energy distance below which that bound counts as this: noise could be four times it
NOT_FINITE = "a loss or a weight is no longer a finite number"
GENTLER = Strategy(gen_lr=0.5, disc_lr=0.5, gamma=2.0)
SLOWER = Strategy(gen_lr=0.25, disc_lr=0.25, gamma=1.0)  # where forks choose the rates, often too high for long


class Health(NamedTuple):
    """What an evaluation says about a run: what selects, the diversity and the discriminator's accuracy before it."""

    value: float
    diversity: float
    accuracy: float


def diagnose(health: Health, best: Evaluation | None) -> str | None:
    """What looks wrong at an evaluation; the guard acts when it has looked wrong `PATIENCE` times in a row.

    Args:
      health: at this evaluation.
      best: the best evaluation so far.
    """
    if health.diversity < COLLAPSED:
        return f"the samples have lost their diversity ({health.diversity:.2f} of that of real images)"
    if best is None or health.value <= best.high:
        return None
    if health.accuracy > WON:
        return f"the discriminator has won: it tells {health.accuracy:.1%} of all pairs apart"
    return runaway(health.value, best)


def runaway(value: float, best: Evaluation | None) -> str | None:
    """Whether the metric is far beyond what was reached."""
    if best is not None and value > RUNAWAY * max(best.high, NEGLIGIBLE):
        return f"the metric runs away: {SELECTS.title} {value:.3g} after a best of {best.value:.3g}"
    return None


def worse(evaluation: Evaluation, before: Evaluation | None) -> str | None:
    """Whether a fork's leader is worse, beyond both intervals, than the leader of the fork before it was."""
    if before is not None and evaluation.low > before.high:
        was = f"{SELECTS.title} {evaluation.value:.3g} after {before.value:.3g}"
        return f"the run has become worse: {was} at the last fork"
    return None


def can_be_judged(progress: Progress) -> bool:
    """Whether a run has seen enough images to look bad: one that has hardly begun has no diversity, nor any chance."""
    return progress.nimg >= min(JUDGED_NIMG, JUDGED_SHARE * progress.horizon_nimg)


def good_checkpoint(progress: Progress) -> int:
    """The checkpoint to go back to: that of the best evaluation, or the first of a run that can be judged if later."""
    return max(progress.best.sequence if progress.best else 0, progress.first_judged)


def judge(progress: Progress, health: Health) -> tuple[Progress, str | None]:
    """The progress with bad evaluations in a row counted; a reason to go back, once there are too many."""
    reason = diagnose(health, progress.best) if can_be_judged(progress) else None
    failures = progress.failures + 1 if reason else 0
    return replace(progress, failures=failures), reason if failures >= PATIENCE else None


def gentler(strategy: Strategy, factors: Strategy = GENTLER) -> Strategy:
    """Lower learning rates, and a stronger gradient penalty: half and twice unless told otherwise."""
    return Strategy(*(value * factor for value, factor in zip(strategy, factors, strict=True)))


def sentence(strategy: Strategy) -> str:
    """What the guard set, in words."""
    return (
        f"learning rates at {float(strategy.gen_lr):.3g} and {float(strategy.disc_lr):.3g} of the recipe's, "
        f"gamma at {float(strategy.gamma):.3g}"
    )
