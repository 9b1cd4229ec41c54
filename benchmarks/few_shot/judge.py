"""What few-shot samples are judged by: a prototype network, and figures of one character or of many.

The network learns one-shot 20-way episodes of background characters alone (prototypical networks: Snell et al. 2017,
arXiv 1703.05175); recognisability is its accuracy on samples, as in Boutin et al. 2022, arXiv 2205.10032.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from mulligan.game.augment import translate
from mulligan.game.step import pixels
from mulligan.meta.initialisation.episodes import apply_pose
from mulligan.metrics.distances import neighbours
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture
from mulligan.training import checkpoint

WAYS, QUERIES = 20, 4  # classes of an episode, and images of each to tell apart
NETWORK = Architecture(
    disc_width=24, disc_depth=1, kernel=3, resampling="bilinear", activation="relu", disc_normalisation="group"
)
Embed = Callable[[UInt8[np.ndarray, "n h w c"]], Float[np.ndarray, "n d"]]


def learn_judge(background: UInt8[np.ndarray, "t n h w c"], episodes: int, seed: int, kept: Path) -> Embed:
    """Trains a prototype network, unless it is `kept`; turned characters are characters of their own."""
    net_key, train_key = jax.random.split(jax.random.key(seed))
    layers = build(NETWORK, tuple(background.shape[2:]), 0, net_key).disc.layers
    if kept.is_file():
        layers = checkpoint.restored(layers, checkpoint.read(kept).arrays, "judge")
    else:
        layers = _trained(layers, jnp.asarray(background), episodes, train_key)
        checkpoint.write(kept, checkpoint.arrays_of(layers, "judge"), {"episodes": episodes, "seed": seed})
    apply = jax.jit(lambda images: embedded(layers, pixels(images)))

    def embed(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
        parts = []
        for start in range(0, len(images), 256):
            part = images[start : start + 256]
            parts.append(np.asarray(apply(np.resize(part, (256, *part.shape[1:]))))[: len(part)])
        return np.concatenate(parts)

    return embed


def _trained(layers: Any, pool: Array, episodes: int, train_key: Array) -> Any:
    optimiser = optax.adam(optax.cosine_decay_schedule(2e-3, episodes))

    def step(carry: Any, key: Array) -> tuple[Any, Array]:
        layers, state = carry
        images = _episode(pool, key)
        value, gradient = jax.value_and_grad(_episode_loss)(layers, images)
        moves, state = optimiser.update(gradient, state, layers)
        return (optax.apply_updates(layers, moves), state), value

    keys = jax.random.split(train_key, episodes)
    (layers, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))((layers, optimiser.init(layers)))
    return layers


def _episode(pool: Array, key: Array) -> Array:
    """`[WAYS, 1 + QUERIES, h, w, c]`."""
    task_key, order_key, turn_key, move_key = jax.random.split(key, 4)
    tasks = jax.random.choice(task_key, pool.shape[0], (WAYS,), replace=False)
    orders = jax.vmap(lambda k: jax.random.permutation(k, pool.shape[1])[: 1 + QUERIES])(
        jax.random.split(order_key, WAYS)
    )
    images = jax.vmap(apply_pose)(pool[tasks[:, None], orders], jax.random.randint(turn_key, (WAYS,), 0, 4))
    flat = translate(pixels(images).reshape(-1, *images.shape[2:]), jnp.ones(()), move_key)
    return flat.reshape(images.shape)


def _episode_loss(layers: Any, images: Array) -> Array:
    features = embedded(layers, images.reshape(-1, *images.shape[2:])).reshape(WAYS, 1 + QUERIES, -1)
    queries = features[:, 1:].reshape(WAYS * QUERIES, -1)
    squares = jnp.mean((queries[:, None] - features[:, 0][None]) ** 2, axis=-1)
    labels = jnp.repeat(jnp.arange(WAYS), QUERIES)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(-10 * squares, labels))


def embedded(layers: Any, images: Array) -> Array:
    """Flat features of the last layer."""
    for layer in layers:
        images = layer(images)
    return images.reshape(len(images), -1)


class Figures(NamedTuple):
    """Of one set of samples of one class."""

    kid: float  # unbiased, m1, against the class's other images
    recognised: float  # share told apart from 19 other classes by one image of each
    diversity: float  # mean distance of two samples over that of two real images, m1
    memorised: float  # median distance to the nearest support image over that of real images, m1; 0 for copies


class Case(NamedTuple):
    """One class: what was shown, the other images of it, and one image each of 19 other classes."""

    support: UInt8[np.ndarray, "k h w c"]
    query: UInt8[np.ndarray, "q h w c"]
    others: UInt8[np.ndarray, "o h w c"]


def judge_cases(cases: Sequence[Case], samples: UInt8[np.ndarray, "t s h w c"], embed: Embed) -> list[Figures]:
    """All figures of the samples of every class; the query's first image is the class's own prototype."""
    m1 = load_cached()
    real, shown, fake = (
        _by_case(m1, images) for images in (_all(cases, "query"), _all(cases, "support"), list(samples))
    )
    prototypes = _by_case(embed, [np.concatenate([case.query[:1], case.others]) for case in cases])
    looks = _by_case(embed, list(samples))
    return [_figures(*parts) for parts in zip(real, shown, fake, prototypes, looks, strict=True)]


def _figures(
    real: np.ndarray, shown: np.ndarray, fake: np.ndarray, prototypes: np.ndarray, looks: np.ndarray
) -> Figures:
    nearest, _ = neighbours(looks, prototypes, 1)
    return Figures(
        kid=float(mmd2_unbiased(jnp.asarray(real), jnp.asarray(fake))),
        recognised=float((nearest[:, 0] == 0).mean()),
        diversity=_apart(fake) / max(_apart(real), 1e-9),
        memorised=float(np.median(_nearest(fake, shown)) / max(np.median(_nearest(real, shown)), 1e-9)),
    )


def _all(cases: Sequence[Case], part: str) -> list[np.ndarray]:
    return [getattr(case, part) for case in cases]


def _by_case(embed: Embed, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Features of each set, from one call: what is short of a batch is padded once."""
    return np.split(embed(np.concatenate(sets)), np.cumsum([len(images) for images in sets])[:-1])


@lru_cache(maxsize=1)
def load_cached() -> Embed:
    return load_embedding("m1")


def _nearest(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    return neighbours(features, known, 1)[1][:, 0]


def _apart(features: np.ndarray) -> float:
    squares = ((features[:, None] - features[None]) ** 2).sum(-1)
    n = len(features)
    return float(np.sqrt(squares).sum() / (n * (n - 1)))
