"""Fully connected networks; the article's 128-128-784 has width 128 and depth 2."""

from __future__ import annotations

from mulligan.networks.layers import (
    Activate,
    Dense,
    ImageShape,
    Layer,
    MinibatchStd,
    Shape,
    Style,
    styles,
)
from mulligan.recipe import Architecture


def generator(architecture: Architecture, inputs: int, shape: ImageShape) -> list[Layer]:
    """Layers from `[n, inputs]` to `[n, *shape]`."""
    hidden = (architecture.gen_width,)
    _, inner, last = styles(architecture.activation, architecture.gen_normalisation)
    layers: list[Layer] = [Dense((inputs,), hidden, Style(1.0, inner.normalisation))]
    for _ in range(architecture.gen_depth - 1):
        layers += [Activate(architecture.activation), Dense(hidden, hidden, inner)]
    return [*layers, Activate(architecture.activation), Dense(hidden, shape, last)]


def discriminator(architecture: Architecture, shape: ImageShape) -> tuple[list[Layer], Shape]:
    """Layers from `[n, *shape]` to features, and the features' shape."""
    hidden = (architecture.disc_width,)
    first, inner, _ = styles(architecture.activation, architecture.disc_normalisation)
    layers: list[Layer] = [Dense(shape, hidden, first), Activate(architecture.activation)]
    for _ in range(architecture.disc_depth - 1):
        layers += [Dense(hidden, hidden, inner), Activate(architecture.activation)]
    if architecture.minibatch_std:
        return [*layers, MinibatchStd()], (architecture.disc_width + 1,)
    return layers, hidden
