"""A judge that no part of mulligan was learned from or chosen by: EfficientNet-Lite0, trained on ImageNet.

Tan and Le 2019 (arXiv 1905.11946), without squeeze and excitation; its weights (Apache-2.0) come as a package in
PyTorch's format, and `benchmarks/peers/imagenet_weights.py` makes of them the file that is read here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from safetensors.numpy import load_file

Features = Callable[[Shaped[Array, "n h w c"]], Float[Array, "n d"]]
SIDE = 128  # pixels to which images are enlarged: at 224, for which it was trained, it costs three times as much
EPSILON = 1e-3  # of the batch normalisation


class Stage(NamedTuple):
    """Blocks alike but for the first, which may stride and widen."""

    blocks: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 3, 1),
    Stage(2, 3, 2),
    Stage(2, 5, 2),
    Stage(3, 3, 2),
    Stage(3, 5, 1),
    Stage(4, 5, 2),
    Stage(1, 3, 1),
)


def imagenet_features(weights: Path) -> Features:
    """The 1,280 means over the last map of uint8 images (grey or colour), as Inception's are of a Frechet distance."""
    return partial(_features, _folded(load_file(weights)))


def _folded(stored: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernels [h, w, in, out] and biases by layer, the batch normalisation within them."""
    norms = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    of_block = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    layers = {}
    for name in (name.removesuffix(".weight") for name in stored if name.endswith("conv.weight") or "_conv_" in name):
        block, _, kind = name.rpartition(".")
        norm = f"{block}.{of_block[kind]}" if block else norms[kind]
        scale = stored[f"{norm}.weight"] / np.sqrt(stored[f"{norm}.running_var"] + EPSILON)
        kernel = stored[f"{name}.weight"].transpose(2, 3, 1, 0) * scale
        layers[name] = (kernel, stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale)
    return layers


def _features(layers: dict[str, tuple[np.ndarray, np.ndarray]], images: Shaped[Array, "n h w c"]) -> Array:
    colour = jnp.broadcast_to(images, (*images.shape[:3], 3))
    x = jax.image.resize(colour.astype(jnp.float32) / 127.5 - 1, (len(images), SIDE, SIDE, 3), "bilinear")
    x = _bounded(_convolved(x, layers["_conv_stem"], 2))
    number = 0
    for stage in STAGES:
        for first in (True, *(False,) * (stage.blocks - 1)):
            of, before = f"_blocks.{number}.", x
            if f"{of}_expand_conv" in layers:
                x = _bounded(_pointwise(x, layers[f"{of}_expand_conv"]))
            x = _bounded(_depthwise(x, layers[f"{of}_depthwise_conv"], stage.stride if first else 1))
            x = _pointwise(x, layers[f"{of}_project_conv"])
            x, number = x if first else x + before, number + 1
    return _bounded(_pointwise(x, layers["_conv_head"])).mean((1, 2))


def _bounded(x: Array) -> Array:
    return jnp.clip(x, 0, 6)


def _convolved(x: Array, layer: tuple[np.ndarray, np.ndarray], stride: int) -> Array:
    kernel, bias = layer
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions) + bias


def _pointwise(x: Array, layer: tuple[np.ndarray, np.ndarray]) -> Array:
    kernel, bias = layer
    return x @ kernel[0, 0] + bias


def _depthwise(x: Array, layer: tuple[np.ndarray, np.ndarray], stride: int) -> Array:
    """A sum of shifted maps: several times as fast on a CPU as the compiler's convolution in groups."""
    kernel, bias = layer  # [k, k, 1, channels]
    k, side = len(kernel), x.shape[1]
    out = -(-side // stride)
    pad = max((out - 1) * stride + k - side, 0)
    x = jnp.pad(x, ((0, 0), *((pad // 2, pad - pad // 2),) * 2, (0, 0)))
    reach = (out - 1) * stride + 1
    taps = [x[:, i : i + reach : stride, j : j + reach : stride] * kernel[i, j, 0] for i in range(k) for j in range(k)]
    return sum(taps, start=jnp.asarray(bias))
