"""A mixture of generators distilled into one network of the same architecture.

Where each latent is drawn by one of several members that have nothing else to do with each other, a network that learns
"this latent, this image" has to jump all over the latent space, and settles for a mean of the members. So the latents
are dealt out anew: along one direction `u` of the latent space, each member gets an interval with its weight's share of
the normal distribution, and sees the latent with that interval stretched to the whole line. A latent is still drawn by
one member, and what a member sees is still normal: the images are distributed as the mixture's. But neighbours have the
same member everywhere except near a few planes, and along `u`, the direction that the heaviest member heeds least, its
own image hardly changes. The loss is the mean squared difference of the pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Int

from mulligan.networks.mixture import Mixture
from mulligan.types import Key, Pixels, Pytree

BATCH = 64
STEPS = 3000
RATE = 1e-3  # at the start; it falls to zero along a half cosine
PROBES = 64  # latents at which a generator's heed of each direction is measured
HELD_OUT = 1000  # latents that the loss is told of
EDGE = 1e-6  # of the normal distribution, cut off at either end of a stretched interval


class Distilled(NamedTuple):
    """One network, and its loss on latents that it was not trained on: at the start and now."""

    gen: Pytree
    before: float
    after: float


class _Student(NamedTuple):
    gen: Pytree
    opt: Pytree
    key: Key


def distil(mixture: Mixture, latent: int, classes: Float[Array, " c"] | None, key: Key) -> Distilled:
    """Trains a copy of the heaviest member to draw what the whole mixture draws.

    Args:
      mixture: of members of one architecture.
      latent: dimension of the latent space.
      classes: how often each label occurs, for conditional members; None for others.
      key: of the latents and labels.
    """
    heaviest = mixture.members[int(mixture.weights.argmax())]
    keys = jax.random.split(key, 3)
    probes = _drawn(keys[0], PROBES, latent, classes)
    u = least_heeded(heaviest, *probes)
    held_out = _drawn(keys[1], HELD_OUT, latent, classes)
    loss = jax.jit(_loss)
    student = _trained(mixture, heaviest, u, latent, classes, keys[2])
    return Distilled(student, *(float(loss(gen, mixture, u, *held_out)) for gen in (heaviest, student)))


def least_heeded(gen: Pytree, latents: Float[Array, "n d"], labels: Int[Array, " n"] | None) -> Float[Array, " d"]:
    """The direction, of length 1, along which the images change least: the last eigenvector of the mean `J' J`."""

    def heed(direction: Float[Array, " d"]) -> Float[Array, " d"]:
        """The mean `J' J` times a direction."""
        draw = partial(gen, labels=labels)
        _, change = jax.jvp(draw, (latents,), (jnp.broadcast_to(direction, latents.shape),))
        return jax.vjp(draw, latents)[1](change)[0].mean(0)

    square = jax.jit(lambda: jax.lax.map(heed, jnp.eye(latents.shape[1])))()
    return jnp.linalg.eigh((square + square.T) / 2)[1][:, 0]


class Dealt(NamedTuple):
    """The member that draws each latent, and the latents as it sees them."""

    member: Int[Array, " n"]
    latents: Float[Array, "n d"]


def deal(latents: Float[Array, "n d"], weights: Float[Array, " k"], u: Float[Array, " d"]) -> Dealt:
    """Deals normal latents out to members by where they lie along `u`; what each member sees is normal again."""
    along = latents @ u
    rank = ndtr(along)
    ends = jnp.cumsum(weights / weights.sum())
    member = jnp.minimum(jnp.searchsorted(ends, rank, side="right"), len(weights) - 1)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])
    inside = (rank - starts[member]) / (ends - starts)[member]
    stretched = ndtri(jnp.clip(inside, EDGE, 1 - EDGE))
    return Dealt(member, latents + (stretched - along)[:, None] * u)


def _loss(
    gen: Pytree,
    mixture: Mixture,
    u: Float[Array, " d"],
    latents: Float[Array, "n d"],
    labels: Int[Array, " n"] | None,
) -> Float[Array, ""]:
    return jnp.mean((gen(latents, labels) - _targets(mixture, u, latents, labels)) ** 2)


def _targets(
    mixture: Mixture, u: Float[Array, " d"], latents: Float[Array, "n d"], labels: Int[Array, " n"] | None
) -> Pixels:
    dealt = deal(latents, mixture.weights, u)
    drawn = jnp.stack([member(dealt.latents, labels) for member in mixture.members])
    return drawn[dealt.member, jnp.arange(len(latents))]


def _drawn(key: Key, n: int, latent: int, classes: Float[Array, " c"] | None) -> tuple[Array, Array | None]:
    """Latents, and labels as often as they occur."""
    latent_key, label_key = jax.random.split(key)
    latents = jax.random.normal(latent_key, (n, latent))
    return latents, None if classes is None else jax.random.categorical(label_key, jnp.log(classes), shape=(n,))


def _trained(
    mixture: Mixture,
    start: Pytree,
    u: Float[Array, " d"],
    latent: int,
    classes: Float[Array, " c"] | None,
    key: Key,
) -> Pytree:
    """The student after `STEPS` steps of Adam, as one compiled program."""
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def step(_: Any, student: _Student) -> _Student:
        key, own = jax.random.split(student.key)
        gradient = jax.grad(_loss)(student.gen, mixture, u, *_drawn(own, BATCH, latent, classes))
        updates, opt = optimiser.update(gradient, student.opt)
        return _Student(optax.apply_updates(student.gen, updates), opt, key)

    program = jax.jit(lambda student: jax.lax.fori_loop(0, STEPS, step, student))
    return program(_Student(start, optimiser.init(start), key)).gen
