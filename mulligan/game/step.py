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
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from mulligan.game.augment import Policy
from mulligan.game.critics import Critics, CriticsState, Shown, critics_gradient, fakes_gradient
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
    critics: Pytree  # `game.critics.CriticsState`; () where there are none
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
    """What one step is made of: images for each discriminator step, the numbers in force, and all its randomness."""

    real: Float[Array, "steps n h w c"]
    labels: Int[Array, "steps n"] | None
    hyperparameters: Hyperparameters
    key: Key


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
    critics: Critics | None = None  # None: the discriminator judges alone
    optimiser: Callable[[Any, Any, Any], optax.GradientTransformation] = adam  # of rate, beta1 and beta2
    matching: Matching | None = None  # what the generator minimises besides
    mesh: Mesh | None = None  # devices that share each batch; None for one that trains alone
    share: Callable[[Pytree, int], Pytree] = lambda arrays, axis: arrays  # deals out the images, on an axis


def initial_state(game: Game, gen: Pytree, disc: Pytree, hyperparameters: Hyperparameters, key: Key) -> GanState:
    """The state before the first step.

    Args:
      game: the static choices.
      gen: from latents `[n, d]` to pixels `[n, h, w, c]`.
      disc: from pixels to logits `[n]`.
      hyperparameters: at the start of their schedules.
      key: of all that the run draws.
    """
    start = hyperparameters
    return GanState(
        nimg=jnp.zeros((), jnp.int32),
        gen=gen,
        disc=disc,
        gen_opt=game.optimiser(start.gen_lr, start.gen_beta1, start.gen_beta2).init(gen),
        disc_opt=game.optimiser(start.disc_lr, start.disc_beta1, start.disc_beta2).init(disc),
        dynamics=game.dynamics.init(gen, disc),
        opponents=game.opponents.init(gen, disc) if game.opponents else (),
        critics=_fresh_critics(game, game.critics, start, key) if game.critics else (),
        averages=game.averager.init(gen),
        schedule=game.schedule.init(hyperparameters),
        strategy=Strategy(*(jnp.ones((), jnp.float32) for _ in Strategy._fields)),
        key=key,
    )


def _fresh_critics(game: Game, critics: Critics, start: Hyperparameters, key: Key) -> CriticsState:
    made = critics.make(jax.random.fold_in(key, 0))
    return CriticsState(made, game.optimiser(start.disc_lr, start.disc_beta1, start.disc_beta2).init(made))


# --- one step


def step(game: Game, state: GanState, data: Data) -> tuple[GanState, StepInfo]:
    """One generator step with its discriminator steps, then whatever looks on. Pure; jit, scan and vmap clean."""
    key, batch_key, game_key = jax.random.split(state.key, 3)
    real, labels = game.share(draw(data, game.disc_steps, game.batch, batch_key), 1)
    batch = Batch(real, labels, scheduled(game, state), game_key)
    state, info = game.dynamics.step(game, state, batch)
    nimg = state.nimg + game.batch * game.disc_steps
    averages = game.averager.update(state.averages, state.gen, nimg, batch.hyperparameters.ema_nimg)
    schedule = game.schedule.observe(state.schedule, info)
    opponents = game.opponents.observe(state.opponents, state.gen, state.disc) if game.opponents else ()
    return state._replace(nimg=nimg, averages=averages, schedule=schedule, opponents=opponents, key=key), info


def scheduled(game: Game, state: GanState) -> Hyperparameters:
    """The hyperparameters in force."""
    values, by = game.schedule.value(state.schedule, state.nimg.astype(jnp.float32)), state.strategy
    gen_lr, disc_lr, gamma = values.gen_lr * by.gen_lr, values.disc_lr * by.disc_lr, values.gamma * by.gamma
    return values._replace(gen_lr=gen_lr, disc_lr=disc_lr, gamma=gamma)


def draw(data: Data, steps: int, n: int, key: Key) -> tuple[Float[Array, "steps n h w c"], Any]:
    """Images drawn with replacement, as pixels in [-1, 1], and their labels `[steps, n]`, or None."""
    chances, shape = data.cumulative, (steps, n)
    rows = jax.random.randint(key, shape, 0, len(data.images)) if chances is None else _by_chance(chances, shape, key)
    return pixels(data.images[rows]), None if data.labels is None else data.labels[rows]


def _by_chance(cumulative: Float[Array, " m"], shape: tuple[int, int], key: Key) -> Int[Array, "steps n"]:
    """Rows by the inverse of the sums of their chances."""
    return jnp.searchsorted(cumulative, jax.random.uniform(key, shape, maxval=cumulative[-1]), side="right")


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
    fake_slopes: Pixels | None = None  # of the fakes' logits, at the fakes as they were generated; None if not taken


def alternating(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
    """`disc_steps` discriminator steps, then the generator answers the discriminator that they made."""
    before, keys = state, jax.random.split(batch.key, game.disc_steps)
    for index in range(game.disc_steps):
        labels = None if batch.labels is None else batch.labels[index]
        turn = Turn(batch.real[index], labels, batch.hyperparameters, keys[index], index)
        fakes = generate(game, state.gen, turn)
        disc, seen = disc_gradient(game, state, fakes.images, turn)
        state = move_disc(game, state, disc, batch.hyperparameters)
    # Of the last fakes: their forward pass is paid for once.
    state, besides = consulted(game, game.critics, state, fakes, turn) if game.critics else (state, None)
    gen, loss = gen_gradient(game, state, fakes, turn, besides)
    return move_gen(game, state, gen, batch.hyperparameters), step_info(game, before, Players(gen, disc), loss, seen)


def generate(game: Game, gen: Pytree, turn: Turn) -> Fakes:
    """Fakes for one batch."""
    latents = game.share(jax.random.normal(jax.random.fold_in(turn.key, 0), (game.batch, game.latent)), 0)
    return Fakes(*jax.vjp(lambda gen: gen(latents, turn.labels), gen))


def disc_gradient(game: Game, state: GanState, fake: Pixels, turn: Turn) -> tuple[Pytree, Seen]:
    """The discriminator's gradient, and what it saw of these fakes, which are constants here."""
    keys = jax.random.split(jax.random.fold_in(turn.key, 2), 3)
    real = augmented(game, turn.real, turn, keys[0])
    fake, unaugment = jax.vjp(lambda images: augmented(game, images, turn, keys[1]), fake)
    steps = state.nimg // game.batch + turn.index

    def loss(disc: Pytree) -> tuple[Float[Array, ""], Seen]:
        real_logits, fake_logits, penalty, slopes = game.penalty(disc, turn.labels, real, fake, keys[2], steps)
        value = jnp.mean(game.loss.disc(real_logits, fake_logits))
        seen = Seen(real, fake, real_logits, fake_logits, value, penalty, slopes)
        return value + turn.hyperparameters.gamma / 2 * penalty, seen

    gradient, seen = jax.grad(loss, has_aux=True)(state.disc)
    if seen.fake_slopes is not None:
        seen = seen._replace(fake_slopes=unaugment(seen.fake_slopes)[0])  # each image was augmented by itself
    return _against_past_gens(game, state, turn, gradient) if game.opponents else gradient, seen


def gen_gradient(
    game: Game, state: GanState, fakes: Fakes, turn: Turn, besides: Pixels | None = None
) -> tuple[Pytree, Float[Array, ""]]:
    """The generator's gradient, and its loss against the present discriminator.

    Args:
      besides: what critics add to the loss's gradient with respect to the fakes.
    """
    loss, gradient = gen_loss_and_gradient(game, state.disc, fakes.images, turn)
    gradient = gradient if besides is None else gradient + besides
    gen = _against_past_discs(game, state, fakes, turn, gradient) if game.opponents else fakes.pullback(gradient)[0]
    return gen, loss


def gen_gradient_from(game: Game, fakes: Fakes, seen: Seen) -> tuple[Pytree, Float[Array, ""]]:
    """The generator's gradient, and its loss, against a discriminator that has just looked at these fakes.

    What `gen_gradient` would take three passes of the discriminator for lies there: its logits, and their slopes, which
    the penalty needed.
    """
    assert seen.fake_slopes is not None
    judged = lambda fake_logits: jnp.mean(game.loss.gen(seen.real_logits, fake_logits))  # noqa: E731
    loss, wanted = jax.value_and_grad(judged)(seen.fake_logits)
    return fakes.pullback(jax.vmap(jnp.multiply)(wanted, seen.fake_slopes))[0], loss


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


def consulted(game: Game, critics: Critics, state: GanState, fakes: Fakes, turn: Turn) -> tuple[GanState, Pixels]:
    """In one step of `every` the critics look at real images and fakes, move, and then judge the fakes.

    Returns:
      The state with the critics as they are then, and the gradient of what they judge with respect to the fakes: zeros
      in the other steps.
    """

    def asked(before: CriticsState) -> tuple[CriticsState, Pixels]:
        keys, numbers = jax.random.split(jax.random.fold_in(turn.key, 3), 3), turn.hyperparameters
        real = critics.features(augmented(game, turn.real, turn, keys[0]))
        fake, pullback = jax.vjp(lambda images: critics.features(augmented(game, images, turn, keys[1])), fakes.images)
        shown = Shown(real, fake, turn.labels)
        gradient = critics_gradient(critics, game.loss, before.critics, shown, numbers.gamma, keys[2])
        optimiser = game.optimiser(critics.rate_factor * numbers.disc_lr, numbers.disc_beta1, numbers.disc_beta2)
        move, memory = optimiser.update(gradient, before.optimiser, before.critics)
        moved: Any = optax.apply_updates(before.critics, move)
        (besides,) = pullback(fakes_gradient(critics, game.loss, moved, shown))
        return CriticsState(moved, memory), besides

    if critics.every == 1:
        now, besides = asked(state.critics)
    else:
        due = state.nimg // (game.batch * game.disc_steps) % critics.every == 0
        now, besides = jax.lax.cond(due, asked, lambda before: (before, jnp.zeros_like(fakes.images)), state.critics)
    return state._replace(critics=now), besides


def augmented(game: Game, images: Pixels, turn: Turn, key: Key) -> Pixels:
    """What the discriminator is shown of these images."""
    return images if game.augment is None else game.augment(images, turn.hyperparameters.augment, key)


def move_disc(game: Game, state: GanState, gradient: Pytree, numbers: Hyperparameters) -> GanState:
    """The discriminator moved by its optimiser."""
    optimiser = game.optimiser(numbers.disc_lr, numbers.disc_beta1, numbers.disc_beta2)
    move, disc_opt = optimiser.update(gradient, state.disc_opt, state.disc)
    return state._replace(disc=optax.apply_updates(state.disc, move), disc_opt=disc_opt)


def move_gen(game: Game, state: GanState, gradient: Pytree, numbers: Hyperparameters) -> GanState:
    """The generator moved by its optimiser."""
    optimiser = game.optimiser(numbers.gen_lr, numbers.gen_beta1, numbers.gen_beta2)
    move, gen_opt = optimiser.update(gradient, state.gen_opt, state.gen)
    return state._replace(gen=optax.apply_updates(state.gen, move), gen_opt=gen_opt)


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


def _against_past_gens(game: Game, state: GanState, turn: Turn, gradient: Pytree) -> Pytree:
    """The discriminator's gradient against past generators as well."""
    assert game.opponents
    past, alone = game.opponents.past(state.opponents), replace(game, opponents=None)
    meet = lambda gen: disc_gradient(alone, state, generate(game, gen, turn).images, turn)[0]  # noqa: E731
    return _decayed(past, _shared(past, gradient, jax.vmap(meet)(past.gens)), state.disc)


def _against_past_discs(game: Game, state: GanState, fakes: Fakes, turn: Turn, gradient: Pixels) -> Pytree:
    """The generator's gradient against past discriminators as well."""
    assert game.opponents
    past = game.opponents.past(state.opponents)
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
