"""Features that critics look at (`game.critics`): maps of a network that was trained on ImageNet, and stays as it is.

docs/networks.md says how to ask for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors.numpy import load as load_safetensors

from mulligan.files import with_card
from mulligan.networks.architecture import DiscriminatorNetwork
from mulligan.networks.efficientnet import BLOCK_STRIDE, Layers, block_flops, block_maps
from mulligan.networks.layers import Activate, Conv, Head, ImageShape, Layer, Shape, randomised, styles
from mulligan.types import Key, Pixels

FEATURES = ("imagenet-1",)  # of a recipe's `features`
BLOCKS = (4, 7)  # whose maps are looked at: an eighth and a sixteenth of the sides
SIDE = 64  # pixels of the shorter side at which images are looked at, whatever theirs
WIDTH, COARSEST = 32, 4  # channels of a critic, and rows or columns of its last map
ACTIVATION = "leaky_relu"  # linear in pieces, so that the penalty is cheap


@dataclass(frozen=True, eq=False)
class Features:
    """A network that stays as it is; call it with images `[n, h, w, c]` in [-1, 1].

    Attributes:
      layers: up to the last of `BLOCKS`.
      means, scales: of each channel of its maps, over images of many families.
      card: where they come from.
    """

    layers: Layers
    means: tuple[np.ndarray, ...]
    scales: tuple[np.ndarray, ...]
    card: dict[str, Any]

    def __call__(self, images: Pixels) -> tuple[Float[Array, "n _ _ _"], ...]:
        """Maps, each channel of mean 0 and standard deviation 1 over images of many families."""
        maps = block_maps(self.layers, as_looked_at(images), BLOCKS)
        return tuple((each - mean) / scale for each, mean, scale in zip(maps, self.means, self.scales, strict=True))

    def flops(self, shape: ImageShape) -> float:
        """Operations on one image of this shape."""
        return block_flops(self.layers, looked_at(shape), BLOCKS[-1])

    def shapes(self, shape: ImageShape) -> list[Shape]:
        """Rows, columns and channels of each map, of images of this shape.

        Example:
          >>> load_features("imagenet-1").shapes((28, 28, 1))
          [(8, 8, 40), (4, 4, 80)]
        """
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        return [each.shape[1:] for each in jax.eval_shape(self.__call__, images)]


def looked_at(shape: ImageShape) -> tuple[int, int]:
    """Rows and columns at which images of this shape are looked at.

    Example:
      >>> looked_at((28, 28, 1)), looked_at((64, 64, 3)), looked_at((96, 128, 3))
      ((64, 64), (64, 64), (64, 80))
    """
    h, w, _ = shape
    scale = SIDE / min(h, w)
    rows, columns = (max(SIDE, round(side * scale / BLOCK_STRIDE) * BLOCK_STRIDE) for side in (h, w))
    return rows, columns


def as_looked_at(images: Pixels) -> Float[Array, "n _ _ 3"]:
    """The images in colour, without transparency, at the size at which they are looked at."""
    n, h, w, channels = images.shape
    colour = jnp.broadcast_to(images, (n, h, w, 3)) if channels == 1 else images[..., :3]
    size = looked_at((h, w, channels))
    return colour if size == (h, w) else jax.image.resize(colour, (n, *size, 3), "linear")


def critics_of(shapes: list[Shape], classes: int) -> Callable[[Key], tuple[DiscriminatorNetwork, ...]]:
    """Makes fresh critics: for each map a narrow convolutional discriminator.

    Args:
      shapes: rows, columns and channels of each map.
      classes: 0 makes critics without labels.
    """

    def critic(shape: Shape) -> DiscriminatorNetwork:
        rows, columns, channels = shape
        first, inner, last = styles(ACTIVATION, "none")
        layers: list[Layer] = [Conv((1, 1, channels, WIDTH), 1, first), Activate(ACTIVATION)]
        while min(rows, columns) > COARSEST:
            rows, columns = -(-rows // 2), -(-columns // 2)
            layers += [Conv((3, 3, WIDTH, WIDTH), 2, inner, folded=True), Activate(ACTIVATION)]
        layers += [Conv((3, 3, WIDTH, WIDTH), 1, inner), Activate(ACTIVATION)]
        return DiscriminatorNetwork(tuple(layers), Head((rows, columns, WIDTH), classes, last))

    return lambda key: randomised(tuple(map(critic, shapes)), key)


@functools.cache
def load_features(name: str) -> Features:
    """The features of this name.

    Raises:
      MulliganError: the installed file is damaged.
    """
    stored, card = with_card("mulligan", f"data/{name}", f"the features {name}")
    arrays = {key: value.astype(np.float32) for key, value in load_safetensors(stored).items()}
    means, scales = ([arrays.pop(f"{block}.{of}") for block in BLOCKS] for of in ("mean", "scale"))
    return Features(arrays, tuple(means), tuple(scales), card)
