"""Lookahead: dynamics that now and then go back part of the way."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulligan.types import Dynamics, Pytree, StepInfo


class LookaheadMemory(NamedTuple):
    """Where both players went back to last, and what the dynamics inside remember."""

    gen: Pytree
    disc: Pytree
    inside: Pytree


def lookahead(inside: Dynamics, every: int, share: float = 0.5) -> Dynamics:
    """Every `every` steps of other dynamics, both players go back to `slow + share * (w - slow)`, the next `slow`.

    Both at the same time: what turns around an equilibrium is the pair. Optimisers keep their moments; what the
    dynamics inside remember begins anew, so that a lookahead inside another one starts from the outer one's point
    (Chavdarova et al. 2021, arXiv 2006.14567, algorithm 1, and "nested").

    Args:
      every: generator steps between returns, >= 1; the paper's k.
      share: of the way that is kept, above 0 to 1, where 1 keeps all of it; the paper's alpha.
    """

    def init(gen: Pytree, disc: Pytree) -> LookaheadMemory:
        # Copies: a buffer that is both player and memory could not be donated.
        return LookaheadMemory(jax.tree.map(jnp.array, gen), jax.tree.map(jnp.array, disc), inside.init(gen, disc))

    def step(game: Any, state: Any, batch: Any) -> tuple[Any, StepInfo]:
        slow: LookaheadMemory = state.dynamics
        moved, info = inside.step(game, state._replace(dynamics=slow.inside), batch)
        gen, disc = jax.tree.map(lambda s, w: s + share * (w - s), (slow.gen, slow.disc), (moved.gen, moved.disc))
        returned = moved._replace(gen=gen, disc=disc, dynamics=init(gen, disc))
        onward = moved._replace(dynamics=slow._replace(inside=moved.dynamics))
        # Both ends are computed and one is kept: a branch would cost more than two weighted sums.
        steps = state.nimg // (game.batch * game.disc_steps) + 1
        return jax.tree.map(lambda back, on: jnp.where(steps % every == 0, back, on), returned, onward), info

    return Dynamics(init, step, inside.simultaneous, inside.gradients)
