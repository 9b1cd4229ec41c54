"""Convolutional networks after DCGAN (Radford et al. 2016, arXiv 1511.06434).

The discriminator halves the image until its shorter side is 4 to 7, doubling the channels; the generator is
its mirror. Each inner size has `depth` extra 3x3 convolutions. Resampling is the convolution's own stride
(`strided`; `folded` for kernels that hold a filter themselves; `filtered` for these and a low pass after the
generator's), or a filter beside it: the generator resizes and then convolves, the discriminator convolves, activates
and then resizes.
"""

from __future__ import annotations

from mulligan.networks.layers import (
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
    styles,
)
from mulligan.networks.resampling import FOLDED, STRIDED, Down, Up, doublings, halvings, nearest_to_8
from mulligan.recipe import Architecture


def generator(architecture: Architecture, inputs: int, shape: ImageShape) -> list[Layer]:
    """Layers from `[n, inputs]` to `[n, *shape]`."""
    activate = Activate(architecture.activation)
    _, inner, last = styles(architecture.activation, architecture.gen_normalisation)
    sizes = halvings(shape[:2], architecture.coarsest)
    channels = [shape[2], *doublings(architecture.gen_width, len(sizes) - 1)]
    attended = 1 + nearest_to_8(sizes[1:])
    layers: list[Layer] = [
        Dense((inputs,), (*sizes[-1], channels[-1]), Style(1.0, inner.normalisation)),
        activate,
    ]
    for level in range(len(sizes) - 1, 0, -1):
        for _ in range(architecture.gen_depth):
            layers += [Conv((3, 3, channels[level], channels[level]), 1, inner), activate]
        if architecture.attention and level == attended:
            layers += [SelfAttention(channels[level])]
        kernel = (architecture.kernel, architecture.kernel, channels[level], channels[level - 1])
        style = inner if level > 1 else last
        if architecture.resampling in STRIDED:
            resizing = architecture.resampling in FOLDED, architecture.resampling == "filtered"
            layers += [ConvTranspose(kernel, sizes[level - 1], style, *resizing)]
        else:
            layers += [Up(architecture.resampling, sizes[level - 1]), Conv(kernel, 1, style)]
        layers += [activate] if level > 1 else []
    return layers


def discriminator(architecture: Architecture, shape: ImageShape) -> tuple[list[Layer], Shape]:
    """Layers from `[n, *shape]` to features, and the features' shape."""
    activate = Activate(architecture.activation)
    first, inner, _ = styles(architecture.activation, architecture.disc_normalisation)
    sizes = halvings(shape[:2], architecture.coarsest)
    channels = [shape[2], *doublings(architecture.disc_width, len(sizes) - 1)]
    attended = 1 + nearest_to_8(sizes[1:])
    layers: list[Layer] = []
    for level in range(1, len(sizes)):
        kernel = (architecture.kernel, architecture.kernel, channels[level - 1], channels[level])
        style = inner if level > 1 else first
        if architecture.resampling in STRIDED:
            layers += [Conv(kernel, 2, style, architecture.resampling in FOLDED), activate]
        else:
            layers += [Conv(kernel, 1, style), activate, Down(architecture.resampling)]
        if architecture.attention and level == attended:
            layers += [SelfAttention(channels[level])]
        for _ in range(architecture.disc_depth):
            layers += [Conv((3, 3, channels[level], channels[level]), 1, inner), activate]
    features = channels[-1] + architecture.minibatch_std
    layers += [MinibatchStd()] if architecture.minibatch_std else []
    return layers, (*sizes[-1], features)
