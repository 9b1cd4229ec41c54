"""How the two players move: each dynamics turns a state and a batch into the next state.

`dynamics(game, state, batch, hyperparameters, key) -> (state, info)` moves both networks and their optimisers and
leaves everything else alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mulligan.game.state import Batch, Game, GanState, disc_optimiser, gen_optimiser
from mulligan.recipe import Hyperparameters
from mulligan.types import Key, Pixels, Pytree, StepInfo


class Verdict(NamedTuple):
    """What a discriminator step saw: means over its batch."""

    loss: Float[Array, ""]
    real_logit: Float[Array, ""]
    fake_logit: Float[Array, ""]
    penalty: Float[Array, ""]
    accuracy: Float[Array, ""]


def alternating(
    game: Game, state: GanState, batch: Batch, hyperparameters: Hyperparameters, key: Key
) -> tuple[GanState, StepInfo]:
    """`disc_steps` discriminator steps, then the generator answers the discriminator that they made.

    The generator's step reuses the last batch of fakes, so that its forward pass is paid for once.
    """
    keys = jax.random.split(key, game.disc_steps)
    for index in range(game.disc_steps - 1):
        _, fake, _ = generate(game, state.gen, batch, index, keys[index])
        state, _ = _disc_step(game, state, fake, batch, index, hyperparameters, keys[index])
    last = game.disc_steps - 1
    labels, fake, pullback = generate(game, state.gen, batch, last, keys[last])
    state, verdict = _disc_step(game, state, fake, batch, last, hyperparameters, keys[last])
    loss, slope = gen_slope(game, state.disc, batch.real[last], fake, labels, hyperparameters, keys[last])
    state = _move_gen(state, pullback(slope)[0], hyperparameters)
    return state, _info(state, loss, verdict)


def simultaneous(
    game: Game, state: GanState, batch: Batch, hyperparameters: Hyperparameters, key: Key
) -> tuple[GanState, StepInfo]:
    """Both players move at once, each against the other as it was; needs `disc_steps` of 1."""
    labels, fake, pullback = generate(game, state.gen, batch, 0, key)
    loss, slope = gen_slope(game, state.disc, batch.real[0], fake, labels, hyperparameters, key)
    moved, verdict = _disc_step(game, state, fake, batch, 0, hyperparameters, key)
    return _move_gen(moved, pullback(slope)[0], hyperparameters), _info(state, loss, verdict)


DYNAMICS = {"alternating": alternating, "simultaneous": simultaneous}


def generate(
    game: Game, gen: Pytree, batch: Batch, index: int, key: Key
) -> tuple[Any, Pixels, Callable[[Pixels], tuple[Pytree]]]:
    """Labels (or None), fakes for one batch, and the map from their slopes to the generator's gradient."""
    labels = None if batch.labels is None else batch.labels[index]
    latents = jax.random.normal(jax.random.fold_in(key, 0), (game.batch, game.latent))
    fake, pullback = jax.vjp(lambda gen: gen(latents, labels), gen)
    return labels, fake, pullback


def gen_slope(
    game: Game,
    disc: Pytree,
    real: Pixels,
    fake: Pixels,
    labels: Any,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[Float[Array, ""], Pixels]:
    """The generator's loss and its gradient with respect to the fakes."""
    disc_key = jax.random.fold_in(key, 1)
    # In a call of its own: a loss that ignores the real logits never pays for them.
    real_logits = disc(_shown(game, real, hyperparameters, jax.random.fold_in(disc_key, 0)), labels)

    def loss(fake):
        fake = _shown(game, fake, hyperparameters, jax.random.fold_in(disc_key, 1))
        return jnp.mean(game.loss.gen(real_logits, disc(fake, labels)))

    return jax.value_and_grad(loss)(fake)


def disc_gradient(
    game: Game,
    state: GanState,
    fake: Pixels,
    batch: Batch,
    index: int,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[Pytree, Verdict]:
    """Gradient of the discriminator's loss and penalty; the fakes are constants here."""
    labels = None if batch.labels is None else batch.labels[index]
    keys = jax.random.split(jax.random.fold_in(key, 2), 3)
    real = _shown(game, batch.real[index], hyperparameters, keys[0])
    fake = _shown(game, fake, hyperparameters, keys[1])
    steps = state.nimg // game.batch + index

    def loss(disc):
        seen = game.penalty(disc, labels, real, fake, keys[2], steps)
        real_logits, fake_logits, penalty = seen
        value = jnp.mean(game.loss.disc(real_logits, fake_logits)) + hyperparameters.gamma / 2 * penalty
        return value, seen

    (value, (real_logits, fake_logits, penalty)), gradient = jax.value_and_grad(loss, has_aux=True)(state.disc)
    accuracy = jnp.mean((real_logits > fake_logits).astype(jnp.float32))
    return gradient, Verdict(value, jnp.mean(real_logits), jnp.mean(fake_logits), penalty, accuracy)


def _disc_step(
    game: Game,
    state: GanState,
    fake: Pixels,
    batch: Batch,
    index: int,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[GanState, Verdict]:
    gradient, verdict = disc_gradient(game, state, fake, batch, index, hyperparameters, key)
    move, disc_opt = disc_optimiser(hyperparameters).update(gradient, state.disc_opt)
    return state._replace(disc=optax.apply_updates(state.disc, move), disc_opt=disc_opt), verdict


def _move_gen(state: GanState, gradient: Pytree, hyperparameters: Hyperparameters) -> GanState:
    move, gen_opt = gen_optimiser(hyperparameters).update(gradient, state.gen_opt)
    return state._replace(gen=optax.apply_updates(state.gen, move), gen_opt=gen_opt)


def _shown(game: Game, images: Pixels, hyperparameters: Hyperparameters, key: Key) -> Pixels:
    return game.augment(images, hyperparameters.augment, key)


def _info(state: GanState, gen_loss: Float[Array, ""], verdict: Verdict) -> StepInfo:
    return StepInfo(
        nimg=state.nimg.astype(jnp.float32),
        gen_loss=gen_loss,
        disc_loss=verdict.loss,
        real_logit=verdict.real_logit,
        fake_logit=verdict.fake_logit,
        penalty=verdict.penalty,
        accuracy=verdict.accuracy,
    )
