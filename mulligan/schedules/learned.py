"""The learned schedule: a controller that is called now and then while a run trains, inside its compiled program."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from safetensors.numpy import load as load_safetensors

from mulligan.errors import MulliganError, UsageError
from mulligan.files import with_card
from mulligan.recipe import Hyperparameters
from mulligan.schedules.controller import (
    FACTORS,
    FEATURES,
    Controller,
    applied,
    features,
    ideals,
    inside,
    limited,
    velocities,
)
from mulligan.types import Loss, Pytree, Schedule, StepInfo, StepStats

CALLS = 32  # in a run, evenly spaced in images; the first after one step
SHIPPED = ("s1", "s2")  # names that a recipe's `learned_schedule` may have


class LearnedState(NamedTuple):
    """The schedule inside, the controller, and where its factors are.

    Between calls the factors' logarithms are `logs + velocity * (nimg - called_nimg) / horizon_nimg`.
    """

    inside: Pytree
    controller: Controller
    horizon_nimg: Float[Array, ""]
    total: StepInfo  # sums over the steps since the last call
    steps: Float[Array, ""]  # since the last call
    calls: Int[Array, ""]
    guarded: Int[Array, ""]  # calls that were answered by the closed form
    called_nimg: Float[Array, ""]
    logs: Float[Array, " k"]  # at the last call
    velocity: Float[Array, " k"]  # nats a budget
    features: Float[Array, " f"]  # of the last call
    least: Float[Array, " f"]  # of each feature in all calls so far
    most: Float[Array, " f"]


def learned(inside_schedule: Schedule, loss: Loss, controller: Controller, horizon_nimg: float | int) -> Schedule:
    """Another schedule whose values are multiplied by factors that a controller moves.

    The controller is part of the state: one compiled program serves all of its weights, and a resumed run goes on with
    those that it began with. Nothing waits for the host.

    Args:
      loss: of the game, whose ideal losses the features measure gaps to.
      horizon_nimg: images of the whole run.

    Raises:
      MulliganError: no horizon (<= 0).
    """
    if horizon_nimg <= 0:
        raise MulliganError("a learned schedule goes by the share of the budget that is left: give a budget above 0.")
    ideal = ideals(loss)

    def init(hyperparameters: Hyperparameters) -> LearnedState:
        k, f = len(FACTORS), len(FEATURES)
        return LearnedState(
            inside=inside_schedule.init(hyperparameters),
            controller=jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), controller),
            horizon_nimg=jnp.array(horizon_nimg, jnp.float32),
            total=_nothing(),
            steps=jnp.zeros((), jnp.float32),
            calls=jnp.zeros((), jnp.int32),
            guarded=jnp.zeros((), jnp.int32),
            called_nimg=jnp.zeros((), jnp.float32),
            logs=jnp.zeros(k, jnp.float32),
            velocity=jnp.zeros(k, jnp.float32),
            features=jnp.zeros(f, jnp.float32),
            least=jnp.full(f, jnp.inf, jnp.float32),
            most=jnp.full(f, -jnp.inf, jnp.float32),
        )

    def value(state: LearnedState, nimg: ArrayLike) -> Hyperparameters:
        return applied(inside_schedule.value(state.inside, nimg), _logs(state, nimg))

    def observe(state: LearnedState, info: StepInfo) -> LearnedState:
        state = state._replace(
            inside=inside_schedule.observe(state.inside, info),
            total=jax.tree.map(lambda sum, now: sum + jnp.asarray(now, jnp.float32), state.total, info),
            steps=state.steps + 1,
        )
        due = info.nimg >= state.calls * (state.horizon_nimg / CALLS)
        return jax.lax.cond(due, lambda: called(state, jnp.asarray(info.nimg, jnp.float32)), lambda: state)

    def called(state: LearnedState, nimg: Float[Array, ""]) -> LearnedState:
        means = jax.tree.map(lambda sum: sum / state.steps, state.total)
        progress = jnp.minimum(nimg / state.horizon_nimg, 1.0)
        seen = features(means, value(state, nimg), progress, ideal)
        return state._replace(
            total=_nothing(),
            steps=jnp.zeros_like(state.steps),
            calls=state.calls + 1,
            guarded=state.guarded + 1 - inside(state.controller, seen),
            called_nimg=nimg,
            logs=_logs(state, nimg),
            velocity=velocities(state.controller, seen),
            features=seen,
            least=jnp.minimum(state.least, seen),
            most=jnp.maximum(state.most, seen),
        )

    return Schedule(init, value, observe, reads_stats=True)


def _logs(state: LearnedState, nimg: ArrayLike) -> Float[Array, " k"]:
    return limited(state.logs + state.velocity * (nimg - state.called_nimg) / state.horizon_nimg)


def _nothing() -> StepInfo:
    numbers = {name: jnp.zeros((), jnp.float32) for name in StepInfo._fields}
    return StepInfo(**(numbers | {"stats": StepStats(*(jnp.zeros((), jnp.float32) for _ in StepStats._fields))}))


def shipped(name: str) -> Controller:
    """The controller that ships under `name`.

    Raises:
      UsageError: none has that name.
      MulliganError: the installed weights are damaged, or of other features or factors than this version's.
    """
    if name not in SHIPPED:
        raise UsageError(f"no learned schedule is called {name!r}; there is {', '.join(SHIPPED) or 'none'}.")
    stored, card = with_card("mulligan.data", f"schedule-{name}", f"the learned schedule {name}")
    return from_arrays(load_safetensors(stored), card)


def from_arrays(arrays: dict[str, np.ndarray], card: dict) -> Controller:
    """A controller from what was stored: arrays by the fields' names, and the names of features and factors.

    Raises:
      MulliganError: other features or factors than this version's: learn it again.
    """
    if tuple(card["features"]) != FEATURES or tuple(card["factors"]) != FACTORS:
        raise MulliganError(
            "this learned schedule has other features, or moves other factors, than this version's: learn it again."
        )
    return Controller(**{name: jnp.asarray(arrays[name], jnp.float32) for name in Controller._fields})
