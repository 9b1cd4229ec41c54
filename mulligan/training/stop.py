"""When a run has nothing more to gain."""

from __future__ import annotations

from mulligan.training.progress import Evaluation, Progress

EVALUATIONS = 20  # without gain, at least
GROWTH = 3.0  # times the images of the last gain, at least
COPIES = 0.5  # memorisation ratio below which samples count as copies of training images
PATIENCE = 3  # evaluations in a row with copies, before a run stops


def improved(progress: Progress, evaluation: Evaluation) -> bool:
    """Records an evaluation in `progress`; true when it is the best so far.

    The best is the lowest KID. The anchor moves only when KID falls below the anchor's interval, so that luck in many
    evaluations is not taken for progress.
    """
    if progress.anchor is None or evaluation.kid < progress.anchor.kid_low:
        progress.anchor, progress.since_anchor = evaluation, 0
    else:
        progress.since_anchor += 1
    if progress.best is not None and evaluation.kid >= progress.best.kid:
        return False
    progress.best, progress.attempts = evaluation, 0
    return True


def converged(progress: Progress) -> str | None:
    """Why the run may stop, or None."""
    anchor = progress.anchor
    if anchor is None or progress.since_anchor < EVALUATIONS or progress.spent_nimg < GROWTH * max(anchor.nimg, 1):
        return None
    return (
        f"converged: no better validation KID than {anchor.kid:.4g} (beyond its interval) "
        f"in the last {progress.since_anchor} evaluations"
    )


def copied(progress: Progress, ratio: float | None) -> bool:
    """Records how near samples lie to few training images; true when they are copies.

    Args:
      ratio: of `metrics.memorisation`; None where copies are not looked for.
    """
    copies = ratio is not None and ratio < COPIES
    progress.copies = progress.copies + 1 if copies else 0
    return copies


def memorised(progress: Progress) -> str | None:
    """Why the run may stop, or None."""
    if progress.copies < PATIENCE:
        return None
    return (
        f"memorised: for {PATIENCE} evaluations the samples lay less than half as far from a training image as "
        "unseen images do; the generator before that is kept"
    )
