"""When a run has nothing more to gain."""

from __future__ import annotations

from dataclasses import replace

from mulligan.metrics.selection import SELECTS
from mulligan.training.progress import Evaluation, Progress

EVALUATIONS = 20  # without gain, at least
GROWTH = 3.0  # times the images of the last gain, at least
COPIES = 0.5  # memorisation ratio below which samples count as copies of training images
PATIENCE = 3  # evaluations in a row with copies, before a run stops


def with_evaluation(progress: Progress, evaluation: Evaluation) -> Progress:
    """The progress with one more evaluation, which is its `best` where it is the best so far.

    The best is the lowest in what selects; one whose samples are copies of training images is the best only for want
    of another. The anchor moves only when that falls below the anchor's interval, so that luck in many evaluations is
    not taken for progress.
    """
    copies = evaluation.ratio is not None and evaluation.ratio < COPIES
    progress = replace(progress, copies=progress.copies + 1 if copies else 0)
    if copies and progress.best is not None:
        return progress
    if progress.anchor is None or evaluation.value < progress.anchor.low:
        progress = replace(progress, anchor=evaluation, since_anchor=0)
    else:
        progress = replace(progress, since_anchor=progress.since_anchor + 1)
    if progress.best is not None and evaluation.value >= progress.best.value:
        return progress
    return replace(progress, best=evaluation, attempts=0)


def converged(progress: Progress) -> str | None:
    """Why the run may stop, or None."""
    anchor = progress.anchor
    if anchor is None or progress.since_anchor < EVALUATIONS or progress.spent_nimg < GROWTH * max(anchor.nimg, 1):
        return None
    return (
        f"converged: no better validation {SELECTS.title} than {anchor.value:.4g} (beyond its interval) "
        f"in the last {progress.since_anchor} evaluations"
    )


def memorised(progress: Progress) -> str | None:
    """Why the run may stop, or None."""
    if progress.copies < PATIENCE:
        return None
    return (
        f"memorised: for {PATIENCE} evaluations the samples lay less than half as far from a training image as "
        "unseen images do; the generator before that is kept"
    )
