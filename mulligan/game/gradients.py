"""The gradients of both players' losses: what all dynamics are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.game.state import Batch, Game, GanState
from mulligan.game.step_stats import BatchStats, batch_stats
from mulligan.recipe import Hyperparameters
from mulligan.types import Key, Past, Pixels, Pytree


class Players(NamedTuple):
    """Something of both players: parameters, gradients, moves."""

    gen: Pytree
    disc: Pytree


class Fakes(NamedTuple):
    """Generated images."""

    labels: Any  # or None
    fake: Pixels
    pullback: Callable[[Pixels], tuple[Pytree]]  # from the images' slopes to the generator's gradient


class DiscStats(NamedTuple):
    """What a discriminator step saw: means over its batch."""

    loss: Float[Array, ""]
    real_logit: Float[Array, ""]
    fake_logit: Float[Array, ""]
    penalty: Float[Array, ""]
    accuracy: Float[Array, ""]
    batch_stats: BatchStats


def both_gradients(
    game: Game, state: GanState, batch: Batch, hyperparameters: Hyperparameters, key: Key
) -> tuple[Players, Float[Array, ""], DiscStats]:
    """`F(w)`: both players' gradients, each against the other as it is."""
    fakes = generate(game, state.gen, batch, 0, key)
    gen, loss = gen_gradient(game, state, fakes, batch.real[0], hyperparameters, key)
    disc, stats = disc_gradient(game, state, fakes.fake, batch, 0, hyperparameters, key)
    return Players(gen, disc), loss, stats


def gen_gradient(
    game: Game, state: GanState, fakes: Fakes, real: Pixels, hyperparameters: Hyperparameters, key: Key
) -> tuple[Pytree, Float[Array, ""]]:
    """The generator's gradient, from past discriminators as well where the game has them; the loss against this one."""

    def meet(disc: Pytree) -> tuple[Float[Array, ""], Pixels]:
        return gen_loss_and_gradient(game, disc, real, fakes.fake, fakes.labels, hyperparameters, key)

    loss, gradient = meet(state.disc)
    if game.opponents is None:
        return fakes.pullback(gradient)[0], loss
    past = game.opponents.past(state.opponents)
    gradient = _shared(past, gradient, jax.vmap(lambda disc: meet(disc)[1])(past.discs))
    return _with_weight_decay(past, fakes.pullback(gradient)[0], state.gen), loss


def disc_gradient(
    game: Game,
    state: GanState,
    fake: Pixels,
    batch: Batch,
    index: int,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[Pytree, DiscStats]:
    """The discriminator's gradient, from past generators as well where the game has them; the verdict on this one."""
    gradient, stats = _disc_gradient_on(game, state, fake, batch, index, hyperparameters, key)
    if game.opponents is None:
        return gradient, stats
    past = game.opponents.past(state.opponents)

    def meet(gen: Pytree) -> Pytree:
        fake = generate(game, gen, batch, index, key).fake
        return _disc_gradient_on(game, state, fake, batch, index, hyperparameters, key)[0]

    gradient = _shared(past, gradient, jax.vmap(meet)(past.gens))
    return _with_weight_decay(past, gradient, state.disc), stats


def _shared(past: Past, present: Pytree, then: Pytree) -> Pytree:
    """The average of what came of meeting the present opponent and the past ones."""
    alone = 1 - jnp.sum(past.share)
    return jax.tree.map(lambda now, was: alone * now + jnp.tensordot(past.share, was, 1), present, then)


def _with_weight_decay(past: Past, gradient: Pytree, player: Pytree) -> Pytree:
    """The gradient with that of `weight_decay |w|^2` added."""
    return jax.tree.map(lambda g, w: g + 2 * past.weight_decay * w, gradient, player)


def generate(game: Game, gen: Pytree, batch: Batch, index: int, key: Key) -> Fakes:
    """Fakes for one batch."""
    labels = None if batch.labels is None else batch.labels[index]
    latents = jax.random.normal(jax.random.fold_in(key, 0), (game.batch, game.latent))
    fake, pullback = jax.vjp(lambda gen: gen(latents, labels), gen)
    return Fakes(labels, fake, pullback)


def gen_loss_and_gradient(
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
    real = _augmented(game, real, hyperparameters, jax.random.fold_in(disc_key, 0))
    real_logits = disc(real, labels)

    def loss(fake):
        fake = _augmented(game, fake, hyperparameters, jax.random.fold_in(disc_key, 1))
        value = jnp.mean(game.loss.gen(real_logits, disc(fake, labels)))
        return value if game.matching is None else value + game.matching(disc, labels, real, fake)

    return jax.value_and_grad(loss)(fake)


def _disc_gradient_on(
    game: Game,
    state: GanState,
    fake: Pixels,
    batch: Batch,
    index: int,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[Pytree, DiscStats]:
    """Gradient of the discriminator's loss and penalty; the fakes are constants here."""
    labels = None if batch.labels is None else batch.labels[index]
    keys = jax.random.split(jax.random.fold_in(key, 2), 3)
    real = _augmented(game, batch.real[index], hyperparameters, keys[0])
    fake = _augmented(game, fake, hyperparameters, keys[1])
    steps = state.nimg // game.batch + index

    def loss(disc):
        seen = game.penalty(disc, labels, real, fake, keys[2], steps)
        real_logits, fake_logits, penalty = seen
        value = jnp.mean(game.loss.disc(real_logits, fake_logits))
        return value + hyperparameters.gamma / 2 * penalty, (value, *seen)

    gradient, (value, real_logits, fake_logits, penalty) = jax.grad(loss, has_aux=True)(state.disc)
    accuracy = jnp.mean((real_logits > fake_logits).astype(jnp.float32))
    seen = batch_stats(real, fake, real_logits, fake_logits)
    return gradient, DiscStats(value, jnp.mean(real_logits), jnp.mean(fake_logits), penalty, accuracy, seen)


def _augmented(game: Game, images: Pixels, hyperparameters: Hyperparameters, key: Key) -> Pixels:
    return game.augment(images, hyperparameters.augment, key)
