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
    """A file format under construction. Maps are `[n, h, w, c]`; every operation returns a new tensor."""

    def dense(self, x: Tensor, weight: Float[np.ndarray, "i o"], bias: Float[np.ndarray, " o"] | None) -> Tensor:
        """`x @ weight + bias` over the last axis."""
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
        """Input pixel `i` times `kernel[a]` added to output `2 i + a`; then rows and columns cropped at both ends."""
        ...

    def enlarge(self, x: Tensor, name: str, crop: tuple[int, int]) -> Tensor:
        """Doubles rows and columns, `nearest` or `bilinear` with repeated borders, then crops at the end."""
        ...

    def reshape(self, x: Tensor, shape: Shape) -> Tensor: ...

    def add_constant(self, x: Tensor, constant: Float[np.ndarray, "..."]) -> Tensor:
        """`x + constant`, which has the shape of one example or of its last axis."""
        ...

    def spread(self, x: Tensor, maps: Float[np.ndarray, "h w c"]) -> Tensor:
        """`[n, c] -> [n, h, w, c]`: each channel's number times its map."""
        ...

    def activate(self, x: Tensor, name: str) -> Tensor:
        """By a name in `mulligan.networks.layers.ACTIVATIONS`."""
        ...

    def normalise(self, x: Tensor, name: str) -> Tensor:
        """`pixel` or `group`, as in `mulligan.networks.normalisation`."""
        ...

    def add(self, x: Tensor, y: Tensor) -> Tensor: ...

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`softmax(queries keys^T) values` of `[n, pixels, d]`, unscaled."""
        ...

    def append_class(self, latents: Tensor, labels: Tensor, vectors: Float[np.ndarray, "classes d"]) -> Tensor:
        """The vector of each label behind its latent: `[n, e] -> [n, e + d]`."""
        ...

    def choose(
        self,
        latents: Tensor,
        images: Sequence[Tensor],
        shares: Float[np.ndarray, " k"],
    ) -> Tensor:
        """The image of the first member `i` whose `shares[i]` is above the latent's number: `networks.mixture`."""
        ...
