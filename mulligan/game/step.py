"""The game as static choices, the state as one pytree, and one step as a pure function of that state.

docs/default-step.md writes the default step out without any choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from mulligan.game.augment import Policy
from mulligan.game.matching import Matching
from mulligan.game.step_stats import step_stats
from mulligan.recipe import Hyperparameters
from mulligan.types import Averager, Dynamics, Key, Logits, Loss, Opponents, Past, Pixels, Pytree, Schedule, StepInfo


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
    augment: Policy | None
    dynamics: Dynamics
    schedule: Schedule
    averager: Averager
    batch: int
    disc_steps: int
    latent: int
    opponents: Opponents | None = None  # None: the present players face each other alone
    optimiser: Callable[[Any, Any, Any], optax.GradientTransformation] = adam  # of rate, beta1 and beta2
    matching: Matching | None = None  # what the generator minimises besides


def initial_state(game: Game, gen: Pytree, disc: Pytree, hyperparameters: Hyperparameters, key: Key) -> GanState:
    """The state before the first step."""
    return GanState(
        nimg=jnp.zeros((), jnp.int32),
        gen=gen,
        disc=disc,
        gen_opt=_gen_optimiser(game, hyperparameters).init(gen),
        disc_opt=_disc_optimiser(game, hyperparameters).init(disc),
        dynamics=game.dynamics.init(gen, disc),
        opponents=game.opponents.init(gen, disc) if game.opponents else (),
        averages=game.averager.init(gen),
        schedule=game.schedule.init(hyperparameters),
        strategy=Strategy(*(jnp.ones((), jnp.float32) for _ in Strategy._fields)),
        key=key,
    )


# --- one step


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
    return Batch(pixels(data.images[chosen]), None if data.labels is None else data.labels[chosen])


def pixels(images: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """Bytes 0 to 255 as -1 to 1."""
    return images.astype(jnp.float32) / 127.5 - 1


class Turn(NamedTuple):
    """What one discriminator step is made of, and the generator's step after the last of them."""

    real: Pixels
    labels: Any  # [n] or None
    hyperparameters: Hyperparameters
    key: Key
    index: int  # of the discriminator step

    @staticmethod
    def of(batch: Batch, index: int, hyperparameters: Hyperparameters, key: Key) -> Turn:
        real, labels = jax.tree.map(lambda part: part[index], batch)
        return Turn(real, labels, hyperparameters, key, index)


class Players(NamedTuple):
    """Something of both players: parameters, gradients, moves."""

    gen: Pytree
    disc: Pytree


class Fakes(NamedTuple):
    """Generated images."""

    images: Pixels
    pullback: Callable[[Pixels], tuple[Pytree]]  # from a gradient with respect to the images to the generator's


class Seen(NamedTuple):
    """What the discriminator saw in a step, augmented where the game augments, and made of it."""

    real: Pixels
    fake: Pixels
    real_logits: Logits
    fake_logits: Logits
    loss: Float[Array, ""]  # without the penalty
    penalty: Float[Array, ""]  # unweighted


def alternating(
    game: Game, state: GanState, batch: Batch, hyperparameters: Hyperparameters, key: Key
) -> tuple[GanState, StepInfo]:
    """`disc_steps` discriminator steps, then the generator answers the discriminator that they made."""
    before, keys = state, jax.random.split(key, game.disc_steps)
    for index in range(game.disc_steps):
        turn = Turn.of(batch, index, hyperparameters, keys[index])
        fakes = generate(game, state.gen, turn)
        disc, seen = disc_gradient(game, state, fakes.images, turn)
        state = move_disc(game, state, disc, hyperparameters)
    gen, loss = gen_gradient(game, state, fakes, turn)  # of the last fakes: their forward pass is paid for once
    return move_gen(game, state, gen, hyperparameters), step_info(game, before, Players(gen, disc), loss, seen)


def generate(game: Game, gen: Pytree, turn: Turn) -> Fakes:
    """Fakes for one batch."""
    latents = jax.random.normal(jax.random.fold_in(turn.key, 0), (game.batch, game.latent))
    return Fakes(*jax.vjp(lambda gen: gen(latents, turn.labels), gen))


def disc_gradient(game: Game, state: GanState, fake: Pixels, turn: Turn) -> tuple[Pytree, Seen]:
    """The discriminator's gradient, and what it saw of these fakes, which are constants here."""
    keys = jax.random.split(jax.random.fold_in(turn.key, 2), 3)
    real, fake = augmented(game, turn.real, turn, keys[0]), augmented(game, fake, turn, keys[1])
    steps = state.nimg // game.batch + turn.index

    def loss(disc: Pytree) -> tuple[Float[Array, ""], Seen]:
        real_logits, fake_logits, penalty = game.penalty(disc, turn.labels, real, fake, keys[2], steps)
        value = jnp.mean(game.loss.disc(real_logits, fake_logits))
        total = value + turn.hyperparameters.gamma / 2 * penalty
        return total, Seen(real, fake, real_logits, fake_logits, value, penalty)

    gradient, seen = jax.grad(loss, has_aux=True)(state.disc)
    if game.opponents:
        gradient = _against_past_gens(game, game.opponents.past(state.opponents), state, turn, gradient)
    return gradient, seen


def gen_gradient(game: Game, state: GanState, fakes: Fakes, turn: Turn) -> tuple[Pytree, Float[Array, ""]]:
    """The generator's gradient, and its loss against the present discriminator."""
    loss, gradient = gen_loss_and_gradient(game, state.disc, fakes.images, turn)
    if game.opponents:
        return _against_past_discs(game, game.opponents.past(state.opponents), state, fakes, turn, gradient), loss
    return fakes.pullback(gradient)[0], loss


def gen_loss_and_gradient(game: Game, disc: Pytree, fake: Pixels, turn: Turn) -> tuple[Float[Array, ""], Pixels]:
    """The generator's loss against a discriminator, and its gradient with respect to the fakes."""
    real_key, fake_key = (jax.random.fold_in(jax.random.fold_in(turn.key, 1), i) for i in range(2))
    real = augmented(game, turn.real, turn, real_key)
    real_logits = disc(real, turn.labels)  # in a call of its own: a loss that ignores them never pays for them

    def loss(fake: Pixels) -> Float[Array, ""]:
        fake = augmented(game, fake, turn, fake_key)
        value = jnp.mean(game.loss.gen(real_logits, disc(fake, turn.labels)))
        return value if game.matching is None else value + game.matching(disc, turn.labels, real, fake)

    return jax.value_and_grad(loss)(fake)


def augmented(game: Game, images: Pixels, turn: Turn, key: Key) -> Pixels:
    """What the discriminator is shown of these images."""
    return images if game.augment is None else game.augment(images, turn.hyperparameters.augment, key)


def move_disc(game: Game, state: GanState, gradient: Pytree, hyperparameters: Hyperparameters) -> GanState:
    """The discriminator moved by its optimiser."""
    move, disc_opt = _disc_optimiser(game, hyperparameters).update(gradient, state.disc_opt, state.disc)
    return state._replace(disc=optax.apply_updates(state.disc, move), disc_opt=disc_opt)


def move_gen(game: Game, state: GanState, gradient: Pytree, hyperparameters: Hyperparameters) -> GanState:
    """The generator moved by its optimiser."""
    move, gen_opt = _gen_optimiser(game, hyperparameters).update(gradient, state.gen_opt, state.gen)
    return state._replace(gen=optax.apply_updates(state.gen, move), gen_opt=gen_opt)


def _disc_optimiser(game: Game, numbers: Hyperparameters) -> optax.GradientTransformation:
    return game.optimiser(numbers.disc_lr, numbers.disc_beta1, numbers.disc_beta2)


def _gen_optimiser(game: Game, numbers: Hyperparameters) -> optax.GradientTransformation:
    return game.optimiser(numbers.gen_lr, numbers.gen_beta1, numbers.gen_beta2)


def step_info(game: Game, before: GanState, gradients: Players, gen_loss: Float[Array, ""], seen: Seen) -> StepInfo:
    """What a step tells that began in the state `before` and moved both players by `gradients`."""
    real, fake = seen.real_logits, seen.fake_logits
    return StepInfo(
        nimg=before.nimg.astype(jnp.float32),
        gen_loss=gen_loss,
        disc_loss=seen.loss,
        real_logit=jnp.mean(real),
        fake_logit=jnp.mean(fake),
        penalty=seen.penalty,
        accuracy=jnp.mean((real > fake).astype(jnp.float32)),
        stats=step_stats(before, gradients, seen) if game.schedule.reads_stats else (),
    )


# --- past opponents: research, measured to hurt (docs/log/README.md)


def _against_past_gens(game: Game, past: Past, state: GanState, turn: Turn, gradient: Pytree) -> Pytree:
    """The discriminator's gradient against past generators as well."""
    alone = replace(game, opponents=None)
    meet = lambda gen: disc_gradient(alone, state, generate(game, gen, turn).images, turn)[0]  # noqa: E731
    return _decayed(past, _shared(past, gradient, jax.vmap(meet)(past.gens)), state.disc)


def _against_past_discs(game: Game, past: Past, state: GanState, fakes: Fakes, turn: Turn, gradient: Pixels) -> Pytree:
    """The generator's gradient against past discriminators as well."""
    meet = lambda disc: gen_loss_and_gradient(game, disc, fakes.images, turn)[1]  # noqa: E731
    gradient = _shared(past, gradient, jax.vmap(meet)(past.discs))
    return _decayed(past, fakes.pullback(gradient)[0], state.gen)


def _shared(past: Past, present: Pytree, then: Pytree) -> Pytree:
    """The average of what came of meeting the present opponent and the past ones."""
    alone = 1 - jnp.sum(past.share)
    return jax.tree.map(lambda now, was: alone * now + jnp.tensordot(past.share, was, 1), present, then)


def _decayed(past: Past, gradient: Pytree, player: Pytree) -> Pytree:
    """The gradient with that of `weight_decay |w|^2` added."""
    return jax.tree.map(lambda g, w: g + 2 * past.weight_decay * w, gradient, player)


def to_bytes(images: Pixels) -> UInt8[Array, "n h w c"]:
    """Inverse of `pixels`, rounded and clipped."""
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)
