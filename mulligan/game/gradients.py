"""The gradients of both players' losses: what all dynamics are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.game.signs import Sight, sight
from mulligan.game.state import Batch, Game, GanState
from mulligan.recipe import Hyperparameters
from mulligan.types import Key, Past, Pixels, Pytree


class Players(NamedTuple):
    """Something of both players: parameters, gradients, moves."""

    gen: Pytree
    disc: Pytree


class Made(NamedTuple):
    """Generated images."""

    labels: Any  # or None
    fake: Pixels
    pullback: Callable[[Pixels], tuple[Pytree]]  # from the images' slopes to the generator's gradient


class Verdict(NamedTuple):
    """What a discriminator step saw: means over its batch."""

    loss: Float[Array, ""]
    real_logit: Float[Array, ""]
    fake_logit: Float[Array, ""]
    penalty: Float[Array, ""]
    accuracy: Float[Array, ""]
    sight: Sight


def both_gradients(
    game: Game, state: GanState, batch: Batch, hyperparameters: Hyperparameters, key: Key
) -> tuple[Players, Float[Array, ""], Verdict]:
    """`F(w)`: both players' gradients, each against the other as it is."""
    made = generate(game, state.gen, batch, 0, key)
    gen, loss = gen_gradient(game, state, made, batch.real[0], hyperparameters, key)
    disc, verdict = disc_gradient(game, state, made.fake, batch, 0, hyperparameters, key)
    return Players(gen, disc), loss, verdict


def gen_gradient(
    game: Game, state: GanState, made: Made, real: Pixels, hyperparameters: Hyperparameters, key: Key
) -> tuple[Pytree, Float[Array, ""]]:
    """The generator's gradient, from past discriminators as well where the game has them; the loss against this one."""

    def meet(disc: Pytree) -> tuple[Float[Array, ""], Pixels]:
        return gen_slope(game, disc, real, made.fake, made.labels, hyperparameters, key)

    loss, slope = meet(state.disc)
    if game.opponents is None:
        return made.pullback(slope)[0], loss
    past = game.opponents.past(state.opponents)
    slope = _shared(past, slope, jax.vmap(lambda disc: meet(disc)[1])(past.discs))
    return _pulled(past, made.pullback(slope)[0], state.gen), loss


def disc_gradient(
    game: Game,
    state: GanState,
    fake: Pixels,
    batch: Batch,
    index: int,
    hyperparameters: Hyperparameters,
    key: Key,
) -> tuple[Pytree, Verdict]:
    """The discriminator's gradient, from past generators as well where the game has them; the verdict on this one."""
    gradient, verdict = _disc_gradient_on(game, state, fake, batch, index, hyperparameters, key)
    if game.opponents is None:
        return gradient, verdict
    past = game.opponents.past(state.opponents)

    def meet(gen: Pytree) -> Pytree:
        fake = generate(game, gen, batch, index, key).fake
        return _disc_gradient_on(game, state, fake, batch, index, hyperparameters, key)[0]

    gradient = _shared(past, gradient, jax.vmap(meet)(past.gens))
    return _pulled(past, gradient, state.disc), verdict


def _shared(past: Past, present: Pytree, then: Pytree) -> Pytree:
    """The average of what came of meeting the present opponent and the past ones."""
    alone = 1 - jnp.sum(past.share)
    return jax.tree.map(lambda now, was: alone * now + jnp.tensordot(past.share, was, 1), present, then)


def _pulled(past: Past, gradient: Pytree, player: Pytree) -> Pytree:
    """The gradient with that of `pull |w|^2` added."""
    return jax.tree.map(lambda slope, w: slope + 2 * past.pull * w, gradient, player)


def generate(game: Game, gen: Pytree, batch: Batch, index: int, key: Key) -> Made:
    """Fakes for one batch."""
    labels = None if batch.labels is None else batch.labels[index]
    latents = jax.random.normal(jax.random.fold_in(key, 0), (game.batch, game.latent))
    fake, pullback = jax.vjp(lambda gen: gen(latents, labels), gen)
    return Made(labels, fake, pullback)


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
    real = _shown(game, real, hyperparameters, jax.random.fold_in(disc_key, 0))
    real_logits = disc(real, labels)

    def loss(fake):
        fake = _shown(game, fake, hyperparameters, jax.random.fold_in(disc_key, 1))
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
        value = jnp.mean(game.loss.disc(real_logits, fake_logits))
        return value + hyperparameters.gamma / 2 * penalty, (value, *seen)

    gradient, (value, real_logits, fake_logits, penalty) = jax.grad(loss, has_aux=True)(state.disc)
    accuracy = jnp.mean((real_logits > fake_logits).astype(jnp.float32))
    seen = sight(real, fake, real_logits, fake_logits)
    return gradient, Verdict(value, jnp.mean(real_logits), jnp.mean(fake_logits), penalty, accuracy, seen)


def _shown(game: Game, images: Pixels, hyperparameters: Hyperparameters, key: Key) -> Pixels:
    return game.augment(images, hyperparameters.augment, key)
