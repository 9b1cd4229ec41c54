"""Images that look nearly alike, found without comparing all pairs: variants of one drawing, frames of one film.

A perceptual hash (the signs of differences between neighbours at 8x8, Krawetz 2013) proposes pairs, and the correlation
of the two images at 16x16 decides. What is chained by such pairs is one group.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL import Image

from mulligan.tasks.streaming import StreamedImages

NEAR = "near"
SIDE = 8  # of the hash: 64 bits
COARSE = 16  # side at which images are compared
ALIKE = 0.97  # correlation from which two images are near copies
BANDS = 8  # parts of a hash, of which near copies share at least one
MOST = 64  # images that share a part of a hash, of which each is compared with so many others
BLOCK = 1024  # images read at a time


def near_groups(images: UInt8[np.ndarray, "n h w c"] | StreamedImages) -> Int64[np.ndarray, " n"]:
    """Numbers the groups of near copies.

    Raises:
      MulliganError: a streamed image can no longer be read.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
      >>> images[2] = images[0] // 2  # the same, darker
      >>> near_groups(images).tolist()
      [0, 1, 0]
    """
    starts = range(0, images.shape[0], BLOCK)
    blocks = (np.arange(start, min(start + BLOCK, images.shape[0])) for start in starts)
    coarse = np.concatenate(
        [_coarse(images[rows] if isinstance(images, np.ndarray) else images.take(rows)) for rows in blocks]
    )
    # 64 bits an image: whether a cell of SIDE x SIDE is darker than its right neighbour, the last than the first.
    cells = coarse.reshape(len(coarse), SIDE, COARSE // SIDE, SIDE, COARSE // SIDE).mean(axis=(2, 4))
    bits: Bool[np.ndarray, "n d"] = (cells < np.roll(cells, -1, axis=2)).reshape(len(cells), -1)
    parents = np.arange(len(coarse))
    for left, right in _proposed(np.packbits(bits, axis=1)):
        near = (coarse[left] * coarse[right]).sum(axis=1) >= ALIKE
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            first, second = _root(parents, one), _root(parents, other)
            parents[max(first, second)] = min(first, second)
    while (parents != parents[parents]).any():
        parents = parents[parents]
    return np.unique(parents, return_inverse=True)[1]


def _coarse(images: UInt8[np.ndarray, "k h w c"]) -> Float32[np.ndarray, "k d"]:
    """Grey images of COARSE x COARSE, centred and of length 1, so that products are correlations."""
    grey = images.astype(np.float32).mean(axis=3)
    size = (COARSE, COARSE)
    small = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)) for image in grey])
    flat = small.reshape(len(small), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _proposed(
    hashes: UInt8[np.ndarray, "n bands"],
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """Pairs of images that share two neighbouring parts of their hashes, and lie near each other in their order."""
    for band in range(BANDS):
        columns = np.roll(hashes, -band, axis=1)
        order = np.lexsort(columns.T[::-1])
        keys = columns[order, :2]
        for step in range(1, MOST + 1):
            same = (keys[:-step] == keys[step:]).all(axis=1)
            if not same.any():
                break
            yield order[:-step][same], order[step:][same]


def _root(parents: Int64[np.ndarray, " n"], index: int) -> int:
    """The root of an image's tree; on the way every second parent is skipped from now on (path halving)."""
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = int(parents[index])
    return index
