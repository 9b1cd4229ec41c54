"""Networks for images of twice the size that begin with what networks for small ones have learned.

Progressive growing (Karras et al. 2018, arXiv 1710.10196), without blending images of two sizes. A pair for small
images and one of half its width for images twice as large have the same layers but for the finest. There the generator
can double the small image bilinearly, and the discriminator take means of 2x2 pixels, in weights that train on: a
rectifier `f` of slope `a` hands colours on where it has either sign of them, `x = (f(x) - f(-x)) / (1 + a)`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.networks.architecture import Networks
from mulligan.networks.layers import SLOPES, ImageShape, fold_scale
from mulligan.networks.resampling import FOLDED, doublings, halvings
from mulligan.recipe import Architecture

SIDE = 3  # of the kernels that a doubling and means of 2x2 fit into
DOUBLING = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]) / fold_scale(SIDE)  # bilinear, once folded
MEAN = np.pad([[0.25]], 1) / fold_scale(SIDE)


def smaller(architecture: Architecture, shape: ImageShape) -> Architecture:
    """The networks for images of half the size that `grow` makes these of.

    Args:
      architecture: of the networks that are wanted.
      shape: of the large images.

    Raises:
      MulliganError: they cannot be grown.

    Example:
      >>> smaller(Architecture(gen_width=8, disc_width=8, resampling="folded", kernel=3), (64, 64, 3)).gen_width
      16
    """
    plain = architecture.family == "conv" and not (architecture.gen_depth or architecture.disc_depth)
    unnormalised = architecture.gen_normalisation == architecture.disc_normalisation == "none"
    if not (plain and unnormalised and architecture.activation in SLOPES):
        raise MulliganError(
            "only plain convolutional networks with rectifiers, without normalisation, can be grown: choose others."
        )
    if architecture.resampling not in FOLDED or architecture.kernel != SIDE:
        raise MulliganError(
            f"networks can be grown with the resampling {' or '.join(map(repr, FOLDED))} and a kernel of {SIDE} only."
        )
    width, signs = min(architecture.gen_width, architecture.disc_width), 2 * shape[2]
    if width < signs:
        raise MulliganError(f"to grow, networks must be {signs} wide: twice the channels of the images.")
    levels = len(halvings(shape[:2], architecture.coarsest)) - 1
    if doublings(2 * width, levels - 1) != doublings(width, levels)[1:]:
        raise MulliganError(
            f"networks cannot be grown to images of {shape[1]}x{shape[0]}, which are halved more than four times: "
            "choose smaller images."
        )
    return replace(architecture, gen_width=2 * architecture.gen_width, disc_width=2 * architecture.disc_width)


def grow(learned: Networks, fresh: Networks, share: float) -> Networks:
    """The players of `fresh` with the weights of `learned`, which are for images of half the size.

    Args:
      learned: of the architecture that `smaller` says.
      fresh: players for the large images.
      share: of fresh weights that is added where a new layer hands on what an old one made. With 0 the discriminator
        sees a large image as it saw its means of 2x2, and the generator draws what it drew, doubled bilinearly before
        it is squashed; but large weights are all that new layers then begin with, and they learn details slowly.

    Raises:
      MulliganError: the networks do not share all layers but the finest, or are Keras models.
    """
    (old_gen, old_disc), (new_gen, new_disc) = learned.own(), fresh.own()
    *coarse, last = old_gen.layers
    first, *deep = old_disc.layers
    *begun, up, rectifier, draw = new_gen.layers
    look, _, down, *ended = new_disc.layers
    if jax.tree.map(jnp.shape, [coarse, deep]) != jax.tree.map(jnp.shape, [begun, ended]):
        raise MulliganError(
            "the small networks are not of those that `smaller` says: begin with fresh weights instead."
        )
    channels = last.bias.size
    signs = jnp.concatenate([jnp.eye(channels), -jnp.eye(channels)])  # [2c, c]: every channel with either sign
    merge = signs / (1 + SLOPES[rectifier.name])
    up = _handing(up, last.kernel @ signs.T, last.bias @ signs.T, share)
    draw = _merging(draw, jnp.asarray(DOUBLING)[..., None, None] * merge, draw.bias, share)
    look = _handing(look, jnp.asarray(MEAN)[..., None, None] * signs.T, jnp.zeros(2 * channels), share)
    down = _merging(down, jnp.einsum("hwio,ci->hwco", first.kernel, merge), first.bias, share)
    return Networks(
        replace(new_gen, classes=old_gen.classes, layers=(*coarse, up, rectifier, draw)),
        replace(new_disc, layers=(look, rectifier, down, *deep), head=old_disc.head),
    )


def _handing(layer: Any, kernel: Float[Array, "k k i o"], bias: Float[Array, " o"], share: float) -> Any:
    """The fresh layer, whose first channels hand on what this kernel and bias make; the others stay as they are."""
    known = bias.size
    kernel = jnp.concatenate([kernel + share * layer.kernel[..., :known], layer.kernel[..., known:]], axis=-1)
    return _with(layer, kernel, jnp.concatenate([bias, layer.bias[known:]]))


def _merging(layer: Any, kernel: Float[Array, "k k i o"], bias: Float[Array, " o"], share: float) -> Any:
    """The fresh layer, which takes its first channels as this kernel does."""
    return _with(layer, (share * layer.kernel).at[:, :, : kernel.shape[2]].add(kernel), bias)


def _with(layer: Any, kernel: Float[Array, "k k i o"], bias: Float[Array, " o"]) -> Any:
    return eqx.tree_at(lambda layer: (layer.kernel, layer.bias), layer, (kernel, bias))
