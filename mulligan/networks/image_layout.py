"""How a model from elsewhere lays out images and which numbers it uses for them, and the way there and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.types import Pixels

ImageShape = tuple[int, int, int]
RANGES = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (-1.0, 1.0), "[0, 255]": (0.0, 255.0)}


@dataclass(frozen=True)
class ImageLayout:
    """One example of a model's images.

    Attributes:
      shape: `(h, w, c)` of the images.
      raw_shape: as the model has them: the same, `(h, w)`, `(c, h, w)` or flat `(h w c,)`.
      channels_first: whether flat or not, channels come before rows.
      low, high: the numbers of black and white.
    """

    shape: ImageShape
    raw_shape: tuple[int, ...]
    channels_first: bool
    low: float
    high: float

    def pixels(self, raw: Float[Array, "n ..."]) -> Pixels:
        """The model's images as pixels `[n, h, w, c]` in [-1, 1]."""
        if self.channels_first:
            h, w, c = self.shape
            images = raw.reshape(-1, c, h, w).transpose(0, 2, 3, 1)
        else:
            images = raw.reshape(-1, *self.shape)
        return (images - self.low) * (2 / (self.high - self.low)) - 1

    def raw(self, pixels: Pixels) -> Float[Array, "n ..."]:
        """The inverse of `pixels`."""
        images = (pixels + 1) * ((self.high - self.low) / 2) + self.low
        if self.channels_first:
            images = images.transpose(0, 3, 1, 2)
        return images.reshape(-1, *self.raw_shape)

    def laid_out(self, raw_shape: tuple[int, ...], shape: ImageShape) -> ImageLayout:
        """The same numbers in another layout.

        Raises:
          MulliganError: images of `shape` cannot be laid out so.
        """
        first = _channels_first(raw_shape, shape, "discriminator takes")
        return ImageLayout(
            shape, raw_shape, first or (self.channels_first and len(raw_shape) == 1), self.low, self.high
        )

    @property
    def sentence(self) -> str:
        """What was recognised."""
        span = next(name for name, ends in RANGES.items() if ends == (self.low, self.high))
        layout = "x".join(map(str, self.raw_shape))
        return f"the generator gives images of {layout} in {span}"


def probe_layout(images: Float[np.ndarray, "n ..."], shape: ImageShape) -> ImageLayout:
    """The convention of a generator, from images that it made.

    Numbers below zero mean [-1, 1] (the span of a tanh), numbers from 0 to 1 mean [0, 1] (a sigmoid), larger ones
    [0, 255].

    Raises:
      MulliganError: they cannot be images of `shape`.

    Example:
      >>> probe_layout(np.full((2, 784), 0.5), (28, 28, 1)).sentence
      'the generator gives images of 784 in [0, 1]'
    """
    first = _channels_first(images.shape[1:], shape, "generator gives")
    if images.min() < 0:
        low, high = RANGES["[-1, 1]"]
    elif images.max() <= 1:
        low, high = RANGES["[0, 1]"]
    else:
        low, high = RANGES["[0, 255]"]
    return ImageLayout(shape, images.shape[1:], first, low, high)


def _channels_first(raw_shape: tuple[int, ...], shape: ImageShape, who: str) -> bool:
    h, w, c = shape
    if raw_shape in (shape, (math.prod(shape),)) or (c == 1 and raw_shape == (h, w)):
        return False
    if raw_shape == (c, h, w):
        return True
    found, wanted = "x".join(map(str, raw_shape)), f"{h}x{w}x{c}"
    raise MulliganError(f"the {who} images of {found}, and the data set has {wanted}: give both the same size.")
