"""Families cut into images that train and images that judge, and a classifier of these very families."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.common.families import read_family
from tools.pretrain import resized

TRAIN, HELD = 512, 300  # images of a family that train, and that judge


@dataclass(frozen=True)
class Family:
    """Images that train and images that judge, uint8 `[n, size, size, 3]`, and classes of those that train."""

    train: np.ndarray
    held: np.ndarray
    labels: np.ndarray

    @staticmethod
    def read(zoo: Path, name: str, size: int) -> Family:
        stored = read_family(zoo, name)
        order = np.random.default_rng(1).permutation(len(stored.images))
        cut = min(TRAIN, int(0.62 * len(order)))
        train, held = order[:cut], order[cut:]
        images = resized(stored.images, size)
        return Family(filled(images[train], TRAIN), filled(images[held], HELD), filled(stored.labels[train], TRAIN))


def filled(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows: repeated where there are fewer."""
    return rows[np.arange(count) % len(rows)]


@dataclass
class Classifier:
    """Features of a small convolutional network, trained on the classes of the very families that it judges."""

    known: dict[str, Family]
    steps: int
    weights: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels, base = [], 0
        for family in self.known.values():
            labels.append(family.labels + base)
            base += int(family.labels.max()) + 1
        images = jnp.asarray(np.concatenate([family.train for family in self.known.values()]))
        classes = jnp.asarray(np.concatenate(labels))
        rng, channels = np.random.default_rng(5), (3, 24, 48, 96, 128)
        shapes = {f"conv{i}": (3, 3, a, b) for i, (a, b) in enumerate(pairwise(channels))}
        shapes |= {"dense": (16 * channels[-1], 128), "head": (128, base)}
        drawn = {name: rng.normal(size=shape) * math.sqrt(2 / math.prod(shape[:-1])) for name, shape in shapes.items()}
        weights: Any = {name: jnp.asarray(value, jnp.float32) for name, value in drawn.items()}
        optimiser = optax.adamw(optax.cosine_decay_schedule(2e-3, self.steps), weight_decay=1e-2)

        @jax.jit
        def step(weights, state, key):
            rows, shift = jax.random.split(key)
            chosen = jax.random.randint(rows, (256,), 0, len(images))
            moved = jnp.roll(images[chosen], jax.random.randint(shift, (2,), -3, 4), (1, 2))

            def loss(weights):
                logits = features(weights, moved) @ weights["head"]
                return optax.softmax_cross_entropy_with_integer_labels(logits, classes[chosen]).mean()

            updates, state = optimiser.update(jax.grad(loss)(weights), state, weights)
            return optax.apply_updates(weights, updates), state

        state = optimiser.init(weights)
        for index in range(self.steps):
            weights, state = step(weights, state, jax.random.key(index))
        self.weights = weights

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(features(self.weights, jnp.asarray(images)))


@jax.jit
def features(weights: dict[str, Any], images: Any) -> Any:
    x = images.astype(jnp.float32) / 127.5 - 1
    for layer in range(4):
        x = jax.lax.conv_general_dilated(
            x, weights[f"conv{layer}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        n, h, w, c = x.shape
        x = jax.nn.relu(x)
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)) if h > 4 else x
    return jax.nn.relu(x.reshape(len(x), -1) @ weights["dense"])
