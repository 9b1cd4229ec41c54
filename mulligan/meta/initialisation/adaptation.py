"""Learned initial weights: the regulariser of follow-the-regularised-leader over both players, and what it plays.

On a new task both players start from a centre and play linearised FTRL against each other: after every update

    w = centre - scale * (g_1 + ... + g_t),

the leader under `R(w) = sum_i (w_i - centre_i)^2 / (2 scale_i)` (`online.parameters.ftrl`; docs/ftrl.md). Centre and
scale, one number a parameter, are what is learned across tasks (Khodak, Balcan and Talwalkar 2019, arXiv 1906.02717;
a learned rate for each parameter is that of Meta-SGD, Li et al. 2017, arXiv 1707.09835). The game is any of
`mulligan.game`: its loss, penalty, augmentation, dynamics and matching.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulligan.game.step import Data, Game, GanState, Players, initial_state, step
from mulligan.networks.architecture import build
from mulligan.networks.layers import ImageShape
from mulligan.online.parameters import FtrlState, ftrl
from mulligan.recipe import Architecture, Hyperparameters
from mulligan.types import Key, Pytree


class Initialisation(NamedTuple):
    """What is learned: where both players start, and the natural logarithm of how far each parameter goes."""

    centre: Players
    log_scale: Players


class InnerGame(NamedTuple):
    """What is played on a task: the game, with learning rates in units of the learned scale, and for how long."""

    game: Game
    hyperparameters: Hyperparameters
    updates: int


def ftrl_optimiser(rate: Any, beta1: Any, beta2: Any) -> optax.GradientTransformation:
    """The optimiser of an inner game: FTRL at this rate; it has no moments."""
    del beta1, beta2
    return ftrl(rate)


def fresh_initialisation(architecture: Architecture, shape: ImageShape, scale: float, key: Key) -> Initialisation:
    """Fresh weights, and the same scale for all."""
    centre = Players(*build(architecture, shape, 0, key))
    return Initialisation(centre, jax.tree.map(lambda leaf: jnp.full_like(leaf, math.log(scale)), centre))


def adapt(inner: InnerGame, learned: Initialisation, support: Data, key: Key) -> Players:
    """Both players after `inner.updates` updates on the support images. Pure, and differentiable by what is learned."""

    def body(state: GanState, _: None) -> tuple[GanState, None]:
        return step(inner.game, state, support)[0], None

    state, _ = jax.lax.scan(body, initial_inner_state(inner, learned, key), None, length=inner.updates)
    return Players(state.gen, state.disc)


def adapt_for(inner: InnerGame, learned: Initialisation, support: Data, key: Key, updates: Any) -> Players:
    """As `adapt`, for a traced number of updates: one program serves all numbers, and none can be differentiated."""
    body = lambda _, state: step(inner.game, state, support)[0]  # noqa: E731
    state = jax.lax.fori_loop(0, updates, body, initial_inner_state(inner, learned, key))
    return Players(state.gen, state.disc)


def initial_inner_state(inner: InnerGame, learned: Initialisation, key: Key) -> GanState:
    """The state of the inner game before the first update."""
    state = initial_state(inner.game, *learned.centre, inner.hyperparameters, key)
    return state._replace(
        gen_opt=_scaled(state.gen_opt, learned.log_scale.gen), disc_opt=_scaled(state.disc_opt, learned.log_scale.disc)
    )


def _scaled(state: Pytree, log_scale: Pytree) -> Pytree:
    """FTRL takes the learned scale; other optimisers have none."""
    return state._replace(scale=jax.tree.map(jnp.exp, log_scale)) if isinstance(state, FtrlState) else state
