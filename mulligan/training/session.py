"""What trains and what judges, ready to run: runs, their forks, trials and the Keras model share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulligan.game.step import Game, GanState
from mulligan.metrics.score import validation_metrics
from mulligan.training.engine import ChunkInfo, Engine, compile_engine
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.progress import Progress
from mulligan.types import Pytree


class Session(NamedTuple):
    """A recipe at work on a task in this process.

    Attributes:
      feed: the training images.
      engine: the compiled chunk.
      evaluator: from a generator to its figures on the validation split.
      step_nimg: images that a step shows the discriminator.
    """

    feed: Feed
    engine: Engine
    evaluator: Callable[[Pytree], dict[str, Any]]
    step_nimg: int


class Advanced(NamedTuple):
    """A state that was trained on, what its chunk tells, and the progress that counts it."""

    state: GanState
    info: ChunkInfo
    progress: Progress


def open_session(
    game: Game, state: GanState, feed: Feed, make_evaluator: Callable[[], Evaluator] | None, gen: Pytree = None
) -> Session:
    """Compiles the chunk, and beside it makes the evaluator and runs all that an evaluation of `gen` will.

    Args:
      game: the static choices.
      state: like those that are trained on; it is left alone.
      feed: the training images.
      make_evaluator: embeds the real images; None where nothing is judged.
      gen: like the generators that are judged; None where the first evaluation may take longer than the others.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="compiling")
    try:
        compiling = pool.submit(compile_engine, game, state, feed.shapes())
        evaluator = make_evaluator() if make_evaluator else None
        if evaluator and gen is not None:  # so that the first evaluation takes as long as the others
            validation_metrics(evaluator.reference, evaluator.fakes(gen, evaluator.n))
        engine = compiling.result()
    finally:
        pool.shutdown(wait=False)  # who interrupts does not wait for the compiler
    return Session(feed, engine, evaluator or (lambda gen: {}), game.batch * game.disc_steps)


def advance(session: Session, state: GanState, steps: int, progress: Progress) -> Advanced:
    """Trains a state, whose buffers are given away, for so many steps.

    Args:
      session: what trains.
      state: `GanState` of the session's game.
      steps: >= 1.
      progress: before the chunk.

    Raises:
      MulliganError: a streamed image can no longer be read.
    """
    asked = time.monotonic()
    data = session.feed.data(progress.spent_nimg)
    began = time.monotonic()
    state, info = session.engine.chunk(state, data, steps)
    # The call returns before the device has done the work.
    jax.block_until_ready(info)
    trained = replace(
        progress,
        nimg=progress.nimg + steps * session.step_nimg,
        spent_nimg=progress.spent_nimg + steps * session.step_nimg,
        blocks_drawn=session.feed.drawn,
        loading_seconds=progress.loading_seconds + began - asked,
        training_seconds=progress.training_seconds + time.monotonic() - began,
    )
    return Advanced(state, info, trained)


def evaluate(session: Session, gen: Pytree, progress: Progress) -> tuple[dict[str, Any], Progress]:
    """A generator's figures, and the progress that counts the time they took.

    Args:
      session: what judges.
      gen: the generator.
      progress: before the evaluation.
    """
    began = time.monotonic()
    scores = session.evaluator(gen)
    spent = time.monotonic() - began
    return scores, replace(progress, evaluation_seconds=progress.evaluation_seconds + spent)


@jax.jit
def copy_tree(tree: Pytree) -> Pytree:
    """A copy that outlives the next chunk, which reuses the state's buffers."""
    return jax.tree.map(jnp.copy, tree)
