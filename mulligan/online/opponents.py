"""Opponents from the past: following the regularised leader against what was played before, with a few of it kept.

Research: on stacked digits a game with past opponents covered fewer modes (docs/dynamics.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mulligan.errors import MulliganError
from mulligan.types import Opponents, Past, Pytree

SPACING, GROWTH = 10, 10  # rounds: between the first two that are kept, and more each time
WEIGHT_DECAY = 0.01


class QueueState(NamedTuple):
    """Players of `size` past rounds, and when the next are due."""

    gens: Pytree  # leaves [size, ...]
    discs: Pytree
    rounds: Int[Array, ""]  # so far
    kept: Int[Array, ""]  # players that have entered, those that have left since among them
    due: Int[Array, ""]  # the round after which the next enter


def queue(size: int, spacing: int = SPACING, growth: int = GROWTH, weight_decay: float = WEIGHT_DECAY) -> Opponents:
    """Keeps `size` past players of both sides; the oldest make room for the present ones every so many rounds.

    The full rule, `argmin_w (1/t) sum_s loss_s(w) + R_t(w)`, would keep all rounds. A few that are ever further apart
    stand for them: each player minimises the mean loss against the present opponent and the past ones that are kept,
    all with equal shares, plus `weight_decay / sqrt(t) |w|^2` (Grnarova et al. 2018, arXiv 1706.03269, algorithm 2).

    Args:
      size: past players, >= 1; a game without any has no `Opponents`.
      spacing: rounds before the first players enter, >= 1.
      growth: rounds that each wait is longer than the last, >= 0.
      weight_decay: >= 0; the paper's C.

    Raises:
      MulliganError: a size below 1.
    """
    if size < 1:
        raise MulliganError(f"a game cannot have {size} past opponents: give 0 for none, or a positive number.")

    def init(gen: Pytree, disc: Pytree) -> QueueState:
        # Full of players from the start, so that all numbers are finite.
        places = lambda leaf: jnp.tile(leaf, (size, *[1] * leaf.ndim))  # noqa: E731
        zero = jnp.zeros((), jnp.int32)
        return QueueState(jax.tree.map(places, gen), jax.tree.map(places, disc), zero, zero, jnp.int32(spacing))

    def past(state: QueueState) -> Past:
        held = jnp.minimum(state.kept, size)
        share = jnp.where(jnp.arange(size) < held, 1 / (1 + held), 0.0)
        return Past(state.gens, state.discs, share, weight_decay / jnp.sqrt(state.rounds + 1.0))

    def observe(state: QueueState, gen: Pytree, disc: Pytree) -> QueueState:
        rounds = state.rounds + 1
        enter = rounds == state.due
        place = state.kept % size

        def entered(kept: Array, leaf: Any) -> Array:
            return kept.at[place].set(jnp.where(enter, leaf, kept[place]))

        kept = state.kept + enter
        due = jnp.where(enter, rounds + spacing + growth * kept, state.due)
        gens = jax.tree.map(entered, state.gens, gen)
        return QueueState(gens, jax.tree.map(entered, state.discs, disc), rounds, kept, due)

    return Opponents(init, past, observe)
