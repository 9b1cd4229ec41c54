"""Images to feature vectors: the space in which every other metric of this room measures.

`m1` and `m2` are small convolutional networks that ship with the package; `docs/metrics.md` says what
they were trained on and how they compare with random weights. Features of different embeddings must never be
compared, so every figure carries the embedding's name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from safetensors.numpy import load as load_safetensors

from mulligan.errors import MulliganError, UsageError
from mulligan.files import with_card
from mulligan.metrics import EMBEDDING
from mulligan.metrics.embedding_network import DESIGNS, Design, Prepared, Weights, standardised
from mulligan.types import Images

AnyImages = UInt8[np.ndarray, "n h w c"] | Images  # in numpy or on a device
Levels = Images | Float[Array, "n h w c"]  # 0 to 255; not rounded where a gradient is wanted


@dataclass(frozen=True)
class Embedding:
    """A map from images to features; call it with uint8 `[n, h, w, c]` for float32 `[n, dimension]`.

    `features` maps one batch, uint8 `[batch, h, w, c]`, to `[batch, dimension]`; floating levels 0 to 255 can be
    differentiated through. A call gives it exactly `batch` images (the last ones padded with zeros, whose features are
    dropped), so there is one compilation an image shape, and the same images give the same bits. `flops` are
    operations an image of a height and a width.
    """

    name: str
    dimension: int
    features: Callable[[Levels], Float[Array, "n d"]]
    flops: Callable[[int, int], float]
    batch: int = 256

    def __call__(self, images: AnyImages) -> Float[np.ndarray, "n d"]:
        """Features of the images, in their order.

        Raises:
          MulliganError: not uint8 `[n, h, w, c]` with 1, 3 or 4 channels.
        """
        images = np.asarray(images)
        check_images(images)
        chunks = []
        # Every batch has the same size, the last one too: another size would compile another program, and XLA's sums
        # over another shape may differ in their last bits.
        for start in range(0, len(images), self.batch):
            chunk = images[start : start + self.batch]
            padding = [(0, self.batch - len(chunk)), (0, 0), (0, 0), (0, 0)]
            chunks.append(self.features(jnp.asarray(np.pad(chunk, padding))))
        none = np.zeros((0, self.dimension), np.float32)
        return np.concatenate([np.asarray(chunk) for chunk in chunks] or [none])[: len(images)]


def load_embedding(name: str = EMBEDDING) -> Embedding:
    """The embedding that ships under `name`.

    Raises:
      UsageError: no embedding has that name.
      MulliganError: the installed weights are damaged (their SHA-256 differs from the card's).

    Example:
      >>> embedding = load_embedding("m1")
      >>> embedding(np.zeros((2, 28, 28, 1), np.uint8)).shape
      (2, 96)
    """
    if name not in DESIGNS:
        raise UsageError(f"no embedding is called {name!r}; there are {' and '.join(DESIGNS)}.")
    stored, _ = with_card("mulligan.metrics", name, f"embedding {name}")
    weights = {key: jnp.asarray(value, jnp.float32) for key, value in load_safetensors(stored).items()}
    return embedded(name, DESIGNS[name], weights)


def embedded(name: str, design: Design, weights: Weights) -> Embedding:
    """The embedding of a design with these weights, among them `mean` and `deviation` of its features."""
    return Embedding(name, design.dimension, functools.partial(_features, design, weights=weights), design.flops)


@functools.partial(jax.jit, static_argnums=0)
def _features(design: Design, images: Levels, weights: Weights) -> Float[Array, "n d"]:
    return standardised(design, weights, preprocess(images, design.side(*images.shape[1:3])))


def check_images(images: np.ndarray) -> None:
    """Refuses what an embedding cannot take.

    Raises:
      MulliganError: `images` is not uint8 `[n, h, w, c]` with c in 1, 3, 4.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or images.dtype != np.uint8:
        raise MulliganError(f"metrics take uint8 images [n, h, w, 1, 3 or 4], not {images.dtype} {list(images.shape)}.")


def check_features(features: np.ndarray) -> None:
    """Refuses features with which no distance can be computed.

    Raises:
      MulliganError: `features` is not `[n, d]` with n >= 2, or one is not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise MulliganError(f"a metric needs at least 2 images on each side, not {len(features)}.")
    if not np.isfinite(features).all():
        raise MulliganError("a metric met features that are not finite: check the images and the embedding.")


def check_pair(a: np.ndarray, b: np.ndarray) -> None:
    """Refuses two sides that cannot be compared.

    Raises:
      MulliganError: one of them is not `[n, d]` with n >= 2, or not finite, or they differ in d.
    """
    for features in (a, b):
        check_features(features)
    if a.shape[1] != b.shape[1]:
        raise MulliganError(f"features of {a.shape[1]} and {b.shape[1]} numbers come from different embeddings.")


def preprocess(images: Levels, side: int) -> Prepared:
    """Images as a network takes them: float32 `[n, side, side, 3]` in [-1, 1].

    Other sizes are resized with an antialiased bicubic filter (Parmar et al. 2022, arXiv 2104.11222, on why that
    matters); the aspect ratio is not kept.
    """
    pixels = opaque_colour(images)
    shape = (len(images), side, side, 3)
    pixels = jax.image.resize(pixels, shape, "cubic", antialias=True, precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(pixels / 127.5 - 1, -1, 1)


def opaque_colour(images: Levels) -> Float[Array, "n h w 3"]:
    """Levels 0 to 255 of three channels: grey is repeated over them, alpha composited on white."""
    pixels = images.astype(jnp.float32)
    if images.shape[-1] == 4:
        alpha = pixels[..., 3:] / 255
        pixels = alpha * pixels[..., :3] + (1 - alpha) * 255
    return jnp.repeat(pixels, 3, axis=-1) if images.shape[-1] == 1 else pixels
