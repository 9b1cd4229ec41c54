"""A generator's own layers, written down for a target."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from mulligan.errors import MulliganError
from mulligan.exports.target import Target, Tensor
from mulligan.networks.architecture import GeneratorNetwork
from mulligan.networks.layers import Activate, Conv, ConvTranspose, Dense, Layer, SelfAttention, taps_of
from mulligan.networks.mixture import Mixture, shares
from mulligan.networks.resampling import Up, low_pass_matrix
from mulligan.networks.residual import Block, Unfold
from mulligan.types import Pytree


def draw(target: Target, network: Pytree, latents: Tensor, labels: Tensor | None) -> Tensor:
    """Pixels `[n, h, w, c]` in [-1, 1] from latents `[n, d]`, and labels `[n]` where the network has classes.

    Raises:
      MulliganError: a network that is not made of mulligan's own layers.
    """
    if isinstance(network, Mixture):
        images = [draw(target, member, latents, labels) for member in network.members]
        return target.choose(latents, images, np.asarray(shares(network.weights)))
    if not isinstance(network, GeneratorNetwork):
        raise MulliganError(
            "this generator is a model of your own: its weights are in your model object; save it from there."
        )
    x = latents
    if network.classes is not None:
        x = target.append_class(latents, labels, np.asarray(network.classes.vectors))
    shape = (x.shape[-1],)
    for layer in network.layers:
        x, shape = _layer(target, layer, x, shape)
    return target.activate(x, "tanh")


def _layer(target: Target, layer: Layer, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """One layer; the tensor and the shape of one example that come out."""
    match layer:
        case Dense():
            made = _dense(target, layer, x), layer.bias.shape
        case Conv():
            made = _conv(target, layer, x), (*shape[:2], layer.bias.shape[0])
        case ConvTranspose():
            made = _conv_transpose(target, layer, x, shape), (*layer.out_hw, layer.bias.shape[0])
        case Up():
            crop = (2 * shape[0] - layer.out_hw[0], 2 * shape[1] - layer.out_hw[1])
            made = target.enlarge(x, layer.name, crop), (*layer.out_hw, shape[2])
        case Unfold():
            made = target.spread(_dense(target, layer.amplitudes, x), np.asarray(layer.maps)), layer.maps.shape
        case Activate():
            made = target.activate(x, layer.name), shape
        case Block():
            branch = target.activate(_conv(target, layer.expand, x), layer.activation)
            branch = target.activate(_conv(target, layer.mix, branch), layer.activation)
            made = target.add(x, _conv(target, layer.merge, branch)), shape
        case SelfAttention():
            # Targets do not scale the scores, so the queries' weights are scaled here, once.
            scaled = np.asarray(layer.query) / np.float32(math.sqrt(layer.key.shape[1]))
            pixels = target.reshape(x, (shape[0] * shape[1], shape[2]))
            weights = (scaled, layer.key, layer.value)
            queries, keys, values = (target.dense(pixels, np.asarray(weight), None) for weight in weights)
            mixed = target.dense(target.attend(queries, keys, values), np.asarray(layer.output), None)
            made = target.add(x, target.reshape(mixed, shape)), shape
        case _:
            raise MulliganError(f"a layer {type(layer).__name__} cannot be exported yet: choose `to` safetensors.")
    return made


def _dense(target: Target, layer: Dense, x: Tensor) -> Tensor:
    bias = np.asarray(layer.bias)
    plain = layer.normalisation == "none"
    x = target.dense(x, np.asarray(layer.weight), bias.reshape(-1) if plain else None)
    x = target.reshape(x, bias.shape) if bias.ndim > 1 else x
    return x if plain else _normalised(target, layer.normalisation, x, bias)


def _conv(target: Target, layer: Conv, x: Tensor) -> Tensor:
    if layer.stride != 1:
        raise MulliganError("a generator's convolution of stride 2 cannot be exported: choose `to` safetensors.")
    bias = np.asarray(layer.bias)
    plain = layer.normalisation == "none"
    x = target.conv(x, np.asarray(layer.kernel), bias if plain else None)
    return x if plain else _normalised(target, layer.normalisation, x, bias)


def _conv_transpose(target: Target, layer: ConvTranspose, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The whole adjoint has `2 (size - 1) + k` rows; mulligan's starts at `(k - 1) // 2` (`networks.convolution`)."""
    bias, kernel = np.asarray(layer.bias), np.asarray(taps_of(layer))
    before = (kernel.shape[0] - 1) // 2
    whole = [2 * (size - 1) + kernel.shape[0] for size in shape[:2]]
    crops = [(before, full - before - out) for full, out in zip(whole, layer.out_hw, strict=True)]
    plain = layer.normalisation == "none"
    x = target.conv_transpose(x, kernel, bias if plain else None, crops)
    if layer.filtered:  # which leaves a bias as it is
        x = target.filter(x, *map(low_pass_matrix, layer.out_hw))
    return x if plain else _normalised(target, layer.normalisation, x, bias)


def _normalised(target: Target, name: str, x: Tensor, bias: Float[np.ndarray, "..."]) -> Tensor:
    """The normalisation of the maps, then the bias that follows each of them."""
    if name not in ("pixel", "group"):
        raise MulliganError(f"{name} normalisation cannot be exported from a generator: choose `to` safetensors.")
    return target.add(target.normalise(x, name), bias)
