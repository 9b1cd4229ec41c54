"""Euclidean distances between features: all pairs, nearest neighbours, and the spread of a set."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from mulligan.errors import UsageError

ENTRIES = 8_000_000  # largest block of the distance matrix held at once: 64 MB


def squared_distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """`|a_i - b_j|^2`, float64, by one matrix product; exactly 0 where the rows are equal.

    A result below the rounding of the product is taken for 0, so that copies are seen as copies.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = (a**2).sum(1)[:, None] + (b**2).sum(1)
    squared = norms - 2 * (a @ b.T)
    # The difference of nearly equal numbers is their rounding: some 1e-16 of the norms for each addend.
    squared[squared < 1e-12 * norms] = 0
    return squared


def neighbours(
    samples: Float[np.ndarray, "n d"], train: Float[np.ndarray, "m d"], k: int = 1
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The `k` rows of `train` nearest to each sample, nearest first: their indices, and their distances (not
    squared).

    Args:
      samples: features.
      train: features in the same embedding.
      k: at most the number of rows in `train`; of equally near ones the first is taken.

    Raises:
      UsageError: k is not between 1 and the number of rows in `train`.

    Example:
      >>> indices, distances = neighbours(np.array([[0.0]]), np.array([[5.0], [1.0], [3.0]]), k=2)
      >>> indices.tolist(), distances.tolist()
      ([[1, 2]], [[1.0, 3.0]])
    """
    if not 1 <= k <= len(train):
        raise UsageError(f"cannot take the {k} nearest of {len(train)} images.")
    rows = max(1, ENTRIES // len(train))
    indices = np.empty((len(samples), k), np.int64)
    distances = np.empty((len(samples), k))
    for start in range(0, len(samples), rows):
        squared = squared_distances(samples[start : start + rows], train)
        # Sorted by index first, then stably by distance: of equally near rows the first comes first.
        nearest = np.sort(np.argpartition(squared, k - 1, axis=1)[:, :k], axis=1)
        found = np.take_along_axis(squared, nearest, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        indices[start : start + rows] = np.take_along_axis(nearest, order, axis=1)
        distances[start : start + rows] = np.sqrt(np.take_along_axis(found, order, axis=1))
    return indices, distances


def spread(features: Float[np.ndarray, "n d"]) -> float:
    """The mean distance over pairs of different rows, n >= 2; the distance matrix is held whole."""
    return float(np.sqrt(squared_distances(features, features)).sum() / (len(features) * (len(features) - 1)))


def relative_spread(samples: float, real: float) -> float:
    """The quotient of two spreads (or distances), 1 where both are 0 and infinite where only that of real images is.

    Of spreads it is the diversity: 1 is as diverse as real, 0 is one image again and again. It says nothing of quality:
    noise can exceed 1.
    """
    if real > 0:
        return samples / real
    return 1.0 if samples == 0 else float("inf")
