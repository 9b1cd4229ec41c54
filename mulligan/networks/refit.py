"""Weights of networks for images of one shape, in networks for images of another.

Convolutions know no size: where two networks halve the image equally often, all that differs is the map that they
begin or end at, the channels of the images, and the classes. The map's weights are resampled like an image; grey is
what colour would be with three equal channels; classes are new.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.networks.architecture import Networks
from mulligan.networks.layers import Conv, ConvTranspose, Dense
from mulligan.networks.resampling import Size


def refit(learned: Networks, before: Size, fresh: Networks, after: Size) -> Networks:
    """The players of `fresh`, with the weights of `learned` as far as they have any.

    Args:
      learned: convolutional players without classes, for images of some shape.
      before: rows and columns of the coarsest map of `learned`.
      fresh: players of the same architecture with fresh weights, for images of the shape that is wanted. What `learned`
        has no weights for stays as it is here: the vectors of classes, and the transparency of images that have any.
      after: rows and columns of the coarsest map of `fresh`.

    Returns:
      Players like `fresh`. Where both are for images of one shape, they compute exactly what `learned` does. Where
      colour becomes grey, the discriminator sees a grey image as it saw one with three equal channels, and the
      generator draws the mean of the three, taken before they are squashed.

    Raises:
      MulliganError: the networks do not have the same layers.
    """
    old_gen, old_disc = learned.own()
    new_gen, new_disc = fresh.own()
    gen, disc = _layers(old_gen.layers, new_gen.layers), _layers(old_disc.layers, new_disc.layers)
    # The discriminator's last layer, from a map to a logit, is a sum over pixels, whose number may have changed.
    dense, pixels = old_disc.head.dense, math.prod(before)
    weight = resampled(dense.weight.reshape(1, *before, dense.weight.shape[0] // pixels), after).reshape(-1, 1)
    weight = weight * (pixels / math.prod(after))
    head = eqx.tree_at(lambda head: (head.dense.weight, head.dense.bias), new_disc.head, (weight, dense.bias))
    return Networks(
        eqx.tree_at(lambda network: network.layers, new_gen, gen),
        eqx.tree_at(lambda network: (network.layers, network.head), new_disc, (disc, head)),
    )


def resampled(maps: Float[Array, "n h w c"], size: Size) -> Float[Array, "n oh ow c"]:
    """Maps of another size, bilinearly and without antialiasing; the same maps where the size is theirs."""
    return jax.image.resize(maps, (maps.shape[0], *size, maps.shape[3]), "linear", antialias=False)


def _layers(learned: tuple[Any, ...], fresh: tuple[Any, ...]) -> tuple[Any, ...]:
    if [type(layer) for layer in learned] != [type(layer) for layer in fresh]:
        raise MulliganError("the learned weights are of networks with other layers: train from fresh weights instead.")
    fitted = []
    for old, new in zip(learned, fresh, strict=True):
        match new:
            case Dense():  # the generator's first, from latents to a map; rows of classes, after those of latents, stay
                latents, (h, w, _) = old.weight.shape[0], new.bias.shape
                weight = resampled(old.weight.reshape(latents, *old.bias.shape), (h, w)).reshape(latents, -1)
                rows, bias = jnp.concatenate([weight, new.weight[latents:]]), resampled(old.bias[None], (h, w))[0]
                fitted.append(eqx.tree_at(lambda layer: (layer.weight, layer.bias), new, (rows, bias)))
            case Conv() | ConvTranspose():
                kernel = _channels(_channels(old.kernel, new.kernel, 2), new.kernel, 3)
                bias = _channels(old.bias, new.bias, 0)
                fitted.append(eqx.tree_at(lambda layer: (layer.kernel, layer.bias), new, (kernel, bias)))
            case _:
                fitted.append(jax.tree.unflatten(jax.tree.structure(new), jax.tree.leaves(old)))
    return tuple(fitted)


def _channels(old: Array, new: Array, axis: int) -> Array:
    """The learned array with as many channels as `new` along this axis, where only those of the images can differ."""
    have, want = old.shape[axis], new.shape[axis]
    if have == want:
        return old
    inputs = old.ndim == 4 and axis == 2  # a discriminator adds up its inputs; a generator's outputs stand alone
    if want == 1:
        return (jnp.sum if inputs else jnp.mean)(old, axis, keepdims=True)
    if have == 1:
        repeated = jnp.repeat(old, min(want, 3), axis) / (min(want, 3) if inputs else 1)
        return _channels(repeated, new, axis)
    return jnp.concatenate([old, jax.lax.slice_in_dim(new, have, want, axis=axis)], axis)
