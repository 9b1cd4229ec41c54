"""Textures cropped from the two photographs that scikit-learn ships."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION

PHOTOGRAPHS = ("china", "flower")
ROWS, COLUMNS = 2, 2  # regions of each photograph
REGIONS = tuple(f"{photograph}-{region}" for photograph in PHOTOGRAPHS for region in range(ROWS * COLUMNS))
SIDE = 32
STRIP = 64  # width of the validation and of the test strip of a region
CROPS = {TRAIN: 2000, VALIDATION: 250, TEST: 250}


def textures(member: str | None = None) -> Collection:
    """Random 32x32 crops of one region of a photograph, or of all eight as classes; RGB.

    A region's right edge is cut into two strips, from which the validation and the test crops come, so that
    no pixel of the photograph is in two splits. Crops of one split overlap.
    """
    regions = REGIONS if member is None else (member,)
    images = np.concatenate([_crops(_region(region), code, region) for region in regions for code in CROPS])
    codes = np.tile(np.repeat(list(CROPS), list(CROPS.values())), len(regions))
    labels, classes = number_classes(
        np.repeat(np.arange(len(regions)), sum(CROPS.values())), len(images), regions
    )
    return Collection(images, labels, codes, classes)


def _crops(region: UInt8[np.ndarray, "h w 3"], code: int, name: str) -> UInt8[np.ndarray, "n side side 3"]:
    strip = _strip(region, code)
    rng = np.random.default_rng((zlib.crc32(name.encode()), code))
    tops = rng.integers(0, strip.shape[0] - SIDE + 1, CROPS[code])
    lefts = rng.integers(0, strip.shape[1] - SIDE + 1, CROPS[code])
    return np.stack(
        [strip[top : top + SIDE, left : left + SIDE] for top, left in zip(tops, lefts, strict=True)]
    )


def _strip(region: UInt8[np.ndarray, "h w 3"], code: int) -> UInt8[np.ndarray, "h w2 3"]:
    """The part of a region that belongs to a split."""
    width = region.shape[1]
    edges = {
        TRAIN: (0, width - 2 * STRIP),
        VALIDATION: (width - 2 * STRIP, width - STRIP),
        TEST: (width - STRIP, width),
    }
    left, right = edges[code]
    return region[:, left:right]


def _region(name: str) -> UInt8[np.ndarray, "h w 3"]:
    photograph, _, number = name.rpartition("-")
    row, column = divmod(int(number), COLUMNS)
    whole = _photograph(photograph)
    height, width = whole.shape[0] // ROWS, whole.shape[1] // COLUMNS
    return whole[row * height : (row + 1) * height, column * width : (column + 1) * width]


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _photograph(name: str) -> UInt8[np.ndarray, "h w 3"]:
    from sklearn.datasets import load_sample_image

    return load_sample_image(f"{name}.jpg")
