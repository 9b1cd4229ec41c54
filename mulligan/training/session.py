"""What moves a state and what judges a generator, ready to run: a run's chunks and its forks share them."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mulligan.game.step import GanState
from mulligan.training.engine import ChunkInfo, Engine
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.progress import Progress
from mulligan.types import Pytree


class Session(NamedTuple):
    """The training images, the compiled chunk, the evaluator on the validation split, and the images of a step."""

    feed: Feed
    engine: Engine
    evaluator: Evaluator
    step_nimg: int


class Advanced(NamedTuple):
    """A state that was trained on, what its chunk tells, and the seconds that it took."""

    state: GanState
    info: ChunkInfo
    seconds: float


def advance(programs: Session, state: GanState, steps: int, progress: Progress) -> Advanced:
    """Trains a state, whose buffers are given away, for so many steps; `progress` counts them."""
    asked = time.monotonic()
    data = programs.feed.data(progress.spent_nimg)
    began = time.monotonic()
    state, info = programs.engine.chunk(state, data, steps)
    jax.block_until_ready(info)
    spent = time.monotonic() - began
    progress.blocks_drawn = programs.feed.drawn
    progress.loading_seconds += began - asked
    progress.nimg += steps * programs.step_nimg
    progress.spent_nimg += steps * programs.step_nimg
    progress.training_seconds += spent
    return Advanced(state, info, spent)


def copy_tree(tree: Pytree) -> Pytree:
    """A copy that outlives the next chunk, which reuses the state's buffers."""
    return jax.tree.map(jnp.copy, tree)
