"""Halving and doubling feature maps without weights, and the sizes that a network goes through.

Going down, `h` rows become `ceil(h / 2)`; going up, the size to reach is given, since 7 and 8 both come
from 4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

Maps = Float[Array, "n h w c"]
Resized = Float[Array, "n oh ow c"]
Size = tuple[int, int]

LOW_PASS = (-1 / 16, 4 / 16, 10 / 16, 4 / 16, -1 / 16)
COARSEST = 7  # halving goes on while the shorter side is above this: networks start from 4 to 7 rows or columns;
LEAST_COARSEST = 4  # with this they start from 3 or 4, so that 28 pixels are halved as often as 32


class Resampling(NamedTuple):
    """Along one axis (1 or 2): `down(x, axis)` halves, `up(x, axis)` doubles."""

    down: Callable[[Maps, int], Resized]
    up: Callable[[Maps, int], Resized]


def mean_of_two(x: Maps, axis: int) -> Resized:
    x = _extend(x, axis, 0, x.shape[axis] % 2)
    even, odd = (x[_along(axis, start, None, 2)] for start in (0, 1))
    return 0.5 * (even + odd)


def triangle(x: Maps, axis: int) -> Resized:
    """Bilinear halving without aliasing: weights 1, 3, 3, 1 over 8; the border is repeated."""
    x = _extend(x, axis, 1, 1 + x.shape[axis] % 2)
    even, odd = (x[_along(axis, start, None, 2)] for start in (0, 1))
    outer = even[_along(axis, None, -1)] + odd[_along(axis, 1)]
    inner = odd[_along(axis, None, -1)] + even[_along(axis, 1)]
    return 0.125 * outer + 0.375 * inner


def repeated(x: Maps, axis: int) -> Resized:
    return _interleave(x, x, axis)


def bilinear(x: Maps, axis: int) -> Resized:
    """Doubling with weights 3/4 and 1/4, pixel centres at halves; the border is repeated."""
    wide = _extend(x, axis, 1, 1)
    before, after = wide[_along(axis, None, -2)], wide[_along(axis, 2)]
    return _interleave(0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after, axis)


# Ways whose kernels resize; sides of kernels that cost as much as each other. "filtered" has the weights of "folded".
STRIDED = {"strided": 4, "folded": 3, "filtered": 3}
FOLDED = ("folded", "filtered")
RESAMPLINGS = {"nearest": Resampling(mean_of_two, repeated), "bilinear": Resampling(triangle, bilinear)}


def low_pass(x: Maps) -> Maps:
    """Takes out what alternates from pixel to pixel and leaves what is even.

    A doubled map holds its own spectrum a second time, mirrored, and what was slow there now nearly alternates
    (Karras et al. 2021, "Alias-free generative adversarial networks", arXiv 2106.12423). This is the filter of five
    taps that has no slope at either end, -1, 4, 10, 4, -1 of 16, along both axes; the border is repeated.

    Example:
      >>> alternating = jnp.ones((1, 8, 1, 1)).at[:, ::2].set(-1.0)
      >>> low_pass(alternating)[0, 2:6, 0, 0].tolist(), low_pass(jnp.ones((1, 8, 1, 1)))[0, :3, 0, 0].tolist()
      ([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """
    rows, columns = (jnp.asarray(low_pass_matrix(size), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ij,kl,njlc->nikc", rows, columns, x)  # sums of shifted maps would take four times as long


@cache
def low_pass_matrix(size: int) -> Float32[np.ndarray, "size size"]:
    """The filter along one axis, as a matrix from pixels to pixels."""
    matrix, reach = np.zeros((size, size), np.float32), len(LOW_PASS) // 2
    for pixel in range(size):
        for tap, weight in enumerate(LOW_PASS, -reach):
            matrix[pixel, min(max(pixel + tap, 0), size - 1)] += weight
    return matrix


class Down(eqx.Module):
    """`[n, h, w, c] -> [n, ceil(h / 2), ceil(w / 2), c]` by a name in `RESAMPLINGS`."""

    name: str = eqx.field(static=True)

    def __call__(self, x: Maps) -> Resized:
        down = RESAMPLINGS[self.name].down
        return down(down(x, 1), 2)


class Up(eqx.Module):
    """`[n, ceil(h / 2), ceil(w / 2), c] -> [n, h, w, c]` by a name in `RESAMPLINGS`."""

    name: str = eqx.field(static=True)
    out_hw: Size = eqx.field(static=True)

    def __call__(self, x: Maps) -> Resized:
        up = RESAMPLINGS[self.name].up
        return up(up(x, 1), 2)[:, : self.out_hw[0], : self.out_hw[1]]


def halvings(size: Size, coarsest: int = COARSEST) -> list[Size]:
    """The sizes from the image's own down to the first whose shorter side is at most `coarsest`.

    Example:
      >>> halvings((28, 28)), halvings((9, 64)), halvings((28, 28), coarsest=4)
      ([(28, 28), (14, 14), (7, 7)], [(9, 64), (5, 32)], [(28, 28), (14, 14), (7, 7), (4, 4)])
    """
    sizes = [size]
    while min(sizes[-1]) > coarsest:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def doublings(width: int, count: int) -> list[int]:
    """Channels at `count` sizes, finest first: doubled at each halving, up to 8 times the first.

    Example:
      >>> doublings(32, 5)
      [32, 64, 128, 256, 256]
    """
    return [width * min(2**level, 8) for level in range(count)]


def nearest_to_8(sizes: list[Size]) -> int:
    """Which of the sizes has an area nearest 8 x 8, on a logarithmic scale.

    Example:
      >>> nearest_to_8([(32, 32), (16, 16), (8, 8), (4, 4)])
      2
    """
    return min(
        range(len(sizes)),
        key=lambda level: max(area := sizes[level][0] * sizes[level][1], 64) / min(area, 64),
    )


def _extend(x: Maps, axis: int, before: int, after: int) -> Resized:
    padding = [(0, 0)] * x.ndim
    padding[axis] = (before, after)
    return jnp.pad(x, padding, mode="edge")


def _along(axis: int, start: int | None, stop: int | None = None, step: int | None = None) -> tuple[slice, ...]:
    """The index of a part along one axis."""
    return (*[slice(None)] * axis, slice(start, stop, step))


def _interleave(even: Maps, odd: Maps, axis: int) -> Resized:
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
