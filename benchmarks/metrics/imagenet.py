"""A judge trained on ImageNet: EfficientNet-Lite0, whose blocks are in `mulligan.networks.efficientnet`.

Its weights (Apache-2.0) come as a package in PyTorch's format, and `benchmarks/peers/imagenet_weights.py` makes of them
the file that is read here. Runs whose discriminator looked at its first blocks must not be judged by it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from safetensors.numpy import load_file

from mulligan.networks.efficientnet import Layers, block_maps, blocks

Features = Callable[[Shaped[Array, "n h w c"]], Float[Array, "n d"]]
SIDE = 128  # pixels to which images are enlarged: at 224, for which it was trained, it costs three times as much
EPSILON = 1e-3  # of the batch normalisation
LAST = max(block.number for block in blocks())
# Names of a block's convolutions in the package, and of the normalisation after each.
CONVOLUTIONS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def imagenet_features(weights: Path) -> Features:
    """The 1,280 means over the last map of uint8 images (grey or colour), as Inception's are of a Frechet distance."""
    return partial(_features, folded(load_file(weights)))


def folded(stored: dict[str, np.ndarray]) -> Layers:
    """The package's weights as `mulligan.networks.efficientnet` takes them, the batch normalisation within them."""
    layers: dict[str, np.ndarray] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        scale = stored[f"{norm}.weight"] / np.sqrt(stored[f"{norm}.running_var"] + EPSILON)
        kernel = stored[f"{convolution}.weight"].transpose(2, 3, 1, 0) * scale  # [h, w, in, out]
        bias = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
        layers.update({f"{name}.kernel": kernel.squeeze(), f"{name}.bias": bias})

    fold("stem", "_conv_stem", "_bn0")
    fold("head", "_conv_head", "_bn1")
    for number in range(LAST + 1):
        for kind, (convolution, norm) in CONVOLUTIONS.items():
            if f"_blocks.{number}.{convolution}.weight" in stored:
                fold(f"{number}.{kind}", f"_blocks.{number}.{convolution}", f"_blocks.{number}.{norm}")
    return layers


def _features(layers: Layers, images: Shaped[Array, "n h w c"]) -> Array:
    colour = jnp.broadcast_to(images, (*images.shape[:3], 3))
    x = jax.image.resize(colour.astype(jnp.float32) / 127.5 - 1, (len(images), SIDE, SIDE, 3), "bilinear")
    (maps,) = block_maps(layers, x, (LAST,))
    return jnp.clip(maps @ layers["head.kernel"] + layers["head.bias"], 0, 6).mean((1, 2))
