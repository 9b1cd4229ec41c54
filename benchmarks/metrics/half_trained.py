"""What `judges.py` trains on one family: a classifier that is taken for the truth, and generators stopped early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mulligan.metrics.embedding_network import random_weights
from tools.embedding_training import Log, fit

CLASSIFIER_SIDE, CLASSIFIER_WIDTHS, UNITS = 64, (16, 32, 64, 96), 128
GAN_SIDE, LATENTS = 32, 32
Weights = dict[str, Any]


def convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=names)


def colour(images: jax.Array, side: int) -> jax.Array:
    """uint8 grey or RGB to `[n, side, side, 3]` in [-1, 1]."""
    pixels = images.astype(jnp.float32) / 127.5 - 1
    pixels = jnp.broadcast_to(pixels, (*pixels.shape[:3], 3))
    return jax.image.resize(pixels, (len(images), side, side, 3), "cubic", antialias=True)


def classifier_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    channels = (3, *CLASSIFIER_WIDTHS)
    kernels = {f"conv{i}": (3, 3, channels[i], channels[i + 1]) for i in range(len(CLASSIFIER_WIDTHS))}
    return {**kernels, "dense": (16 * CLASSIFIER_WIDTHS[-1], UNITS), "head": (UNITS, classes)}


def classifier_features(weights: Weights, pixels: jax.Array) -> jax.Array:
    """3x3 convolutions of stride 2, rectifiers, 128 units: unlike the candidates in kernels, widths and training."""
    current = pixels
    for layer in range(len(CLASSIFIER_WIDTHS)):
        current = jax.nn.relu(convolution(current, weights[f"conv{layer}"], 2))
    return jax.nn.relu(current.reshape(len(current), -1) @ weights["dense"])


def train_classifier(images: np.ndarray, labels: np.ndarray, steps: int, log: Log) -> Weights:
    """A classifier of one family, which sees half of each batch at 32 pixels, for it is to judge those too."""

    def loss(weights, batch, key):
        rows, classes = batch
        full = colour(rows, CLASSIFIER_SIDE)
        coarse = jax.image.resize(full, (len(full), 32, 32, 3), "linear", antialias=True)
        coarse = jax.image.resize(coarse, full.shape, "cubic")
        pixels = jnp.where(jnp.arange(len(full))[:, None, None, None] % 2 == 0, full, coarse)
        keys = jax.random.split(key)
        moves = jax.random.randint(keys[0], (len(pixels), 2), -4, 5)
        pixels = jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1)))(pixels, moves)
        pixels = pixels * jax.random.uniform(keys[1], (len(pixels), 1, 1, 1), minval=0.8, maxval=1.2)
        logits = classifier_features(weights, pixels) @ weights["head"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()

    rng = np.random.default_rng(0)
    draws = (rng.integers(len(images), size=48) for _ in range(steps))
    weights = random_weights(classifier_shapes(int(labels.max()) + 1), 0)
    return fit(loss, weights, ((images[rows], labels[rows]) for rows in draws), steps, log)


def accuracy(weights: Weights, images: np.ndarray, labels: np.ndarray) -> float:
    features = classifier_features(weights, colour(jnp.asarray(images), CLASSIFIER_SIDE))
    return float(np.mean(np.argmax(features @ weights["head"], axis=1) == labels))


class GanKind(NamedTuple):
    """Shapes and functions of both networks, and how they are trained.

    Attributes:
      shapes: of the generator's and of the discriminator's weights, for so many channels.
      generate: `(weights, latents) -> [n, 32, 32, c]` in [-1, 1].
      score: `(weights, images) -> [n]`.
      penalty: of the squared slope at real images (R1), over 2.
      momentum: b1 of Adam.
      steps: after which samples are taken.
    """

    shapes: Callable[[int], tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]]
    generate: Callable[[Weights, jax.Array], jax.Array]
    score: Callable[[Weights, jax.Array], jax.Array]
    penalty: float
    momentum: float
    steps: tuple[int, ...]


def dense_shapes(channels: int):
    pixels = GAN_SIDE**2 * channels
    return {"0": (LATENTS, 192), "1": (192, 192), "2": (192, pixels)}, {
        "0": (pixels, 192),
        "1": (192, 192),
        "2": (192, 1),
    }


def perceptron(weights: Weights, x: jax.Array) -> jax.Array:
    for name in ("0", "1"):
        x = jax.nn.leaky_relu(x @ weights[name], 0.2)
    return x @ weights["2"]


def dense_generate(weights: Weights, latents: jax.Array) -> jax.Array:
    return jnp.tanh(perceptron(weights, latents)).reshape(len(latents), GAN_SIDE, GAN_SIDE, -1)


def dense_score(weights: Weights, images: jax.Array) -> jax.Array:
    return perceptron(weights, images.reshape(len(images), -1))[:, 0]


def conv_shapes(channels: int):
    gen = {"0": (LATENTS, 16 * 48), "1": (3, 3, 48, 32), "2": (3, 3, 32, 24), "3": (5, 5, 24, channels)}
    disc = {"0": (4, 4, channels, 16), "1": (4, 4, 16, 32), "2": (4, 4, 32, 48), "3": (16 * 48, 1)}
    return gen, disc


def conv_generate(weights: Weights, latents: jax.Array) -> jax.Array:
    current = jax.nn.leaky_relu(latents @ weights["0"], 0.2).reshape(len(latents), 4, 4, -1)
    for name in ("1", "2", "3"):
        current = convolution(current.repeat(2, 1).repeat(2, 2), weights[name], 1)
        current = jnp.tanh(current) if name == "3" else jax.nn.leaky_relu(current, 0.2)
    return current


def conv_score(weights: Weights, images: jax.Array) -> jax.Array:
    current = images
    for name in ("0", "1", "2"):
        current = jax.nn.leaky_relu(convolution(current, weights[name], 2), 0.2)
    return (current.reshape(len(current), -1) @ weights["3"])[:, 0]


GANS = {
    "dense, no penalty": GanKind(dense_shapes, dense_generate, dense_score, 0.0, 0.5, (20, 80, 300)),
    "dense, R1": GanKind(dense_shapes, dense_generate, dense_score, 0.1, 0.0, (20, 80, 300, 1000)),
    "convolutions, R1": GanKind(conv_shapes, conv_generate, conv_score, 0.1, 0.0, (20, 60, 200, 600)),
    "convolutions, no penalty": GanKind(conv_shapes, conv_generate, conv_score, 0.0, 0.5, (20, 60, 200)),
}


class Compiled(NamedTuple):
    step: Callable[..., Any]
    optimiser: optax.GradientTransformation


@lru_cache
def compiled(kind: GanKind) -> Compiled:
    """One step of simultaneous Adam, compiled once a kind and number of channels."""
    optimiser = optax.adam(1e-3, b1=kind.momentum, b2=0.99)

    def disc_loss(disc, gen, real, key):
        fake = kind.generate(gen, jax.random.normal(key, (len(real), LATENTS)))
        loss = jax.nn.softplus(-kind.score(disc, real)).mean() + jax.nn.softplus(kind.score(disc, fake)).mean()
        if kind.penalty:
            slopes = jax.grad(lambda x: kind.score(disc, x).sum())(real)
            loss += kind.penalty / 2 * (slopes**2).sum((1, 2, 3)).mean()
        return loss

    def gen_loss(gen, disc, key, n):
        return jax.nn.softplus(-kind.score(disc, kind.generate(gen, jax.random.normal(key, (n, LATENTS))))).mean()

    @jax.jit
    def step(players, state, batch, key):
        gen, disc = players
        real = batch.astype(jnp.float32) / 127.5 - 1
        gradients = jax.grad(gen_loss)(gen, disc, key, len(real)), jax.grad(disc_loss)(disc, gen, real, key)
        updates, state = optimiser.update(gradients, state)
        return optax.apply_updates(players, updates), state

    return Compiled(step, optimiser)


def half_trained(kind: GanKind, images: np.ndarray, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Samples, uint8 `[count, 32, 32, c]`, after each of the kind's numbers of steps on batches of 32."""
    rng, (step, optimiser) = np.random.default_rng(seed), compiled(kind)
    players = tuple(random_weights(each, seed + i) for i, each in enumerate(kind.shapes(images.shape[-1])))
    state = optimiser.init(players)
    for index in range(kind.steps[-1]):
        players, state = step(players, state, images[rng.integers(len(images), size=32)], jax.random.key(index))
        if index + 1 in kind.steps:
            made = kind.generate(players[0], jax.random.normal(jax.random.key(1_000_000), (count, LATENTS)))
            yield np.asarray(jnp.round((made + 1) * 127.5).astype(jnp.uint8))
