"""The blocks of EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946), with a gradient that is quick on a CPU.

A network of inverted residuals without squeeze and excitation. Its weights are constants here: images and maps can be
differentiated, nothing else. The compiler's gradients of convolutions in groups, and of strides, take ten times as long
as the maps themselves, so convolutions by channel are sums of shifted maps whose gradient is another such sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.networks.convolution import conv2d
from mulligan.types import Pixels

Maps = Float[Array, "n h w c"]
Out = Float[Array, "n oh ow co"]
Layers = Mapping[str, Array | np.ndarray]  # kernels and biases by name: `stem.kernel`, `3.depthwise.bias`
BLOCK_STRIDE = 16  # by which both sides must be divisible, for the maps of all blocks but the last five


class Stage(NamedTuple):
    """Blocks alike but for the first, which may stride and widen."""

    blocks: int
    stride: int


STAGES = (Stage(1, 1), Stage(2, 2), Stage(2, 2), Stage(3, 2), Stage(3, 1), Stage(4, 2), Stage(1, 1))


class Block(NamedTuple):
    """Its number, its stride, and whether its input is added to what comes out."""

    number: int
    stride: int
    residual: bool


def blocks() -> Iterator[Block]:
    """All blocks, from the images' side."""
    number = 0
    for stage in STAGES:
        for first in (True, *(False,) * (stage.blocks - 1)):
            yield Block(number, stage.stride if first else 1, not first)
            number += 1


def block_maps(layers: Layers, images: Pixels, wanted: tuple[int, ...]) -> tuple[Array, ...]:
    """The maps that blocks give for colour images, whose sides every stride up to there halves.

    Args:
      layers: of the stem, `[3, 3, 3, c]`, and of the blocks: `expand` and `project`, `[ci, co]`, and `depthwise`,
        `[k, k, c]`, each with a `kernel` and a `bias`; the normalisation of batches is within them.
      images: `[n, h, w, 3]` in [-1, 1].
      wanted: numbers of blocks, in order.
    """
    # Rows 2i to 2i + 2 under a kernel of side 3, where ours would begin at 2i - 1.
    stem = jnp.pad(jnp.asarray(layers["stem.kernel"]), ((1, 0), (1, 0), (0, 0), (0, 0)))
    x = _bounded(conv2d(images, stem, 2) + layers["stem.bias"])
    found = []
    for number, stride, residual in blocks():
        before = x
        if f"{number}.expand.kernel" in layers:
            x = _bounded(x @ layers[f"{number}.expand.kernel"] + layers[f"{number}.expand.bias"])
        kernel = jnp.asarray(layers[f"{number}.depthwise.kernel"])
        mapped = _by_channel(x, kernel) if stride == 1 else _by_channel_halved(x, kernel)
        x = _bounded(mapped + layers[f"{number}.depthwise.bias"])
        x = x @ layers[f"{number}.project.kernel"] + layers[f"{number}.project.bias"]
        x = x + before if residual else x
        if number in wanted:
            found.append(x)
        if len(found) == len(wanted):
            break
    return tuple(found)


def block_flops(layers: Layers, size: tuple[int, int], last: int) -> float:
    """Operations on one image of this size, up to the maps of block `last`: a multiplication with its addition is two.

    Example:
      >>> shapes = {"stem.kernel": (3, 3, 3, 8), "0.depthwise.kernel": (3, 3, 8), "0.project.kernel": (8, 4)}
      >>> block_flops({name: np.zeros(shape) for name, shape in shapes.items()}, (16, 16), 0) / 64
      640.0
    """
    pixels = math.prod(size) / 4
    flops = 2.0 * layers["stem.kernel"].size * pixels
    for number, stride, _ in itertools.islice(blocks(), last + 1):
        if f"{number}.expand.kernel" in layers:
            flops += 2.0 * layers[f"{number}.expand.kernel"].size * pixels
        pixels /= stride**2
        parts = (layers[f"{number}.{part}.kernel"].size for part in ("depthwise", "project"))
        flops += 2.0 * sum(parts) * pixels
    return flops


def _bounded(x: Maps) -> Maps:
    return jnp.clip(x, 0, 6)


# --- convolutions by channel


@jax.custom_vjp
def _by_channel(x: Maps, kernel: Float[Array, "k k c"]) -> Maps:
    reach = len(kernel) // 2
    return _shifted(_padded(x, (reach, reach), (reach, reach)), kernel)


def _by_channel_backward(kernel: Array, gradient: Maps) -> tuple[Maps, None]:
    return _by_channel(gradient, kernel[::-1, ::-1]), None


_by_channel.defvjp(lambda x, kernel: (_by_channel(x, kernel), kernel), _by_channel_backward)


@jax.custom_vjp
def _by_channel_halved(x: Maps, kernel: Float[Array, "k k c"]) -> Out:
    """With a stride of 2, the padding shared out evenly and what is left over at the end."""
    n, h, w, c = x.shape
    split = x.reshape(n, h // 2, 2, w // 2, 2, c)
    parts = [
        _shifted(_padded(split[:, :, row, :, column], rows.beside, columns.beside), kernel[rows.taps, columns.taps])
        for row, rows in enumerate(_phases(len(kernel)))
        for column, columns in enumerate(_phases(len(kernel)))
    ]
    return sum(parts[1:], parts[0])


def _by_channel_halved_backward(kernel: Array, gradient: Maps) -> tuple[Out, None]:
    n, h, w, c = gradient.shape
    phases = _phases(len(kernel))
    rows = [
        [
            _shifted(_padded(gradient, down.turned, right.turned), kernel[down.taps, right.taps][::-1, ::-1])
            for right in phases
        ]
        for down in phases
    ]
    interleaved = jnp.stack([jnp.stack(columns, axis=3) for columns in rows], axis=2)
    return interleaved.reshape(n, 2 * h, 2 * w, c), None


_by_channel_halved.defvjp(lambda x, kernel: (_by_channel_halved(x, kernel), kernel), _by_channel_halved_backward)


class _Phase(NamedTuple):
    """The taps of a kernel that meet every other row, from the first or from the second."""

    taps: slice
    beside: tuple[int, int]  # rows that they reach before and after

    @property
    def turned(self) -> tuple[int, int]:
        """What they reach from an output's side, after and before."""
        return self.beside[1], self.beside[0]


def _phases(side: int) -> tuple[_Phase, _Phase]:
    """Of a kernel of this side at stride 2, whose first tap is `(side - 2) // 2` rows before its output's first."""
    before = (side - 2) // 2
    found = []
    for phase in (0, 1):
        taps = range((phase + before) % 2, side, 2)
        reaches = [(tap - before - phase) // 2 for tap in taps]
        found.append(_Phase(slice(taps.start, side, 2), (-reaches[0], reaches[-1])))
    return found[0], found[1]


def _padded(x: Maps, rows: tuple[int, int], columns: tuple[int, int]) -> Out:
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _shifted(x: Maps, kernel: Float[Array, "r s c"]) -> Out:
    """Each channel's convolution with its own kernel, without padding, as a sum of shifted maps."""
    rows, columns = kernel.shape[:2]
    h, w = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    taps = [x[:, i : i + h, j : j + w] * kernel[i, j] for i in range(rows) for j in range(columns)]
    return sum(taps[1:], taps[0])
