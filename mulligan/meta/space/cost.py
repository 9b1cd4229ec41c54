"""What a recipe costs on images of one shape, counted from its layers before anything is compiled.

The count does not depend on the device or on how it lowers a convolution, so that costs measured on different
machines can be compared. It is of matrix products and convolutions alone, two operations for a multiplication with
its addition; activations, normalisations, augmentation and optimisers are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import jax

from mulligan.errors import MulliganError
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.matching import DISC_PASSES
from mulligan.game.penalties import PENALTIES, PIECEWISE_DISC_PASSES
from mulligan.networks.architecture import abstract
from mulligan.networks.features import critics_of, load_features
from mulligan.networks.layers import Activate, Conv, ConvTranspose, Dense, ImageShape, MinibatchStd, SelfAttention
from mulligan.networks.piecewise import is_piecewise_linear
from mulligan.networks.pretrained import architectures
from mulligan.networks.resampling import Down, Up
from mulligan.networks.residual import Block, Fold, Unfold
from mulligan.recipe import Architecture, Recipe

FLOAT_BYTES = 4
STATE_COPIES = 5  # of the parameters: weights, gradient, two moments, an average
LOOKS = 3  # at a pair's features, in passes: real, fake, and back to the fake
JUDGED_COPIES = 6  # of the discriminator's maps: real and fake, each with its slopes and what these leave behind


class Footprint(NamedTuple):
    """What a recipe needs."""

    parameters: int  # of both networks
    flops_per_image: float  # of training, for each real image that the discriminator sees
    bytes: int  # of memory while it trains, roughly: the data not counted


class Limits(NamedTuple):
    """What there is to spend on one training."""

    flops: float = math.inf
    nimg: int = 1  # images that it must see at least
    bytes: float = math.inf


class Pass(NamedTuple):
    """One network on one image."""

    parameters: int
    flops: float
    values: int  # of all maps between layers


def footprint(recipe: Recipe, shape: ImageShape, classes: int = 0) -> Footprint:
    """Counts a recipe's costs on images of `shape`; takes milliseconds.

    The count agrees with the compiler's on a CPU within about a third where products dominate (the tests hold it).

    Raises:
      MulliganError: no networks can be made of these choices.

    Example:
      >>> narrow, wide = (footprint(Recipe(Architecture(gen_width=w, disc_width=w)), (28, 28, 1)) for w in (16, 32))
      >>> 3 < wide.flops_per_image / narrow.flops_per_image < 4
      True
    """
    for table, name, kind in ((LOSSES, recipe.loss, "loss"), (DYNAMICS, recipe.dynamics, "dynamics")):
        if name not in table:
            raise MulliganError(f"{name!r} is not a {kind}; choose {', '.join(table)}.")
    gen, disc, piecewise = passes(recipe.architecture, shape, classes)
    opponents = 1 + recipe.opponents  # each player meets the present one and those of the past
    # Forward passes an image that a discriminator step amounts to: a backward pass counts as two.
    plain = PENALTIES["none"].disc_passes
    cheap = recipe.penalty == "r1r2" and piecewise
    penalised = PIECEWISE_DISC_PASSES if cheap else PENALTIES[recipe.penalty].disc_passes
    disc_passes = plain + (penalised - plain) / recipe.penalty_every
    disc_step = opponents * (disc_passes * disc.flops + gen.flops)
    met = opponents * (2 + LOSSES[recipe.loss]().gen_sees_real + DISC_PASSES * bool(recipe.matching))
    gen_step = 2 * gen.flops + (0 if _looks_once(recipe) else met * disc.flops)
    parameters, values = gen.parameters + disc.parameters, disc.values
    if recipe.features:
        critics, seen = _critics(recipe.features, shape, classes)
        judged = PIECEWISE_DISC_PASSES + 2 + LOSSES[recipe.loss]().gen_sees_real
        gen_step += (LOOKS * seen + judged * critics.flops) / recipe.features_every
        parameters, values = parameters + critics.parameters, values + critics.values
    flops = (disc_step + gen_step / recipe.disc_steps) * DYNAMICS[recipe.dynamics].gradients
    maps = recipe.batch * (2 * gen.values + JUDGED_COPIES * values)
    return Footprint(parameters, flops, FLOAT_BYTES * (STATE_COPIES * parameters + maps))


@lru_cache(maxsize=256)
def _critics(features: str, shape: ImageShape, classes: int) -> tuple[Pass, float]:
    """One forward pass of all critics, and the operations that make an image's features."""
    loaded = load_features(features)
    shapes = loaded.shapes(shape)
    critics = jax.eval_shape(critics_of(shapes, classes), jax.random.key(0))
    each = [
        _forward(critic, [*critic.layers, critic.head.dense], (rows, columns))
        for critic, (rows, columns, _) in zip(critics, shapes, strict=True)
    ]
    parameters, flops, values = (sum(column) for column in zip(*each, strict=True))
    return Pass(int(parameters), flops, int(values)), loaded.flops(shape)


def _looks_once(recipe: Recipe) -> bool:
    """Whether the generator learns from the discriminator's own step where to go: `game.dynamics.both_gradients`."""
    taken = PENALTIES[recipe.penalty].fake_slopes and recipe.penalty_every == 1
    return DYNAMICS[recipe.dynamics].simultaneous and taken and not (recipe.opponents or recipe.matching)


def refusal(recipe: Recipe, shape: ImageShape, classes: int, limits: Limits) -> str | None:
    """Why a recipe cannot be trained within `limits` on images of `shape`, in a sentence; None when it can.

    Example:
      >>> refusal(Recipe(), (28, 28, 1), 0, Limits(flops=1e9, nimg=1000))
      'it would see only 20 images for 1e+09 operations, and 1,000 are needed.'
    """
    try:
        if recipe.init and recipe.architecture not in architectures(recipe.init, shape):
            return f"the initial weights {recipe.init!r} are not for these networks and images of this size."
        needed = footprint(recipe, shape, classes)
    except MulliganError as error:
        return str(error)
    seen = limits.flops / needed.flops_per_image
    if seen < limits.nimg:
        return (
            f"it would see only {seen:,.0f} images for {limits.flops:.3g} operations, and {limits.nimg:,} are needed."
        )
    if needed.bytes > limits.bytes:
        return f"it needs about {needed.bytes / 2**30:.2g} GiB of memory; there are {limits.bytes / 2**30:.2g}."
    return None


@lru_cache(maxsize=4096)
def passes(architecture: Architecture, shape: ImageShape, classes: int) -> tuple[Pass, Pass, bool]:
    """One forward pass of the generator and of the discriminator, and whether the latter is piecewise linear.

    Raises:
      MulliganError: no networks can be made of these choices.
      TypeError: a layer that `LAYERS` does not hold; nobody's mistake but ours.
    """
    generator, discriminator = abstract(architecture, shape, classes).own()
    gen = _forward(generator, generator.layers, (1, 1))
    disc = _forward(discriminator, [*discriminator.layers, discriminator.head.dense], shape[:2])
    return gen, disc, is_piecewise_linear(discriminator)


def _forward(network: Any, layers: Iterable[Any], size: tuple[int, int]) -> Pass:
    """All layers of a network on one image that enters with `size` rows and columns."""
    flops, values, channels = 0.0, 0, 1
    for layer in layers:
        if type(layer) not in LAYERS:
            raise TypeError(f"what a layer {type(layer).__name__} costs is not known: add it to LAYERS.")
        cost, size, channels = LAYERS[type(layer)](layer, size, channels)
        flops += cost
        values += math.prod(size) * channels
    return Pass(sum(leaf.size for leaf in jax.tree.leaves(network)), flops, values)


Size = tuple[int, int]
Counted = tuple[float, Size, int]  # operations on one image, rows and columns of the result, its channels


def _dense(layer: Dense, size: Size, channels: int) -> Counted:
    outputs = layer.bias.shape
    rows, columns, features = outputs if len(outputs) == 3 else (1, 1, math.prod(outputs))
    return 2.0 * math.prod(layer.weight.shape), (rows, columns), features


def _conv(layer: Conv, size: Size, channels: int) -> Counted:
    result = (-(-size[0] // layer.stride), -(-size[1] // layer.stride))
    return 2.0 * _taps(layer) * math.prod(result), result, layer.kernel.shape[3]


def _conv_transpose(layer: ConvTranspose, size: Size, channels: int) -> Counted:
    """Every pixel that enters meets the whole kernel, and each that leaves a row and a column of the low pass."""
    pixels, outputs = math.prod(layer.out_hw), layer.kernel.shape[3]
    passing = layer.filtered * 2.0 * pixels * sum(layer.out_hw) * outputs
    return 2.0 * _taps(layer) * math.prod(size) + passing, layer.out_hw, outputs


def _taps(layer: Conv | ConvTranspose) -> int:
    """Of the kernel that maps meet, in all; layers may hold shapes in place of arrays."""
    side = layer.kernel.shape[0] + layer.folded
    return side * side * layer.kernel.shape[2] * layer.kernel.shape[3]


def _block(layer: Block, size: Size, channels: int) -> Counted:
    parts = (layer.expand, layer.mix, layer.merge)
    return sum(_conv(part, size, channels)[0] for part in parts), size, channels


def _attention(layer: SelfAttention, size: Size, channels: int) -> Counted:
    pixels, (_, inner), (_, values) = math.prod(size), layer.key.shape, layer.value.shape
    products = pixels * channels * (2 * inner + 2 * values) + pixels**2 * (inner + values)
    return 2.0 * products, size, channels


LAYERS: dict[type, Callable[[Any, Size, int], Counted]] = {
    Dense: _dense,
    Conv: _conv,
    ConvTranspose: _conv_transpose,
    Block: _block,
    SelfAttention: _attention,
    Unfold: lambda layer, size, channels: (
        2.0 * math.prod(layer.amplitudes.weight.shape),
        layer.maps.shape[:2],
        layer.maps.shape[2],
    ),
    Fold: lambda layer, size, channels: (2.0 * math.prod(layer.maps.shape), (1, 1), layer.maps.shape[2]),
    Activate: lambda layer, size, channels: (0.0, size, channels),
    Up: lambda layer, size, channels: (0.0, layer.out_hw, channels),
    Down: lambda layer, size, channels: (0.0, (-(-size[0] // 2), -(-size[1] // 2)), channels),
    MinibatchStd: lambda layer, size, channels: (0.0, size, channels + 1),
}
