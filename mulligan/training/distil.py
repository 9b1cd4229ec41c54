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
from mulligan.training.budget import NOMINAL_FLOPS
from mulligan.types import Key, Pytree

BATCH = 64
SECONDS = 60.0  # that training takes at the nominal speed, at most: counted operations decide, not a clock
FEWEST_STEPS, MOST_STEPS = 500, 20_000
RATE = 1e-3  # at the start; it falls to zero along a half cosine
PROBES = 64  # latents at which a generator's heed of each direction is measured
HELD_OUT = 1000  # latents that the loss is told of
EDGE = 1e-6  # of the normal distribution, cut off at either end of a stretched interval


class Distilled(NamedTuple):
    """One network, and its loss on latents that it was not trained on: at the start and now."""

    gen: Pytree
    before: float
    after: float


class _Problem(NamedTuple):
    """What is to be learned: a mixture, the direction along which latents are dealt out, how often labels occur."""

    mixture: Mixture
    u: Float[Array, " d"]
    label_frequencies: Float[Array, " c"] | None


class _Student(NamedTuple):
    gen: Pytree
    opt: Any
    key: Key


def distil(mixture: Mixture, latent: int, label_frequencies: Float[Array, " c"] | None, key: Key) -> Distilled:
    """Trains a copy of the heaviest member to draw what the whole mixture draws.

    Args:
      mixture: of members of one architecture.
      latent: dimension of the latent space.
      label_frequencies: how often each label occurs, for conditional members; None for others.
      key: of the latents and labels.
    """
    heaviest = mixture.members[int(mixture.weights.argmax())]
    keys = jax.random.split(key, 3)
    u = least_sensitive_direction(heaviest, *_drawn(keys[0], PROBES, latent, label_frequencies))
    problem = _Problem(mixture, u, label_frequencies)
    student = _trained(problem, heaviest, keys[1])
    held_out, loss = _drawn(keys[2], HELD_OUT, latent, label_frequencies), jax.jit(_loss)
    return Distilled(student, float(loss(heaviest, problem, *held_out)), float(loss(student, problem, *held_out)))


def least_sensitive_direction(
    gen: Pytree, latents: Float[Array, "n d"], labels: Int[Array, " n"] | None
) -> Float[Array, " d"]:
    """The direction, of length 1, along which the images change least: the last eigenvector of the mean `J' J`."""

    def sensitivity(direction: Float[Array, " d"]) -> Float[Array, " d"]:
        """The mean `J' J` times a direction."""
        draw = partial(gen, labels=labels)
        _, change = jax.jvp(draw, (latents,), (jnp.broadcast_to(direction, latents.shape),))
        return jax.vjp(draw, latents)[1](change)[0].mean(0)

    square = jax.jit(lambda: jax.lax.map(sensitivity, jnp.eye(latents.shape[1])))()
    return jnp.linalg.eigh((square + square.T) / 2)[1][:, 0]


class MemberLatents(NamedTuple):
    """The member that draws each latent, and the latents as it sees them."""

    member: Int[Array, " n"]
    latents: Float[Array, "n d"]


def assign_members(latents: Float[Array, "n d"], weights: Float[Array, " k"], u: Float[Array, " d"]) -> MemberLatents:
    """Deals normal latents out to members by where they lie along `u`; what each member sees is normal again.

    Args:
      latents: normal.
      weights: of the members, above 0.
      u: a direction, of length 1.
    """
    along = latents @ u
    rank = ndtr(along)
    ends = jnp.cumsum(weights / weights.sum())
    member = jnp.minimum(jnp.searchsorted(ends, rank, side="right"), len(weights) - 1)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])
    inside = (rank - starts[member]) / (ends - starts)[member]
    stretched = ndtri(jnp.clip(inside, EDGE, 1 - EDGE))
    return MemberLatents(member, latents + (stretched - along)[:, None] * u)


def _loss(
    gen: Pytree, problem: _Problem, latents: Float[Array, "n d"], labels: Int[Array, " n"] | None
) -> Float[Array, ""]:
    """Mean squared difference of the pixels."""
    mixture = problem.mixture
    dealt = assign_members(latents, mixture.weights, problem.u)
    drawn = jnp.stack([member(dealt.latents, labels) for member in mixture.members])
    targets = drawn[dealt.member, jnp.arange(len(latents))]
    return jnp.mean((gen(latents, labels) - targets) ** 2)


def _drawn(key: Key, n: int, latent: int, label_frequencies: Float[Array, " c"] | None) -> tuple[Array, Array | None]:
    """Latents, and labels as often as they occur."""
    latent_key, label_key = jax.random.split(key)
    latents = jax.random.normal(latent_key, (n, latent))
    return latents, None if label_frequencies is None else jax.random.categorical(
        label_key, jnp.log(label_frequencies), shape=(n,)
    )


def _trained(problem: _Problem, start: Pytree, key: Key) -> Pytree:
    """The student after as many steps of Adam as there are operations for, in one compiled program."""
    optimiser = optax.scale_by_adam()

    def step(steps: Array, index: Array, student: _Student) -> _Student:
        key, own = jax.random.split(student.key)
        gradient = jax.grad(_loss)(student.gen, problem, *_drawn(own, BATCH, len(problem.u), problem.label_frequencies))
        updates, opt = optimiser.update(gradient, student.opt)
        rate = RATE * (1 + jnp.cos(jnp.pi * index / steps)) / 2
        return _Student(jax.tree.map(lambda leaf, update: leaf - rate * update, student.gen, updates), opt, key)

    begin = _Student(start, optimiser.init(start), key)
    course = jax.jit(lambda student, steps: jax.lax.fori_loop(0, steps, partial(step, steps), student))
    program = course.lower(begin, jnp.int32(1)).compile()
    cost: Any = program.cost_analysis() or {}  # of one step, since their number is traced
    affordable = int(NOMINAL_FLOPS[jax.default_backend()] * SECONDS / max(cost.get("flops", 0.0), 1.0))
    return program(begin, jnp.int32(min(max(affordable, FEWEST_STEPS), MOST_STEPS))).gen
