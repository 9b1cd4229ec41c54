"""An image's pixels at 8x8 as features, and an embedding with these beside its own: the space `m1+pixels`.

Judged by classifiers of families that neither had seen, pixels say what m1 misses and m1 what pixels miss
(docs/metrics.md). The pixels' mean and deviation are constants over learning families, which
`tools/pixel_constants.py` makes.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors.numpy import load as load_safetensors

from mulligan.files import with_card
from mulligan.metrics.embed import Embedding, Levels, opaque_colour
from mulligan.metrics.selection import BESIDE_PIXELS

SIDE = 8
PIXELS = 3 * SIDE**2


def beside_pixels(embedding: Embedding) -> Embedding:
    """The embedding's features, bit for bit, and after them the pixels at 8x8.

    The pixels are scaled so that they add as much to a squared distance as the embedding's own features, each of which
    is taken to have a deviation of 1.

    Args:
      embedding: whose features are standardised.

    Raises:
      MulliganError: the installed constants are damaged (their SHA-256 differs from the card's).
    """
    stored, _ = with_card("mulligan.metrics", "pixels", "the pixels' constants")
    known = load_safetensors(stored)
    scale = math.sqrt(embedding.dimension / PIXELS)
    middle, spread = jnp.asarray(known["mean"]), jnp.asarray(known["deviation"] / scale)

    def features(images: Levels) -> Float[Array, "n d"]:
        return _joined(embedding.features(images), images, middle, spread)

    def flops(height: int, width: int) -> float:
        return embedding.flops(height, width) + 2.0 * 3 * SIDE * height * (width + SIDE)

    return Embedding(embedding.name + BESIDE_PIXELS, embedding.dimension + PIXELS, features, flops, embedding.batch)


@jax.jit
def _joined(
    features: Float[Array, "n d"], images: Levels, middle: Float[Array, " p"], spread: Float[Array, " p"]
) -> Float[Array, "n j"]:
    """Compiled once a shape, whatever the embedding: it is called from one closure after the other."""
    return jnp.concatenate([features, (pixels_at_8x8(images) - middle) / spread], axis=1)


@jax.jit
def pixels_at_8x8(images: Levels) -> Float[Array, "n 192"]:
    """Means over the cells of an 8x8 grid, in [-1, 1]; where a cell's border cuts a pixel, both cells get their share.

    Grey is repeated over three channels, alpha composited on white. The aspect ratio is not kept.
    """
    height, width = images.shape[1:3]
    colour, precision = opaque_colour(images) / 127.5 - 1, jax.lax.Precision.HIGHEST
    cells = jnp.einsum("ih,nhwc,jw->nijc", _shares(height), colour, _shares(width), precision=precision)
    return cells.reshape(len(images), PIXELS)


@functools.cache
def _shares(pixels: int) -> Float[np.ndarray, "8 pixels"]:
    """What share of each of 8 cells in a row each of so many pixels is; every cell's shares add up to 1."""
    cells, edges = np.arange(SIDE)[:, None] * pixels / SIDE, np.arange(pixels)
    overlap = np.minimum(cells + pixels / SIDE, edges + 1) - np.maximum(cells, edges)
    return (np.maximum(overlap, 0) * SIDE / pixels).astype(np.float32)
