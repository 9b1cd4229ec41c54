"""Residual networks after R3GAN (Huang et al. 2024, arXiv 2501.05441).

Generator and discriminator are mirror images: at each size `depth` blocks of a 1x1, a `kernel` x `kernel`
and a 1x1 convolution beside an identity, between sizes a resampling and a 1x1 convolution (`strided`: one
2x2 convolution for both), at the coarsest size one learned map a channel. Unlike R3GAN's, the middle
convolution is full, not grouped, and no wider than its block. Spectral normalisation leaves the learned
maps alone.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.networks.layers import (
    ACTIVATIONS,
    Activate,
    Conv,
    ConvTranspose,
    Dense,
    ImageShape,
    Layer,
    MinibatchStd,
    SelfAttention,
    Shape,
    Style,
    deviation,
    styles,
)
from mulligan.networks.resampling import Down, Up, doublings, halvings, nearest_to_8
from mulligan.recipe import Architecture


class Block(eqx.Module):
    """`x + conv(f(conv(f(conv(x)))))` with kernels of side 1, k, 1; starts as the identity."""

    expand: Conv
    mix: Conv
    merge: Conv
    activation: str = eqx.field(static=True)

    def __init__(self, shape: Shape, style: Style, activation: str) -> None:
        """`shape`: of the middle kernel, `(k, k, c, c)`; `style`: of all but the last convolution."""
        side_1 = (1, 1, *shape[2:])
        # A weight divided by its norm cannot start at zero: it would have no direction to grow in.
        last = style if style.normalisation == "spectral" else Style(0.0)
        self.expand = Conv(side_1, 1, style)
        self.mix = Conv(shape, 1, style)
        self.merge = Conv(side_1, 1, last)
        self.activation = activation

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        activate = Activate(self.activation)
        return x + self.merge(activate(self.mix(activate(self.expand(x)))))


class Unfold(eqx.Module):
    """Latent `[n, d]` to `[n, h, w, c]`: one amplitude a channel times a learned map of it."""

    amplitudes: Dense
    maps: Float[Array, "h w c"]

    def __init__(self, inputs: int, shape: Shape) -> None:
        self.amplitudes = Dense((inputs,), shape[2:])
        self.maps = deviation(shape, 1)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n h w c"]:
        return self.amplitudes(x)[:, None, None, :] * self.maps


class Fold(eqx.Module):
    """`[n, h, w, c] -> [n, c]`: each channel's inner product with a learned map; the mirror of `Unfold`."""

    maps: Float[Array, "h w c"]

    def __init__(self, shape: Shape) -> None:
        self.maps = deviation(shape, shape[0] * shape[1])

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
        return jnp.sum(x * self.maps, axis=(1, 2))


def generator(architecture: Architecture, inputs: int, shape: ImageShape) -> list[Layer]:
    """Layers from `[n, inputs]` to `[n, *shape]`."""
    sizes = halvings(shape[:2], architecture.coarsest)
    channels = doublings(architecture.gen_width, len(sizes))
    style = fixup(architecture.activation, architecture.gen_normalisation, architecture.gen_depth * len(sizes))
    layers: list[Layer] = [Unfold(inputs, (*sizes[-1], channels[-1]))]
    for level in reversed(range(len(sizes))):
        square = (architecture.kernel, architecture.kernel, channels[level], channels[level])
        for _ in range(architecture.gen_depth):
            layers += [Block(square, style, architecture.activation)]
        if architecture.attention and level == nearest_to_8(sizes):
            layers += [SelfAttention(channels[level])]
        if level:
            change, size = (channels[level], channels[level - 1]), sizes[level - 1]
            if architecture.resampling == "strided":
                layers += [ConvTranspose((2, 2, *change), size)]
            else:  # the 1x1 convolution first, while there are fewer pixels
                layers += [Conv((1, 1, *change)), Up(filter_of(architecture), size)]
    return [*layers, Conv((1, 1, channels[0], shape[2]))]


def discriminator(architecture: Architecture, shape: ImageShape) -> tuple[list[Layer], Shape]:
    """Layers from `[n, *shape]` to features, and the features' shape."""
    sizes = halvings(shape[:2], architecture.coarsest)
    channels = doublings(architecture.disc_width, len(sizes))
    linear, _, _ = styles(architecture.activation, architecture.disc_normalisation)
    style = fixup(architecture.activation, architecture.disc_normalisation, architecture.disc_depth * len(sizes))
    layers: list[Layer] = [Conv((1, 1, shape[2], channels[0]), 1, linear)]
    for level in range(len(sizes)):
        if level:
            change = (channels[level - 1], channels[level])
            if architecture.resampling == "strided":
                layers += [Conv((2, 2, *change), 2, linear)]
            else:
                layers += [Down(filter_of(architecture)), Conv((1, 1, *change), 1, linear)]
        if architecture.attention and level == nearest_to_8(sizes):
            layers += [SelfAttention(channels[level])]
        square = (architecture.kernel, architecture.kernel, channels[level], channels[level])
        for _ in range(architecture.disc_depth):
            layers += [Block(square, style, architecture.activation)]
    features = channels[-1] + architecture.minibatch_std
    layers += [MinibatchStd()] if architecture.minibatch_std else []
    return [*layers, Fold((*sizes[-1], features))], (features,)


def filter_of(architecture: Architecture) -> str:
    """Beside a 1x1 convolution a folded filter is one on its own, which is the cheaper way there."""
    return {"folded": "nearest", "filtered": "bilinear"}.get(architecture.resampling, architecture.resampling)


def fixup(activation: str, normalisation: str, blocks: int) -> Style:
    """Weights inside a branch of one of `blocks` blocks.

    Fixup's factor `blocks^(-1 / (2m - 2))` for branches of m = 3 layers, the last of which starts at zero
    (Zhang, Dauphin & Ma 2019, arXiv 1901.09321).
    """
    return Style(ACTIVATIONS[activation].gain * blocks**-0.25, normalisation)
