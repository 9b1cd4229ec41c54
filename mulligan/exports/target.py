"""What a generator is made of, in as few operations as describe all families; each format says how it does them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Tensor = Any  # a target's own; `shape` below is one example's, without the batch
Shape = tuple[int, ...]


@runtime_checkable
class Target(Protocol):
    """A file format under construction.

    Every operation returns a new tensor. Maps are `[n, h, w, c]`; the batch `n` is never fixed. Weights are float32
    arrays, and a bias of None is none.
    """

    def dense(self, x: Tensor, weight: Float[np.ndarray, "i o"], bias: Float[np.ndarray, " o"] | None) -> Tensor:
        """`x @ weight + bias` over the last axis, of `[n, i]` or `[n, pixels, i]`."""
        ...

    def conv(self, x: Tensor, kernel: Float[np.ndarray, "k k ci co"], bias: Float[np.ndarray, " co"] | None) -> Tensor:
        """Convolution of stride 1 that keeps the size: `(k - 1) // 2` zeros before, the others behind."""
        ...

    def conv_transpose(
        self,
        x: Tensor,
        kernel: Float[np.ndarray, "k k ci co"],
        bias: Float[np.ndarray, " co"] | None,
        crops: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Input pixel `i` times `kernel[a]` added to output `2 i + a`, so that `2 (size - 1) + k` rows come out.

        Args:
          x: maps.
          kernel: its third axis is contracted with the channels of `x`.
          bias: of each output channel.
          crops: rows and columns that are then cut off, each before and behind.
        """
        ...

    def enlarge(self, x: Tensor, name: str, crop: tuple[int, int]) -> Tensor:
        """Doubles rows and columns, then crops so many of them behind.

        Args:
          x: maps.
          name: `nearest`, or `bilinear` with repeated borders, as in `mulligan.networks.resampling`.
          crop: rows and columns, for 7 and 8 both come from 4.
        """
        ...

    def filter(self, x: Tensor, rows: Float[np.ndarray, "h h"], columns: Float[np.ndarray, "w w"]) -> Tensor:
        """`rows @ x @ columns^T` of the pixels of each channel."""
        ...

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """The numbers of each example in another shape."""
        ...

    def add(self, x: Tensor, y: Tensor | Float[np.ndarray, "..."]) -> Tensor:
        """`x + y`: another tensor of the same shape, or a constant array of one example's shape or of its last axis."""
        ...

    def spread(self, x: Tensor, maps: Float[np.ndarray, "h w c"]) -> Tensor:
        """`[n, c] -> [n, h, w, c]`: each channel's number times its map."""
        ...

    def activate(self, x: Tensor, name: str) -> Tensor:
        """By a name in `mulligan.networks.layers.ACTIVATIONS`."""
        ...

    def normalise(self, x: Tensor, name: str) -> Tensor:
        """By `pixel` or `group`, as in `mulligan.networks.normalisation`."""
        ...

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`softmax(queries keys^T) values` of `[n, pixels, d]`, unscaled."""
        ...

    def append_class(self, latents: Tensor, labels: Tensor, vectors: Float[np.ndarray, "classes d"]) -> Tensor:
        """The vector of each label behind its latent: `[n, e] -> [n, e + d]`; labels are integers `[n]`."""
        ...

    def choose(self, latents: Tensor, images: Sequence[Tensor], shares: Float[np.ndarray, " k"]) -> Tensor:
        """The image of the first member `i` whose `shares[i]` is above the latent's number: `networks.mixture`.

        Args:
          latents: that drew the images.
          images: of every member, pixels `[n, h, w, c]`.
          shares: cumulative, as `mulligan.networks.mixture.shares` gives them.
        """
        ...
