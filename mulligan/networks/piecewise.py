"""Discriminators that are piecewise linear, and what follows from it: their gradient penalty comes almost free.

Around an input `x`, a network of affine layers and (leaky) rectifiers is affine, with slopes that depend on the
signs of its activations at `x` alone. Replace every bias `b` by `scale * b`, hold those slopes, and the network
becomes linear in `(input, scale)` jointly; call that `lifted(x; input, scale)`. Then

    D(x) = lifted(x; x, 1),    v . grad_x D(x) = lifted(x; v, 0),

so for numbers `s` and `c` the gradient with respect to the weights of `s D(x) + c v . grad_x D(x)`, which is what
a loss with a squared-gradient penalty needs, is that of the single evaluation `lifted(x; s x + c v, s)`. Its
backward pass is, but for the weights, the one that gave `grad_x D(x)`, and the compiler sees that. So a batch costs
two forward passes, one backward pass and one gradient of the weights, where differentiating twice costs two, two
and two.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mulligan.networks.architecture import DiscriminatorNetwork, in_precision, in_single
from mulligan.networks.keras import KerasDiscriminator
from mulligan.networks.layers import Activate, Conv, Dense, Layer
from mulligan.networks.lifting import NotPiecewiseLinearError, lift
from mulligan.networks.resampling import Down
from mulligan.networks.residual import Block, Fold
from mulligan.types import Logits, Pixels

LINEAR_PIECES = ("relu", "leaky_relu")


def is_piecewise_linear(disc: Any) -> bool:
    """Whether `lifted` is exact for this discriminator: it is never an approximation, but not for every network."""
    if isinstance(disc, KerasDiscriminator):
        # Whether `lift` knows every operation of a model is tried, on shapes alone.
        images = jnp.zeros((3, *disc.model.layout.shape))
        try:
            jax.eval_shape(lambda disc: lift(disc.as_written, images, images, jnp.ones(3)), disc)
        except NotPiecewiseLinearError:
            return False
        return True
    return isinstance(disc, DiscriminatorNetwork) and all(map(_has_linear_pieces, (*disc.layers, disc.head.dense)))


def lifted(
    disc: DiscriminatorNetwork | KerasDiscriminator,
    x: Pixels,
    inputs: Pixels,
    scale: Float[Array, " n"],
    labels: Int[Array, " n"] | None = None,
) -> Logits:
    """The discriminator with the slopes that it has at `x`, applied to `inputs`, its biases times `scale`.

    Args:
      disc: one for which `is_piecewise_linear` holds.
      x: where the slopes are taken; nothing is differentiated through this.
      inputs: of the shape of `x`.
      scale: one number an example.
      labels: as in a call of the discriminator.

    Returns:
      Logits `[n]`, linear in `(inputs, scale)` jointly.

    Raises:
      MulliganError: labels are missing, or given to a network without classes.
      NotPiecewiseLinearError: a Keras model for which `is_piecewise_linear` does not hold.

    Example:
      >>> from mulligan.networks.architecture import build
      >>> from mulligan.recipe import Architecture
      >>> disc = build(Architecture(disc_width=4), (8, 8, 1), 0, jax.random.key(0)).disc
      >>> x = jax.numpy.ones((2, 8, 8, 1))
      >>> bool(jax.numpy.allclose(lifted(disc, x, 3 * x, jax.numpy.full(2, 3.0)), 3 * disc(x)))
      True
    """
    if isinstance(disc, KerasDiscriminator):
        return lift(disc.as_written, x, inputs, scale)
    layers, x, inputs, bias_scale = in_precision(disc.precision, (disc.layers, x, inputs, scale))
    for layer in layers:
        x, inputs = _through(layer, jax.lax.stop_gradient(x), inputs, bias_scale)
    return disc.head(in_single(inputs), labels) + (scale - 1) * disc.head.dense.bias


def _has_linear_pieces(layer: Layer) -> bool:
    if isinstance(layer, Activate):
        return layer.name in LINEAR_PIECES
    if isinstance(layer, Block):
        parts = (layer.expand, layer.mix, layer.merge)
        return layer.activation in LINEAR_PIECES and all(map(_has_linear_pieces, parts))
    return isinstance(layer, (Down, Fold)) or (isinstance(layer, (Conv, Dense)) and layer.normalisation == "none")


def _through(layer: Layer, x: Array, inputs: Array, scale: Float[Array, " n"]) -> tuple[Array, Array]:
    """One layer at `x`, and lifted."""
    if isinstance(layer, Activate):
        # A rectifier's tangent holds its slope at `x`, which is just what lifting asks for.
        return jax.jvp(layer, (x,), (inputs,))
    if isinstance(layer, Block):
        activate = Activate(layer.activation)
        inner, outer = x, inputs
        for part in (layer.expand, activate, layer.mix, activate, layer.merge):
            inner, outer = _through(part, inner, outer, scale)
        return x + inner, inputs + outer
    if isinstance(layer, (Conv, Dense)):
        at_x = layer(x)
        return at_x, layer(inputs) + (scale - 1).reshape(-1, *[1] * (at_x.ndim - 1)) * layer.bias
    return layer(x), layer(inputs)
