"""The game as static choices, the state as one pytree, and one step as a pure function of that state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from mulligan.game.augment import Policy
from mulligan.game.matching import Matching
from mulligan.recipe import Hyperparameters
from mulligan.types import Averager, Dynamics, Key, Loss, Opponents, Pixels, Pytree, Schedule, StepInfo


class Strategy(NamedTuple):
    """Factors on the scheduled hyperparameters, float32 scalars: what a guard or a strategy changes while training."""

    gen_lr: Any = 1.0
    disc_lr: Any = 1.0
    gamma: Any = 1.0


class GanState(NamedTuple):
    """All that a step reads and all that a checkpoint saves."""

    nimg: Int[Array, ""]  # real images shown to the discriminator
    gen: Pytree
    disc: Pytree
    gen_opt: Pytree
    disc_opt: Pytree
    dynamics: Pytree  # what the dynamics remember
    opponents: Pytree  # past players; () where there are none
    averages: Pytree
    schedule: Pytree
    strategy: Strategy
    key: Key


class Data(NamedTuple):
    """Training images on the device, and their labels when the networks are conditional."""

    images: UInt8[Array, "m h w c"]
    labels: Int[Array, " m"] | None = None
    cumulative: Float[Array, " m"] | None = None  # sums of the chances to be drawn; None where all have the same


class Batch(NamedTuple):
    """What one step sees: a batch for each discriminator step."""

    real: Float[Array, "steps n h w c"]
    labels: Int[Array, "steps n"] | None


def adam(rate: Any, beta1: Any, beta2: Any) -> optax.GradientTransformation:
    """Adam; its numbers may be traced, its state does not depend on them."""
    return optax.chain(optax.scale_by_adam(beta1, beta2), optax.scale(-rate))


@dataclass(frozen=True)
class Game:
    """The static choices of a run; what may change while it trains is in `GanState`."""

    loss: Loss
    penalty: Callable  # of game.penalties.lazy
    augment: Policy
    dynamics: Dynamics
    schedule: Schedule
    averager: Averager
    batch: int
    disc_steps: int
    latent: int
    opponents: Opponents | None = None  # None: the present players face each other alone
    optimiser: Callable[[Any, Any, Any], optax.GradientTransformation] = adam  # of rate, beta1 and beta2
    matching: Matching | None = None  # what the generator minimises besides


def gen_optimiser(game: Game, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """The generator's optimiser."""
    return game.optimiser(hyperparameters.gen_lr, hyperparameters.gen_beta1, hyperparameters.gen_beta2)


def disc_optimiser(game: Game, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """The discriminator's optimiser."""
    return game.optimiser(hyperparameters.disc_lr, hyperparameters.disc_beta1, hyperparameters.disc_beta2)


def initial_state(game: Game, gen: Pytree, disc: Pytree, hyperparameters: Hyperparameters, key: Key) -> GanState:
    """The state before the first step."""
    return GanState(
        nimg=jnp.zeros((), jnp.int32),
        gen=gen,
        disc=disc,
        gen_opt=gen_optimiser(game, hyperparameters).init(gen),
        disc_opt=disc_optimiser(game, hyperparameters).init(disc),
        dynamics=game.dynamics.init(gen, disc),
        opponents=game.opponents.init(gen, disc) if game.opponents else (),
        averages=game.averager.init(gen),
        schedule=game.schedule.init(hyperparameters),
        strategy=Strategy(*(jnp.ones((), jnp.float32) for _ in Strategy._fields)),
        key=key,
    )


def step(game: Game, state: GanState, data: Data) -> tuple[GanState, StepInfo]:
    """One generator step with its discriminator steps, then whatever looks on. Pure; jit, scan and vmap clean."""
    key, batch_key, game_key = jax.random.split(state.key, 3)
    hyperparameters = scheduled(game, state)
    batch = draw(data, game.disc_steps, game.batch, batch_key)
    state, info = game.dynamics.step(game, state, batch, hyperparameters, game_key)
    nimg = state.nimg + game.batch * game.disc_steps
    averages = game.averager.update(state.averages, state.gen, nimg, hyperparameters.ema_nimg)
    schedule = game.schedule.observe(state.schedule, info)
    if game.opponents:
        state = state._replace(opponents=game.opponents.observe(state.opponents, state.gen, state.disc))
    return state._replace(nimg=nimg, averages=averages, schedule=schedule, key=key), info


def scheduled(game: Game, state: GanState) -> Hyperparameters:
    """The hyperparameters in force."""
    values = game.schedule.value(state.schedule, state.nimg.astype(jnp.float32))
    factors = {name: getattr(values, name) * factor for name, factor in state.strategy._asdict().items()}
    return values._replace(**factors)


def draw(data: Data, steps: int, n: int, key: Key) -> Batch:
    """Images drawn with replacement, as pixels in [-1, 1]."""
    if data.cumulative is None:
        chosen = jax.random.randint(key, (steps, n), 0, data.images.shape[0])
    else:
        levels = jax.random.uniform(key, (steps, n), maxval=data.cumulative[-1])
        chosen = jnp.searchsorted(data.cumulative, levels, side="right")
    labels = None if data.labels is None else data.labels[chosen]
    return Batch(pixels(data.images[chosen]), labels)


def pixels(images: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """Bytes 0 to 255 as -1 to 1."""
    return images.astype(jnp.float32) / 127.5 - 1


def to_bytes(images: Pixels) -> UInt8[Array, "n h w c"]:
    """Inverse of `pixels`, rounded and clipped."""
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)
