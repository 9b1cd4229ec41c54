"""Features of the outer objective: a small network that tells apart the tasks that initial weights are learned on.

Trained on those tasks alone, so that neither held-out tasks nor the metrics that judge the result have a part in it.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, UInt8

from mulligan.game.augment import translate
from mulligan.game.step import pixels
from mulligan.meta.initialisation.episodes import POSES, apply_pose
from mulligan.networks.architecture import build
from mulligan.networks.layers import Activate, Dense, Layer, leaky_relu, randomised
from mulligan.recipe import Architecture
from mulligan.types import Key, Pixels

WIDTH, DIMENSION = 32, 128
BATCH, RATE = 64, 1e-3


class FeatureNet(eqx.Module):
    """Features of images, from their pixels to one of the whole, each of unit root mean square.

    Without the pixels a strided network overlooks what repeats with its stride: chequered images.
    """

    layers: tuple[Layer, ...]
    last: Dense
    spread: tuple[Float[Array, ""], ...]  # root mean square of each kind of feature over the tasks' images

    def __call__(self, images: Pixels) -> tuple[Array, ...]:
        return tuple(seen / rms for seen, rms in zip(self.plain(images), self.spread, strict=True))

    def plain(self, images: Pixels) -> tuple[Array, ...]:
        """The features before they are scaled."""
        seen, x = [images], images
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, Activate):
                seen.append(x)
        return (*seen, leaky_relu(self.last(x)))


def untrained_features(shape: tuple[int, ...], key: Key) -> FeatureNet:
    """A network for a pool of this shape, `[t, n, h, w, c]`, that is not trained."""
    h, w, c = shape[2:]
    disc: Any = build(Architecture(disc_width=WIDTH), (h, w, c), 0, key).disc
    layers = disc.layers
    blank = jnp.zeros((1, h, w, c))
    features = jax.eval_shape(lambda x: reduce(lambda x, layer: layer(x), layers, x), blank).shape[1:]
    last = randomised(Dense(features, (DIMENSION,)), jax.random.fold_in(key, 1))
    return FeatureNet(layers, last, tuple(jnp.ones(()) for _ in range(len(layers) // 2 + 2)))


def train_features(pool: UInt8[Array, "t n h w c"], dihedral: bool, steps: int, key: Key) -> FeatureNet:
    """A network trained for `steps` batches to say which task an image is of (and in which pose)."""
    net_key, head_key, train_key = jax.random.split(key, 3)
    names = pool.shape[0] * (POSES if dihedral else 1)
    params = (untrained_features(pool.shape, net_key), randomised(Dense((DIMENSION,), (names,)), head_key))
    optimiser = optax.adamw(optax.cosine_decay_schedule(RATE, steps), weight_decay=1e-2)

    def loss(params: tuple[FeatureNet, Dense], images: Array, labels: Array) -> Array:
        network, head = params
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(head(network.plain(images)[-1]), labels))

    def step(carry: Any, key: Key) -> tuple[Any, Array]:
        params, state = carry
        images, labels = _batch(pool, dihedral, key)
        value, gradient = jax.value_and_grad(loss)(params, images, labels)
        moves, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, moves), state), value

    @jax.jit
    def train(params: Any) -> tuple[FeatureNet, Array]:
        keys = jax.random.split(train_key, steps)
        ((network, _), _), values = jax.lax.scan(step, (params, optimiser.init(params)), keys)
        images, _ = _batch(pool, dihedral, train_key)
        spread = tuple(jnp.sqrt(jnp.mean(seen**2)) for seen in network.plain(images))
        return eqx.tree_at(lambda network: network.spread, network, spread), values

    network, _ = train(params)
    return network


def _batch(pool: UInt8[Array, "t n h w c"], dihedral: bool, key: Key) -> tuple[Array, Array]:
    """Moved images of the tasks, and which task each is of; a pose of a task counts as one."""
    task_key, image_key, turn_key, move_key = jax.random.split(key, 4)
    tasks = jax.random.randint(task_key, (BATCH,), 0, pool.shape[0])
    images = pool[tasks, jax.random.randint(image_key, (BATCH,), 0, pool.shape[1])]
    labels = tasks
    if dihedral:
        poses = jax.random.randint(turn_key, (BATCH,), 0, POSES)
        images = jax.vmap(lambda image, pose: apply_pose(image[None], pose)[0])(images, poses)
        labels = POSES * tasks + poses
    return translate(pixels(images), jnp.ones(()), move_key), labels
