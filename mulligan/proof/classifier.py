"""A small classifier of features, trained for several seeds and several mixtures of data in one program."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int32

from mulligan.types import Key, Pytree

HIDDEN = 128
BATCH = 128
STEPS = 1000
RATE = 2e-3  # of Adam, falling to 0 along a cosine
DECAY = 1e-2


class Examples(NamedTuple):
    """Features and their classes."""

    features: Float[np.ndarray, "n d"]
    labels: Int32[np.ndarray, " n"]


class Weights(NamedTuple):
    """One hidden layer and a last one that gives a logit for each class."""

    kernel: Float[Array, "d h"]
    bias: Float[Array, " h"]
    last: Float[Array, "h k"]
    last_bias: Float[Array, " k"]


def predictions(
    pools: list[Examples],
    shares: Float[np.ndarray, "mixtures n"],
    test: Float[np.ndarray, "m d"],
    classes: int,
    seed: int = 0,
) -> Int32[np.ndarray, "seeds mixtures m"]:
    """Classes that classifiers find for test features, one classifier for each seed and mixture.

    Within a seed all mixtures begin with the same weights and take the same number of steps.

    Args:
      pools: what may be learned from, one pool a seed, all of the same size.
      shares: how often each example of a pool is drawn, for each mixture.
      test: features to classify.
      classes: number of classes.
      seed: of all weights and batches.

    Returns:
      Class numbers, in the order of `test`.
    """
    chances = jnp.cumsum(jnp.asarray(shares / shares.sum(1, keepdims=True), jnp.float32), axis=1)
    found = [
        _predictions(
            jnp.asarray(pool.features), jnp.asarray(pool.labels), chances, jnp.asarray(test), key, classes, STEPS
        )
        for pool, key in zip(pools, jax.random.split(jax.random.key(seed), len(pools)), strict=True)
    ]
    return np.stack([np.asarray(each, np.int32) for each in found])


@partial(jax.jit, static_argnames=("classes", "steps"))
def _predictions(
    features: Float[Array, "n d"],
    labels: Int32[Array, " n"],
    chances: Float[Array, "mixtures n"],
    test: Float[Array, "m d"],
    key: Key,
    classes: int,
    steps: int,
) -> Array:
    """Of one seed, `[mixtures, m]`."""
    start, draw = jax.random.split(key)

    dimension = features.shape[1]
    kernel = jax.random.normal(start, (dimension, HIDDEN)) * (2 / dimension) ** 0.5
    fresh = Weights(kernel, jnp.zeros(HIDDEN), jnp.zeros((HIDDEN, classes)), jnp.zeros(classes))

    def of_mixture(chances: Float[Array, " n"]) -> Array:
        return logits(_trained(fresh, features, labels, chances, draw, steps), test).argmax(1)

    return jax.vmap(of_mixture)(chances)


def logits(weights: Weights, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """What the classifier makes of features; the largest is its choice."""
    hidden = jax.nn.leaky_relu(features @ weights.kernel + weights.bias)
    return hidden @ weights.last + weights.last_bias


def _trained(
    weights: Weights,
    features: Float[Array, "n d"],
    labels: Int32[Array, " n"],
    chances: Float[Array, " n"],
    key: Key,
    steps: int,
) -> Weights:
    """After so many steps of cross-entropy on examples drawn by their chances."""
    optimiser = optax.adamw(optax.cosine_decay_schedule(RATE, steps), weight_decay=DECAY)

    def step(carry: tuple[Pytree, optax.OptState], key: Key) -> tuple[tuple[Pytree, optax.OptState], None]:
        weights, memory = carry
        # Inverse transform sampling: a uniform number falls into an example's part of the cumulative chances.
        chosen = jnp.searchsorted(chances, jax.random.uniform(key, (BATCH,), maxval=chances[-1]), side="right")
        shown = features[chosen]
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        gradient = jax.grad(lambda weights: cross_entropy(logits(weights, shown), labels[chosen]).mean())(weights)
        updates, memory = optimiser.update(gradient, memory, weights)
        return (optax.apply_updates(weights, updates), memory), None

    (weights, _), _ = jax.lax.scan(step, (weights, optimiser.init(weights)), jax.random.split(key, steps))
    return weights
