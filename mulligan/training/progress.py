"""What has been seen of a run so far, as an immutable record: saved in every checkpoint, so that it resumes exactly.

`training.decisions` says what follows from it; whoever trains replaces it, and never alters it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mulligan import schema
from mulligan.metrics.selection import SELECTS


@dataclass(frozen=True)
class Evaluation:
    """How good an average of a run was; `sequence` is the checkpoint that was written with it.

    `value` is of the figure that selects (`metrics.selection`), with its 95% interval; `ratio` that of
    `metrics.memorisation`, where there are few training images.
    """

    value: float
    low: float
    high: float
    diversity: float
    nimg: int
    average: str
    sequence: int
    ratio: float | None = None

    @staticmethod
    def of(scores: dict[str, Any], average: str, progress: Progress) -> Evaluation:
        """From the figures that `Evaluator` gives, at the moment of `progress`."""
        ratio = scores["memorisation"]["ratio"] if "memorisation" in scores else None
        where = progress.nimg, average, progress.sequence
        return Evaluation(*SELECTS.of(scores), scores["diversity"], *where, ratio)


@dataclass(frozen=True)
class Progress:
    """Where the loop stands. Plain JSON values only.

    Attributes:
      sequence: number of the next checkpoint.
      nimg: images that the state has seen.
      spent_nimg: images trained on, those of abandoned attempts too.
      blocks_drawn: blocks of streamed images that were drawn.
      seconds: spent when the clock was last looked at, over all sessions; `training_seconds`, `loading_seconds`
        (waiting for streamed images) and `evaluation_seconds` are parts of it.
      saved_seconds: spent when the last checkpoint was written, and `saved_nimg` the images spent then.
      flops_per_image: of training, as the compiler counts.
      horizon_nimg: images that the whole run is expected to take.
      chunk_steps: steps of the next chunk.
      planned: whether a time budget has been turned into images.
      last_evaluation_seconds: what the last evaluation took.
      interval_nimg: images between evaluations, at least.
      shortest_interval_nimg: images between evaluations, even if that makes very few of them.
      next_evaluation: images spent at which the next is due.
      last_evaluation: images spent at the last evaluation.
      best: the best evaluation.
      anchor: the last evaluation that was better beyond its interval.
      since_anchor: evaluations after it.
      first_judged: number of the checkpoint of the first evaluation at which the run could be judged; 0 before that.
      failures: evaluations in a row that look bad.
      copies: evaluations in a row whose samples were copies of training images.
      attempts: times in a row that the guard went back without a new best.
      strategy: the name of the strategy that is followed, where one is chosen.
      forks: how often the run has forked.
      before: the evaluation after which this strategy began, when strategies are switched; with forks, how good the
        leader of the last one was.
      accuracy: of the chunks since the last evaluation, the lowest.
      events_length: bytes of the event file that belong to the checkpoint.
      extensions: how often the budget has been made larger.
      finished: why the run ended, or None while it has not; `code` is the same in one word.
    """

    sequence: int = 0
    nimg: int = 0
    spent_nimg: int = 0
    blocks_drawn: int = 0
    seconds: float = 0.0
    saved_seconds: float = 0.0
    saved_nimg: int = 0
    training_seconds: float = 0.0
    loading_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    flops_per_image: float = 0.0
    horizon_nimg: float = 0.0
    chunk_steps: int = 1
    planned: bool = False
    last_evaluation_seconds: float = 0.7
    interval_nimg: int = 1
    shortest_interval_nimg: int = 0
    next_evaluation: int = 0
    last_evaluation: int = 0
    best: Evaluation | None = None
    anchor: Evaluation | None = None
    since_anchor: int = 0
    first_judged: int = 0
    failures: int = 0
    copies: int = 0
    attempts: int = 0
    strategy: str | None = None
    forks: int = 0
    before: Evaluation | None = None
    accuracy: float = 1.0
    events_length: int = 0
    extensions: int = 0
    finished: str | None = None
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> Progress:
        """Reads what `to_json` wrote.

        Raises:
          MulliganError: it is of another version, or damaged.
        """
        return schema.read(Progress, document, "the checkpoint's progress")
