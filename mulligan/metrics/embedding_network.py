"""The networks of the embeddings that ship: strided convolutions, then a dense layer over a coarse grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

KERNEL, STRIDE, SLOPE = 4, 2, 0.1  # of each convolution; of leaky_relu below 0

Weights = Mapping[str, Array]  # names and shapes: `weight_shapes`
Prepared = Float[Array, "n s s 3"]  # square, in [-1, 1]


class Design(NamedTuple):
    """What distinguishes one embedding's network from another's.

    Attributes:
      widths: channels after each 4x4 convolution of stride 2.
      grid: cells a side over which the last maps are averaged before the dense layer.
      units: of the dense layer.
      levels: the maps whose means over all places are features too, before the dense layer's.
      sides: of the input in pixels, each with the longest side of an image that it is for, ascending.
      bound: deviations beyond which a feature grows no more, so that no one artefact outweighs all else.
    """

    widths: tuple[int, ...]
    grid: int
    units: int
    levels: tuple[int, ...]
    sides: tuple[tuple[int, float], ...]
    bound: float = float("inf")

    @property
    def dimension(self) -> int:
        """Numbers of a feature vector."""
        return sum(self.widths[level] for level in self.levels) + self.units

    def side(self, height: int, width: int) -> int:
        """Pixels of the square input for images of this size."""
        return next(side for side, longest in self.sides if max(height, width) <= longest)

    def flops(self, height: int, width: int) -> float:
        """Operations an image, a multiplication with its addition as two."""
        side, channels = self.side(height, width), (3, *self.widths)
        maps = ((side >> layer + 1) ** 2 * KERNEL**2 * a * b for layer, (a, b) in enumerate(pairwise(channels)))
        return 2.0 * (sum(maps) + self.grid**2 * self.widths[-1] * self.units)


DESIGNS = {
    "m1": Design((16, 48, 96), 4, 96, (), ((32, float("inf")),)),
    "m2": Design((24, 48, 96, 160), 2, 128, (1, 2, 3), ((32, 45), (64, float("inf"))), bound=3.0),
}


def weight_shapes(design: Design) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network's weights, without the `mean` and `deviation` of its features."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (before, after) in enumerate(pairwise((3, *design.widths))):
        shapes[f"conv{layer}.kernel"] = (KERNEL, KERNEL, before, after)
        shapes[f"conv{layer}.bias"] = (after,)
    cells = design.grid**2 * design.widths[-1]
    return {**shapes, "dense.kernel": (cells, design.units), "dense.bias": (design.units,)}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """He-normal kernels, biases zero."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])) * (len(shape) > 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def activations(design: Design, weights: Weights, pixels: Prepared) -> list[Array]:
    """Outputs of the convolutions, `[n, s/2, s/2, widths[0]]` and so on, and of the dense layer, `[n, units]`.

    Args:
      design: of the network.
      weights: as `weight_shapes` names them.
      pixels: of a side that is in `design.sides`.
    """
    outputs, current = [], pixels
    for layer in range(len(design.widths)):
        current = jax.lax.conv_general_dilated(
            current,
            weights[f"conv{layer}.kernel"],
            window_strides=(STRIDE, STRIDE),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
        current = jax.nn.leaky_relu(current + weights[f"conv{layer}.bias"], SLOPE)
        outputs.append(current)
    n, side, _, channels = current.shape
    cell = side // design.grid
    cells = current.reshape(n, design.grid, cell, design.grid, cell, channels).mean((2, 4)).reshape(n, -1)
    dense = jnp.matmul(cells, weights["dense.kernel"], precision=jax.lax.Precision.HIGHEST)
    return [*outputs, jax.nn.leaky_relu(dense + weights["dense.bias"], SLOPE)]


def features(design: Design, weights: Weights, pixels: Prepared) -> Float[Array, "n d"]:
    """The means of the levels and the dense layer, as they come."""
    *maps, dense = activations(design, weights, pixels)
    return jnp.concatenate([*(maps[level].mean((1, 2)) for level in design.levels), dense], axis=1)


def standardised(design: Design, weights: Weights, pixels: Prepared) -> Float[Array, "n d"]:
    """Features less `mean`, over `deviation`: constants kept with the weights, the same for all tasks; then bounded."""
    found = (features(design, weights, pixels) - weights["mean"]) / weights["deviation"]
    return found if math.isinf(design.bound) else design.bound * jnp.tanh(found / design.bound)
