"""Layers: Equinox modules, batch in and batch out.

Every leaf is a float32 array; the rest is static, so that a network can be the carry of `lax.scan`. Weights
start normal with variance `gain^2 / fan_in`, biases at zero (He et al. 2015, arXiv 1502.01852): with the
gain of the activation before it, a layer's output starts with unit variance at any width and depth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mulligan.errors import MulliganError
from mulligan.networks.convolution import conv2d, conv2d_transpose
from mulligan.networks.normalisation import NORMALISATIONS, at_edge
from mulligan.networks.resampling import low_pass
from mulligan.types import Key, Pytree

Shape = tuple[int, ...]
ImageShape = tuple[int, int, int]  # rows, columns, channels
Layer = Callable[[Array], Array]


class Activation(NamedTuple):
    """`gain`: 1 / root mean square of `function` at a standard normal."""

    function: Callable[[Array], Array]
    gain: float


SLOPE = 0.2  # of leaky_relu, below zero
SLOPES = {"relu": 0.0, "leaky_relu": SLOPE}  # of rectifiers, below zero


def leaky_relu(x: Array) -> Array:
    return jax.nn.leaky_relu(x, SLOPE)


ACTIVATIONS = {
    "relu": Activation(jax.nn.relu, math.sqrt(2.0)),
    "leaky_relu": Activation(leaky_relu, math.sqrt(2.0 / 1.04)),
    "elu": Activation(jax.nn.elu, 1.2452),
    "silu": Activation(jax.nn.silu, 1.6765),
    "gelu": Activation(jax.nn.gelu, 1.5335),
    "tanh": Activation(jnp.tanh, 1.5925),
}


def deviation(shape: Shape, fan_in: float, gain: float = 1.0) -> Float[Array, "..."]:
    """The standard deviation `gain / sqrt(fan_in)` for each weight of an array.

    Args:
      shape: of the array.
      fan_in: how many inputs an output adds up.
      gain: of the activation before the layer (`Activation`), 1 where there is none.
    """
    return jnp.full(shape, gain / math.sqrt(fan_in), jnp.float32)


def randomised(module: Pytree, key: Key) -> Pytree:
    """Draws every parameter from the normal distribution whose standard deviation it holds.

    One draw for the whole pytree: compiling a draw for each shape of weights takes many seconds.

    Args:
      module: leaves that are float32 standard deviations (`deviation`), 0 for what starts at zero.
      key: of the draw; the same key gives the same numbers.
    """
    deviations, structure = jax.tree.flatten(module)
    ends = list(itertools.accumulate(leaf.size for leaf in deviations))
    noise = jnp.split(jax.random.normal(key, (ends[-1],), jnp.float32), ends[:-1])
    drawn = [leaf * part.reshape(leaf.shape) for leaf, part in zip(deviations, noise, strict=True)]
    return jax.tree.unflatten(structure, drawn)


class Style(NamedTuple):
    """How a layer's weights start (see `deviation`), and a name in `NORMALISATIONS`."""

    gain: float = 1.0
    normalisation: str = "none"


PLAIN = Style()


def styles(activation: str, normalisation: str) -> tuple[Style, Style, Style]:
    """The styles of a network's first layer, of its inner ones, and of its last."""
    gain = ACTIVATIONS[activation].gain
    return Style(1.0, at_edge(normalisation)), Style(gain, normalisation), Style(gain, at_edge(normalisation))


class Dense(eqx.Module):
    """Affine map from `[n, *inputs]` to `[n, *outputs]`; `outputs = ()` gives `[n]`."""

    weight: Float[Array, "i o"]
    bias: Float[Array, "..."]
    normalisation: str = eqx.field(static=True)

    def __init__(self, inputs: Shape, outputs: Shape, style: Style = PLAIN) -> None:
        fan_in = math.prod(inputs)
        self.weight = deviation((fan_in, math.prod(outputs)), fan_in, style.gain)
        self.bias = jnp.zeros(outputs, jnp.float32)
        self.normalisation = style.normalisation

    def __call__(self, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        normalisation = NORMALISATIONS[self.normalisation]
        product = x.reshape(x.shape[0], -1) @ normalisation.weight(self.weight)
        return normalisation.maps(product.reshape(-1, *self.bias.shape)) + self.bias


class Conv(eqx.Module):
    """Convolution `[n, h, w, ci] -> [n, ceil(h / stride), ceil(w / stride), co]` with bias."""

    kernel: Float[Array, "k k ci co"]
    bias: Float[Array, " co"]
    stride: int = eqx.field(static=True)
    normalisation: str = eqx.field(static=True)
    folded: bool = eqx.field(static=True)

    def __init__(self, shape: Shape, stride: int = 1, style: Style = PLAIN, folded: bool = False) -> None:
        """A layer whose weights hold their standard deviations (`randomised`).

        Args:
          shape: of the kernel, `(k, k, ci, co)`.
          stride: the same for rows and columns.
          style: of the weights and the maps.
          folded: with a stride of 2, a convolution of stride 1 and the means of 2x2 after it, as one (`fold`).
        """
        scale = 4 * fold_scale(shape[0]) if folded else 1.0
        self.kernel = deviation(shape, math.prod(shape[:3]) * scale**2, style.gain)
        self.bias = jnp.zeros(shape[3], jnp.float32)
        self.stride = stride
        self.normalisation = style.normalisation
        self.folded = folded

    def __call__(self, x: Float[Array, "n h w ci"]) -> Float[Array, "n oh ow co"]:
        normalisation = NORMALISATIONS[self.normalisation]
        return normalisation.maps(conv2d(x, normalisation.weight(taps_of(self)), self.stride)) + self.bias


class ConvTranspose(eqx.Module):
    """Transposed convolution of stride 2, `[n, ceil(h / 2), ceil(w / 2), ci] -> [n, h, w, co]`, with bias."""

    kernel: Float[Array, "k k ci co"]
    bias: Float[Array, " co"]
    out_hw: tuple[int, int] = eqx.field(static=True)
    normalisation: str = eqx.field(static=True)
    folded: bool = eqx.field(static=True)
    filtered: bool = eqx.field(static=True)

    def __init__(
        self,
        shape: Shape,
        out_hw: tuple[int, int],
        style: Style = PLAIN,
        folded: bool = False,
        filtered: bool = False,
    ) -> None:
        """A layer whose weights hold their standard deviations (`randomised`).

        Args:
          shape: of the kernel, `(k, k, ci, co)`; an output pixel sees a quarter of its taps.
          out_hw: rows and columns to reach, for 7 and 8 both come from 4.
          style: of the weights and the maps.
          folded: every pixel repeated 2x2 and then a convolution, as one (`fold`).
          filtered: a low pass takes out what the doubling leaves of its grid (`resampling.low_pass`).
        """
        fan_in = math.prod(shape[:3]) * fold_scale(shape[0]) ** 2 if folded else math.prod(shape[:3]) / 4
        self.kernel = deviation(shape, fan_in, style.gain)
        self.bias = jnp.zeros(shape[3], jnp.float32)
        self.out_hw = out_hw
        self.normalisation = style.normalisation
        self.folded = folded
        self.filtered = filtered

    def __call__(self, x: Float[Array, "n h w ci"]) -> Float[Array, "n oh ow co"]:
        normalisation = NORMALISATIONS[self.normalisation]
        maps = conv2d_transpose(x, normalisation.weight(taps_of(self)), 2, self.out_hw)
        return normalisation.maps(low_pass(maps) if self.filtered else maps) + self.bias


def taps_of(layer: Conv | ConvTranspose) -> Float[Array, "t t ci co"]:
    """The kernel that the maps meet."""
    return fold(layer.kernel) if layer.folded else layer.kernel


def fold(kernel: Float[Array, "k k ci co"]) -> Float[Array, "t t ci co"]:
    """A kernel and the means of 2x2 as one kernel, a row and a column larger; the mirror image doubles a map.

    A transposed convolution with it is nearest-neighbour resizing and a convolution (Odena et al. 2016,
    "Deconvolution and checkerboard artifacts", doi 10.23915/distill.00003), one of stride 2 a convolution and average
    pooling, both for the price of the larger kernel: no pixel meets other weights than its neighbours.
    """
    for axis in (0, 1):
        before, after = [[(0, 0)] * 4 for _ in range(2)]
        before[axis], after[axis] = (1, 0), (0, 1)
        kernel = jnp.pad(kernel, before) + jnp.pad(kernel, after)
    return kernel * fold_scale(kernel.shape[0] - 1)


def fold_scale(side: int) -> float:
    """By what the taps of a folded kernel are multiplied, so that a step of all its weights moves maps of one colour as
    far as a step of a kernel a row and a column larger does.

    Example:
      >>> round(fold_scale(3), 3)
      0.444
    """
    return ((side + 1) / (2 * side)) ** 2


class Activate(eqx.Module):
    """An activation, by its name in `ACTIVATIONS`."""

    name: str = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return ACTIVATIONS[self.name].function(x)


class MinibatchStd(eqx.Module):
    """Appends one channel: how much the examples around this one differ.

    After Karras et al. 2018, arXiv 1710.10196, section 3: the standard deviation over groups of 4
    consecutive examples (2 or 1 where the batch does not divide), averaged over pixels and channels. Real
    and fake examples laid end to end stay apart when each are a multiple of 4.
    """

    def __call__(self, x: Float[Array, "n ... c"]) -> Float[Array, "n ... c+1"]:
        n = x.shape[0]
        size = math.gcd(n, 4)
        groups = x.reshape(n // size, size, -1)
        # The root has no finite slope at a variance of 0, which equal examples have.
        spread = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8).mean(axis=1)
        channel = jnp.repeat(spread, size).reshape(n, *[1] * (x.ndim - 1))
        return jnp.concatenate([x, jnp.broadcast_to(channel, (*x.shape[:-1], 1))], axis=-1)


class SelfAttention(eqx.Module):
    """`x + attention(x)` over pixels (Zhang et al. 2019, arXiv 1805.08318); starts as the identity."""

    query: Float[Array, "c d"]
    key: Float[Array, "c d"]
    value: Float[Array, "c v"]
    output: Float[Array, "v c"]

    def __init__(self, channels: int) -> None:
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.query = deviation((channels, inner), channels)
        self.key = deviation((channels, inner), channels)
        self.value = deviation((channels, values), channels)
        self.output = jnp.zeros((values, channels), jnp.float32)  # the identity, until training moves it

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        pixels = x.reshape(x.shape[0], -1, x.shape[-1])
        queries, keys, values = pixels @ self.query, pixels @ self.key, pixels @ self.value
        scores = jnp.einsum("nqd,nkd->nqk", queries, keys) / math.sqrt(self.key.shape[1])
        return x + (jax.nn.softmax(scores) @ values @ self.output).reshape(x.shape)


class LatentAndClass(eqx.Module):
    """Appends a learned vector of the class to each latent: `[n, d] -> [n, 2d]`."""

    vectors: Float[Array, "classes d"]

    def __init__(self, classes: int, latent: int) -> None:
        self.vectors = deviation((classes, latent), 1)

    def __call__(self, z: Float[Array, "n d"], labels: Int[Array, " n"]) -> Float[Array, "n 2*d"]:
        return jnp.concatenate([z, jnp.take(self.vectors, labels, axis=0)], axis=1)


class Head(eqx.Module):
    """Features to logits `[n]`; with classes, plus the inner product with a learned vector of the class.

    The projection discriminator (Miyato & Koyama 2018, arXiv 1802.05637, equation 3).
    """

    dense: Dense
    vectors: Float[Array, "classes f"] | None

    def __init__(self, features: Shape, classes: int, style: Style = PLAIN) -> None:
        count = math.prod(features)
        self.dense = Dense(features, (), style)
        self.vectors = deviation((classes, count), count, style.gain) if classes else None

    def __call__(self, x: Float[Array, "n ..."], labels: Int[Array, " n"] | None) -> Float[Array, " n"]:
        labels = checked(labels, self.vectors is not None)
        if self.vectors is None or labels is None:
            return self.dense(x)
        vectors = NORMALISATIONS[self.dense.normalisation].weight(self.vectors)
        of_class = jnp.take(vectors, labels, axis=0)
        return self.dense(x) + jnp.sum(of_class * x.reshape(x.shape[0], -1), axis=1)


def checked(labels: Int[Array, " n"] | None, classes: bool) -> Int[Array, " n"] | None:
    """The labels, which a network with classes needs, and one without does not take.

    Raises:
      MulliganError: they are missing, or there are some.
    """
    if labels is None and classes:
        raise MulliganError("this network was made with classes: give the label of each image.")
    if labels is not None and not classes:
        raise MulliganError("this network was made without classes: leave the labels out, or train with labels.")
    return labels
