"""Two-dimensional convolution and its transpose, each lowered in the way that suits the machine.

On a CPU a matrix product inside `lax.scan` runs at the machine's peak while `lax.conv` runs about ten times
slower than outside it, so there a convolution is a sum of shifted matrix products. On a GPU `lax.conv` is
right.

Geometry, for a kernel of side `k` and stride `s`: the output has `ceil(h / s)` rows, and output row `i` sees
the input rows `i*s - low ... i*s - low + k - 1` with `low = (k - 1) // 2` and zeros outside the image. That
is DCGAN's padding: 1 for k = 4, s = 2; 1 for k = 3, s = 1; 2 for k = 5, s = 2. The transpose is the exact
adjoint of this map.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

Maps = Float[Array, "n h w ci"]
Out = Float[Array, "n oh ow co"]
Kernel = Float[Array, "kh kw ci co"]


_chosen: ContextVar[str | None] = ContextVar("lowering", default=None)


class Lowering(NamedTuple):
    """One way to compute both maps: `(x, kernel, stride)` and `(x, kernel, stride, out_hw)`."""

    conv2d: Callable[[Maps, Kernel, int], Out]
    conv2d_transpose: Callable[[Maps, Kernel, int, tuple[int, int]], Out]


def conv2d(x: Maps, kernel: Kernel, stride: int, lowering: str | None = None) -> Out:
    """Convolution with zero padding: `[n, h, w, ci] -> [n, ceil(h / stride), ceil(w / stride), co]`.

    Args:
      x: feature maps.
      kernel: sides of at least `stride`.
      stride: 1 or more, the same for rows and columns.
      lowering: a name in `LOWERINGS`; by default the one that suits the backend this is traced for.

    Returns:
      Maps in the dtype of `x`, without bias.

    Example:
      >>> conv2d(jnp.ones((1, 7, 8, 3)), jnp.ones((4, 4, 3, 5)), 2).shape
      (1, 4, 4, 5)
    """
    return LOWERINGS[lowering or default_lowering()].conv2d(x, kernel, stride)


def conv2d_transpose(x: Maps, kernel: Kernel, stride: int, out_hw: tuple[int, int], lowering: str | None = None) -> Out:
    """The adjoint of `conv2d` with `kernel.swapaxes(2, 3)`: `[n, h, w, ci] -> [n, *out_hw, co]`.

    Args:
      x: feature maps.
      kernel: sides of at least `stride`; its third axis is contracted with the channels of `x`.
      stride: 1 or more.
      out_hw: size of the output; `ceil(out_hw / stride)` must be the size of `x`.
      lowering: as in `conv2d`.

    Returns:
      Maps in the dtype of `x`, without bias.

    Example:
      >>> conv2d_transpose(jnp.ones((1, 4, 4, 5)), jnp.ones((4, 4, 5, 3)), 2, (7, 8)).shape
      (1, 7, 8, 3)
    """
    return LOWERINGS[lowering or default_lowering()].conv2d_transpose(x, kernel, stride, out_hw)


def default_lowering() -> str:
    """The lowering that was chosen, or the one for the backend in use: `matmul` on a CPU, `conv` elsewhere."""
    return _chosen.get() or ("matmul" if jax.default_backend() == "cpu" else "conv")


@contextmanager
def lowered(name: str) -> Iterator[None]:
    """What is traced inside is lowered so.

    Kernels that `vmap` has made many are `matmul` on a GPU, too: `lax.conv` becomes a convolution of groups there,
    which took six times as long where it was measured (docs/log/2026-11-26-few-shot-larger-networks.md).
    """
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


# --- lax.conv -------------------------------------------------------------------------------------

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _conv(x: Maps, kernel: Kernel, stride: int) -> Out:
    padding = []
    for size, side in zip(x.shape[1:3], kernel.shape, strict=False):
        low, out = _low(side), -(-size // stride)
        padding.append((low, (out - 1) * stride + side - size - low))  # so that `out` windows fit
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def _conv_transpose(x: Maps, kernel: Kernel, stride: int, out_hw: tuple[int, int]) -> Out:
    padding = []
    for size, out, side in zip(x.shape[1:3], out_hw, kernel.shape, strict=False):
        low = _low(side)
        padding.append((side - 1 - low, out - (size - 1) * stride - 1 + low))
    return lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), padding, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT
    )


def _low(side: int) -> int:
    return (side - 1) // 2


# --- sums of shifted matrix products --------------------------------------------------------------


def _matmul(x: Maps, kernel: Kernel, stride: int) -> Out:
    rows, columns = (-(-size // stride) for size in x.shape[1:3])
    return strided_products(x, kernel, stride, (_low(kernel.shape[0]), _low(kernel.shape[1])), (rows, columns))


def _matmul_transpose(x: Maps, kernel: Kernel, stride: int, out_hw: tuple[int, int]) -> Out:
    return dilated_products(x, kernel, stride, (_low(kernel.shape[0]), _low(kernel.shape[1])), out_hw)


def strided_products(x: Maps, kernel: Kernel, stride: int, low: tuple[int, int], out_hw: tuple[int, int]) -> Out:
    """Output row `i` sees the input rows `i*stride - low ... i*stride - low + k - 1`, with zeros outside the image.

    Space to depth, then `ceil(k / stride)` taps a side, one matrix product a tap.

    Args:
      x: feature maps.
      kernel: sides of at least `stride`.
      stride: 1 or more, the same for rows and columns.
      low: zeros before the first row and column; negative crops.
      out_hw: size of the output.
    """
    th, tw, _, _, _, co = (cells := _cells(kernel, stride)).shape
    taps = cells.reshape(th, tw, -1, co)
    padding = []
    for size, rows, before, count in zip(x.shape[1:3], out_hw, low, taps.shape, strict=False):
        padding.append((before, (rows + count - 1) * stride - size - before, 0))
    x = _pad(x, padding)
    if stride > 1:  # space to depth, its channels in the order of the cells' axes: row, column, channel
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // stride, stride, w // stride, stride, c).swapaxes(2, 3)
        x = blocks.reshape(n, h // stride, w // stride, stride * stride * c)
    return _shifted_products(x, taps, list(out_hw))


def dilated_products(x: Maps, kernel: Kernel, stride: int, low: tuple[int, int], out_hw: tuple[int, int]) -> Out:
    """Input row `i` times `kernel[a]` added to the output row `i*stride - low + a`, where there is one.

    The mirror of `strided_products`: one matrix product a tap, then depth to space, then a crop.

    Args:
      x: feature maps.
      kernel: sides of at least `stride`; its third axis is contracted with the channels of `x`.
      stride: 1 or more, the same for rows and columns.
      low: rows and columns of the whole adjoint that lie before the output, 0 or more.
      out_hw: size of the output.
    """
    th, tw, _, _, ci, _ = (cells := _cells(kernel, stride)[::-1, ::-1]).shape
    taps = jnp.moveaxis(cells, 4, 2).reshape(th, tw, ci, -1)
    padding, rows, crops = [], [], []
    for size, out, before, count in zip(x.shape[1:3], out_hw, low, taps.shape, strict=False):
        first, last = before // stride, -(-(before + out) // stride)  # blocks of output that are kept
        padding.append((count - 1 - first, last - size, 0))
        rows.append(last - first)
        crops.append(slice(before - first * stride, before - first * stride + out))
    y = _shifted_products(_pad(x, padding), taps, rows)
    if stride > 1:  # depth to space
        n, h, w, c = y.shape
        y = y.reshape(n, h, w, stride, stride, c // stride**2).swapaxes(2, 3)
        y = y.reshape(n, h * stride, w * stride, c // stride**2)
    return y[:, crops[0], crops[1]]


def _cells(kernel: Kernel, stride: int) -> Float[Array, "th tw s s ci co"]:
    """The kernel cut into cells of `stride x stride`, after zeros that fill the last cells."""
    kernel = jnp.pad(kernel, [(0, -side % stride) for side in kernel.shape[:2]] + [(0, 0), (0, 0)])
    kh, kw, ci, co = kernel.shape
    return kernel.reshape(kh // stride, stride, kw // stride, stride, ci, co).swapaxes(1, 2)


def _pad(x: Maps, padding: list[tuple[int, int, int]]) -> Float[Array, "n oh ow ci"]:
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])  # negative padding crops


NARROW = 16  # channels below which a matrix product of one tap is too thin to run at speed
FEW = 4  # taps whose inputs are shifted beside each other; copies for the nine of a 3x3 kernel cost more than they save


def _shifted_products(x: Maps, taps: Float[Array, "th tw ci co"], out_hw: list[int]) -> Out:
    """`sum over i, j of x[:, i:i+rows, j:j+columns] @ taps[i, j]`.

    Where taps are few or inputs narrow, a single product with the shifted inputs beside each other. Where outputs are
    narrow (next to the image), a single product of the input with all taps, whose parts are shifted afterwards.
    Otherwise one product a tap.
    """
    th, tw, ci, co = taps.shape
    rows, columns = out_hw
    windows = [(slice(None), slice(i, i + rows), slice(j, j + columns)) for i in range(th) for j in range(tw)]
    if co < min(ci, NARROW):
        parts = jnp.split(_product(x, jnp.moveaxis(taps, 2, 0).reshape(ci, -1)), len(windows), axis=-1)
        return _sum(part[window] for part, window in zip(parts, windows, strict=True))
    if len(windows) <= FEW or ci < NARROW:
        # Stacked, not concatenated: XLA makes a concatenation along the last axis of copies, one after the other.
        beside = jnp.stack([x[window] for window in windows], axis=-2)
        return _product(beside.reshape(*beside.shape[:-2], -1), taps.reshape(-1, co))
    each = [taps[i, j] for i in range(th) for j in range(tw)]
    return _sum(_product(x[window], tap) for window, tap in zip(windows, each, strict=True))


def _sum(terms: Iterable[Array]) -> Array:
    return functools.reduce(jnp.add, terms)


def _product(x: Array, matrix: Float[Array, "ci co"]) -> Array:
    """`x @ matrix` in two dimensions: with more, the gradient of the matrix would first transpose all of `x`."""
    return _rows_product(x.reshape(-1, x.shape[-1]), matrix).reshape(*x.shape[:-1], matrix.shape[-1])


@jax.custom_jvp
def _rows_product(x: Float[Array, "rows ci"], matrix: Float[Array, "ci co"]) -> Float[Array, "rows co"]:
    """`x @ matrix`, for thousands of rows, whose gradient by the matrix is `g.T @ x` for an output's gradient `g`.

    That product sums over rows, which runs at speed only where `g.T` lies in memory as a matrix of its own. So it does
    here: what is behind a barrier XLA does not fold into the product.
    """
    return x @ matrix


@functools.partial(_rows_product.defjvp, symbolic_zeros=True)
def _rows_product_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, Array | SymbolicZero]
) -> tuple[Array, Array]:
    """One of the tangents at least is not zero. Transposed, the term of the matrix is `barrier(barrier(g.T) @ x).T`."""
    (x, matrix), (dx, dmatrix) = primals, tangents
    changes = []
    if not isinstance(dx, SymbolicZero):
        changes.append(_rows_product(dx, matrix))
    if not isinstance(dmatrix, SymbolicZero):
        flat = lax.dot_general(lax.optimization_barrier(dmatrix.T), x, (((1,), (1,)), ((), ())))
        changes.append(lax.optimization_barrier(flat).T)
    return _rows_product(x, matrix), _sum(changes)


LOWERINGS = {"matmul": Lowering(_matmul, _matmul_transpose), "conv": Lowering(_conv, _conv_transpose)}
