"""Latents of given images: Adam from the best of many draws, in pixels and in an embedding's features at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Int32, UInt8

from mulligan.metrics.distances import squared_distances
from mulligan.metrics.embed import Embedding, load_embedding
from mulligan.training.engine import Sampler
from mulligan.types import Key, Pytree

DRAWS = 10_000  # latents that the starting points are chosen from
BLOCK = 500  # of them, drawn and compared at a time
STARTS = 3  # of each image
STEPS = 500  # of Adam
RATE = 0.1  # at first; it falls to 0 along a cosine
NOISE = 0.05  # standard deviation of what is added to the latents at first; it falls to 0 at half the steps
FEATURES = 0.05  # weight of the distance in features; that in pixels has 1, and each is 1 for a random draw
TOGETHER = 8  # images at a time
SEED = 40_010  # of the draws; nothing else draws from it

Progress = Callable[[float], None]  # told the share that is done


class Projection(NamedTuple):
    """What comes nearest to given images.

    Attributes:
      latents: of each image.
      labels: class of each, given or found; None for a generator without classes.
      images: what the generator draws of them.
      error: root of the mean squared difference of pixels to the given image; 0 to 1, where 1 is black for white.
      nearest_error: the same of the nearest of the draws that the search began with.
    """

    latents: Float[np.ndarray, "n d"]
    labels: Int32[np.ndarray, " n"] | None
    images: UInt8[np.ndarray, "n h w c"]
    error: Float[np.ndarray, " n"]
    nearest_error: Float[np.ndarray, " n"]


class Starts(NamedTuple):
    """Where the search begins: the best draws of each image, and the mean distances of some, which are its units."""

    latents: Float[np.ndarray, "n k d"]
    labels: Int32[np.ndarray, "n k"] | None
    pixel_scale: Float[np.ndarray, " n"]
    feature_scale: Float[np.ndarray, " n"]
    nearest_error: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Projector:
    """Finds latents for one generator; what it compiles and draws serves all calls.

    Attributes:
      sampler, network: the generator.
      embedding: in whose features images are compared besides.
      search: the compiled optimisation.
    """

    sampler: Sampler
    network: Pytree
    embedding: Embedding
    search: Callable[..., tuple[Array, Array]]

    @staticmethod
    def make(sampler: Sampler, network: Pytree) -> Projector:
        """Compiles on first use."""
        embedding = load_embedding()
        return Projector(sampler, network, embedding, jax.jit(partial(_searched, embedding.features)))

    def __call__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int[np.ndarray, " n"] | None = None,
        told: Progress = lambda share: None,
    ) -> Projection:
        """Searches the latents of images of the generator's own shape; the same for the same images.

        Args:
          images: at least one.
          labels: class of each, where it is known; without, each gets that which comes nearest.
          told: called now and then with the share that is done.
        """
        begin = self._starts(images, labels)
        told(0.1)
        parts = []
        together = TOGETHER if len(images) > 1 else 1  # two programs at most
        for start in range(0, len(images), together):
            rows = np.minimum(np.arange(start, start + together), len(images) - 1)
            parts.append(self._found(images, begin, rows))
            told(0.1 + 0.9 * min(start + together, len(images)) / len(images))
        latents = np.concatenate([part[0] for part in parts])[: len(images)]
        chosen = None
        if begin.labels is not None:
            chosen = np.concatenate([part[1] for part in parts])[: len(images)]
        drawn = self.sampler(self.network, latents, chosen)
        return Projection(latents, chosen, drawn, _error(drawn, images), begin.nearest_error)

    def _found(
        self, images: UInt8[np.ndarray, "n h w c"], begin: Starts, rows: Int[np.ndarray, " b"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Latents and classes of these images, each the best of its starts."""
        count = begin.latents.shape[1]
        flat = np.repeat(rows, count)
        labels = None if begin.labels is None else jnp.asarray(begin.labels[rows].reshape(-1))
        latents, losses = self.search(
            self.network,
            jnp.asarray(images[flat]),
            jnp.asarray(begin.latents[rows].reshape(len(flat), -1)),
            labels,
            jnp.asarray(begin.pixel_scale[flat]),
            jnp.asarray(begin.feature_scale[flat]),
            jax.random.key(SEED),
        )
        best = np.asarray(losses).reshape(len(rows), count).argmin(1)
        place = np.arange(len(rows)) * count + best
        return np.asarray(latents)[place], np.zeros(0) if labels is None else np.asarray(labels)[place]

    def _starts(self, images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, " n"] | None) -> Starts:
        """The draws nearest to each image, found block by block, so that no more than a block is held."""
        latents = self.sampler.latents(DRAWS, SEED)
        classes = None
        if self.sampler.classes:
            known = np.arange(self.sampler.classes) if labels is None else np.unique(labels)
            classes = np.resize(known, DRAWS).astype(np.int32)
        best, least = np.zeros((len(images), STARTS), np.int64), np.full((len(images), STARTS), np.inf)
        scales: tuple[np.ndarray, np.ndarray] | None = None
        nearest = np.full(len(images), np.inf)
        of_images = self.embedding(images)
        for start in range(0, DRAWS, BLOCK):
            rows = np.arange(start, min(start + BLOCK, DRAWS))
            draws = self.sampler(self.network, latents[rows], None if classes is None else classes[rows])
            in_pixels = squared_distances(_flat(images), _flat(draws)) / draws[0].size
            in_features = squared_distances(of_images, self.embedding(draws)) / self.embedding.dimension
            scales = scales or (_scale(in_pixels), _scale(in_features))
            if classes is not None and labels is not None:
                in_pixels[labels[:, None] != classes[rows]] = np.inf
            nearest = np.minimum(nearest, in_pixels.min(1))
            near = in_pixels / scales[0][:, None] + FEATURES * in_features / scales[1][:, None]
            every = np.concatenate([least, near], axis=1)
            order = np.argsort(every, axis=1, kind="stable")[:, :STARTS]
            numbers = np.concatenate([best, np.broadcast_to(rows, near.shape)], axis=1)
            best, least = np.take_along_axis(numbers, order, axis=1), np.take_along_axis(every, order, axis=1)
        assert scales is not None
        error = np.sqrt(nearest).astype(np.float32)
        return Starts(latents[best], None if classes is None else classes[best], *scales, error)


def _scale(distances: Float[np.ndarray, "n b"]) -> Float[np.ndarray, " n"]:
    """The mean distance of an image to what is drawn, in which its distances are counted."""
    return np.maximum(distances.mean(1), 1e-6).astype(np.float32)


def _searched(
    features: Callable[[Any], Float[Array, "n d"]],
    network: Pytree,
    images: UInt8[Array, "n h w c"],
    latents: Float[Array, "n d"],
    labels: Int32[Array, " n"] | None,
    pixel_scale: Float[Array, " n"],
    feature_scale: Float[Array, " n"],
    key: Key,
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """The best latents that Adam meets, row by row, and their losses.

    The best are kept, not the last, for a mixture's members take turns.
    """
    # In the range of bytes, of which features are taken.
    wanted = images.astype(jnp.float32)
    wanted_features = features(images)
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def losses(latents: Float[Array, "n d"]) -> Float[Array, " n"]:
        drawn = (network(latents, labels) + 1) * 127.5  # not clipped: beyond the range there is a way back
        in_pixels = (((drawn - wanted) / 255) ** 2).mean((1, 2, 3))
        in_features = ((features(drawn) - wanted_features) ** 2).mean(1)
        return in_pixels / pixel_scale + FEATURES * in_features / feature_scale

    def total(latents: Float[Array, "n d"]) -> tuple[Array, Array]:
        each = losses(latents)
        return each.sum(), each

    def step(carry: Any, number: Array) -> tuple[Any, None]:
        latents, memory, best, least = carry
        strength = NOISE * jnp.maximum(1 - 2 * number / STEPS, 0) ** 2
        tried = latents + strength * jax.random.normal(jax.random.fold_in(key, number), latents.shape)
        gradient, each = jax.grad(total, has_aux=True)(tried)
        better = each < least
        best, least = jnp.where(better[:, None], tried, best), jnp.where(better, each, least)
        updates, memory = optimiser.update(gradient, memory)
        return (optax.apply_updates(latents, updates), memory, best, least), None

    begin = (latents, optimiser.init(latents), latents, losses(latents))
    (_, _, best, least), _ = jax.lax.scan(step, begin, jnp.arange(STEPS))
    return best, least


def _flat(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    return images.reshape(len(images), -1) / np.float32(255)


def _error(images: UInt8[np.ndarray, "n h w c"], others: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, " n"]:
    return np.sqrt(((_flat(images) - _flat(others)) ** 2).mean(1))
