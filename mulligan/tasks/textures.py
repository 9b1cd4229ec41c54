"""Textures cropped from the two photographs that scikit-learn ships."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION

SIDE = 32
CROPS = {TRAIN: 2000, VALIDATION: 250, TEST: 250}
STRIPES = (  # of a region along its longer side, in fractions of it: split, start, end
    (TRAIN, 0.0, 0.2),
    (VALIDATION, 0.2, 0.36),
    (TRAIN, 0.36, 0.64),
    (TEST, 0.64, 0.8),
    (TRAIN, 0.8, 1.0),
)


class Region(NamedTuple):
    """A rectangle of a photograph, in pixels. Its longer side is 200 or more, so that all stripes hold crops."""

    photograph: str
    top: int
    left: int
    height: int
    width: int


REGIONS = {
    "pagoda": Region("china.jpg", 90, 85, 240, 240),
    "bushes": Region("china.jpg", 300, 390, 127, 250),
    "petals": Region("flower.jpg", 100, 185, 250, 250),
    "leaves": Region("flower.jpg", 0, 0, 427, 170),
}


def textures(member: str | None = None) -> Collection:
    """Different 32x32 crops of one region of a photograph, or of all four as classes; RGB.

    Stripes of a region belong to different splits, and no crop crosses their borders, so that no pixel of the
    photograph is in two splits. Crops of one stripe overlap.
    """
    chosen = tuple(REGIONS) if member is None else (member,)
    images = np.concatenate([_crops(name, code) for name in chosen for code in CROPS])
    codes = np.tile(np.repeat(list(CROPS), list(CROPS.values())), len(chosen))
    numbers = np.repeat(np.arange(len(chosen)), sum(CROPS.values()))
    labels, classes = number_classes(numbers, len(images), chosen)
    return Collection(images, labels, codes, classes)


def _crops(name: str, code: int) -> UInt8[np.ndarray, "n side side 3"]:
    region = REGIONS[name]
    corners = np.concatenate([_corners(region, start, end) for split, start, end in STRIPES if split == code])
    # Not `hash`, which differs from process to process.
    rng = np.random.default_rng((zlib.crc32(name.encode()), code))
    drawn = corners[rng.permutation(len(corners))[: CROPS[code]]]
    photograph = _photograph(region.photograph)
    return np.stack([photograph[top : top + SIDE, left : left + SIDE] for top, left in drawn])


def _corners(region: Region, start: float, end: float) -> Int64[np.ndarray, "k 2"]:
    """Top left corners of all crops that lie in a stripe."""
    spans = np.array([[0, region.height], [0, region.width]])
    # Stripes cut the longer side, so that each is wide enough for crops.
    longer = int(region.width >= region.height)
    spans[longer] = np.round(spans[longer, 1] * np.array([start, end]))
    offset = (region.top, region.left)
    tops, lefts = (np.arange(low, high - SIDE + 1) + first for (low, high), first in zip(spans, offset, strict=True))
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)


@lru_cache(maxsize=2)
def _photograph(name: str) -> UInt8[np.ndarray, "h w 3"]:
    from sklearn.datasets import load_sample_image

    return load_sample_image(name)
