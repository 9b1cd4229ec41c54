"""A generator as a Keras model of Keras's own layers: it loads wherever Keras does, without mulligan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mulligan.exports.drawing import draw
from mulligan.exports.target import Shape, Tensor
from mulligan.networks.keras_models import import_keras
from mulligan.networks.layers import SLOPE
from mulligan.networks.mixture import BELOW_1, FINENESS, LARGEST, SHIFT, UPPER, multipliers
from mulligan.networks.normalisation import EPSILON, GROUP_EPSILON
from mulligan.training.generator import Generator

FILE = "a .keras file"  # what needs Keras here
GELU = (2 / np.pi) ** 0.5, 0.044715  # the approximation by a hyperbolic tangent (Hendrycks & Gimpel 2016)


def keras_model(generator: Generator) -> Any:
    """A functional `keras.Model` from latents `[n, d]` to pixels `[n, h, w, c]` in [-1, 1].

    With classes its input is a dict of `latents` and `labels`, int32 `[n]`. The names of its layers are the family's
    own, in order.

    Raises:
      MulliganError: Keras is not installed, or the generator is not made of mulligan's own layers.
    """
    keras = import_keras(FILE)
    latents = keras.Input((generator.latent,), name="latents")
    labels = keras.Input((), name="labels", dtype="int32") if generator.classes else None
    inputs = latents if labels is None else {"latents": latents, "labels": labels}
    pixels = draw(KerasLayers(keras), generator.network, latents, labels)
    return keras.Model(inputs, pixels, name="generator")


class KerasLayers:
    """A `Target` of Keras layers; where a product is exact in no layer, of Keras's own operations."""

    def __init__(self, keras: Any):
        self.keras = keras

    def dense(self, x: Tensor, weight: Float[np.ndarray, "i o"], bias: Float[np.ndarray, " o"] | None) -> Tensor:
        layer = self.keras.layers.Dense(weight.shape[1], use_bias=bias is not None)
        return _with_weights(layer, x, weight, bias)

    def conv(self, x: Tensor, kernel: Float[np.ndarray, "k k ci co"], bias: Float[np.ndarray, " co"] | None) -> Tensor:
        layer = self.keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], padding="same", use_bias=bias is not None)
        return _with_weights(layer, x, kernel, bias)

    def conv_transpose(
        self,
        x: Tensor,
        kernel: Float[np.ndarray, "k k ci co"],
        bias: Float[np.ndarray, " co"] | None,
        crops: Sequence[tuple[int, int]],
    ) -> Tensor:
        layer = self.keras.layers.Conv2DTranspose(kernel.shape[3], kernel.shape[:2], 2, use_bias=bias is not None)
        x = _with_weights(layer, x, kernel.swapaxes(2, 3), bias)
        return self._cropped(x, crops)

    def enlarge(self, x: Tensor, name: str, crop: tuple[int, int]) -> Tensor:
        x = self.keras.layers.UpSampling2D(2, interpolation=name)(x)
        return self._cropped(x, [(0, behind) for behind in crop])

    def filter(self, x: Tensor, rows: Float[np.ndarray, "h h"], columns: Float[np.ndarray, "w w"]) -> Tensor:
        # Of a dense layer's weights the inputs come first.
        for equation, matrix in (("nabc,ad->ndbc", rows), ("nabc,bd->nadc", columns)):
            layer = self.keras.layers.EinsumDense(equation, x.shape[1:], trainable=False)
            x = _with_weights(layer, x, matrix.T, None)
        return x

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        return self.keras.layers.Reshape(shape)(x)

    def add(self, x: Tensor, y: Tensor | Float[np.ndarray, "..."]) -> Tensor:
        if not isinstance(y, np.ndarray):
            return self.keras.layers.Add()([x, y])
        # A dense layer along no axis, whose kernel is one and whose bias is the constant.
        axes = "abc"[: len(x.shape) - 1]
        kept = axes[len(axes) - y.ndim :]
        layer = self.keras.layers.EinsumDense(f"n{axes},{axes[-1]}->n{axes}", x.shape[1:], bias_axes=kept)
        return _with_weights(layer, x, np.ones(y.shape[-1:], np.float32), y)

    def spread(self, x: Tensor, maps: Float[np.ndarray, "h w c"]) -> Tensor:
        layer = self.keras.layers.EinsumDense("nc,abc->nabc", maps.shape)
        return _with_weights(layer, x, maps, None)

    def activate(self, x: Tensor, name: str) -> Tensor:
        layers = self.keras.layers
        match name:
            case "leaky_relu":
                return layers.LeakyReLU(negative_slope=SLOPE)(x)
            case "gelu":
                # `x / 2 (1 + tanh(a (x + b x^3)))`, which is jax's; Keras's own activation is the exact one.
                scale, cubic = GELU
                cube = layers.Multiply()([x, x, x])
                inner = layers.Add()([layers.Rescaling(scale)(x), layers.Rescaling(scale * cubic)(cube)])
                gate = layers.Rescaling(0.5, offset=0.5)(layers.Activation("tanh")(inner))
                return layers.Multiply()([x, gate])
        return layers.Activation(name)(x)

    def normalise(self, x: Tensor, name: str) -> Tensor:
        layers, channels = self.keras.layers, x.shape[-1]
        if name == "pixel":
            # This layer always has a scale: it is one here.
            return _with_weights(layers.RMSNormalization(epsilon=EPSILON), x, np.ones(channels, np.float32), None)
        groups = math.gcd(channels, 8)
        return layers.GroupNormalization(groups, epsilon=GROUP_EPSILON, center=False, scale=False)(x)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        layers = self.keras.layers
        scores = layers.Softmax()(layers.Dot(axes=(2, 2))([queries, keys]))
        return layers.Dot(axes=(2, 1))([scores, values])

    def append_class(self, latents: Tensor, labels: Tensor, vectors: Float[np.ndarray, "classes d"]) -> Tensor:
        own = _with_weights(self.keras.layers.Embedding(*vectors.shape), labels, vectors, None)
        return self.keras.layers.Concatenate()([latents, own])

    def choose(self, latents: Tensor, images: Sequence[Tensor], shares: Float[np.ndarray, " k"]) -> Tensor:
        ops = self.keras.ops

        def share(total: Tensor) -> Tensor:
            return ops.minimum(ops.cast(total, "float32") / 2.0**32 + 0.5, BELOW_1)

        parts = ops.cast(ops.clip(latents, -LARGEST, LARGEST) * float(FINENESS), "int32")
        total = ops.sum(parts * multipliers(latents.shape[1]), axis=1)
        mixed = ops.cast(share(total) * UPPER, "int32") + SHIFT
        numbers = ops.reshape(share(mixed * mixed), (-1, 1, 1, 1))
        chosen = images[0]
        for start, image in zip(shares, images[1:], strict=False):
            chosen = ops.where(numbers >= float(start), image, chosen)
        return chosen

    def _cropped(self, x: Tensor, crops: Sequence[tuple[int, int]]) -> Tensor:
        return self.keras.layers.Cropping2D(tuple(crops))(x) if any(map(any, crops)) else x


def _with_weights(layer: Any, x: Tensor, weight: np.ndarray, bias: np.ndarray | None) -> Tensor:
    y = layer(x)
    layer.set_weights([weight] if bias is None else [weight, bias])
    return y
