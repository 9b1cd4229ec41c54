"""Images as a source holds them: read, but not yet split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt8, UInt64

from mulligan.errors import MulliganError
from mulligan.tasks.splits import digests_of
from mulligan.tasks.streaming import StreamedImages


@dataclass(frozen=True, eq=False)
class Collection:
    """Images with what the source says of them.

    Attributes:
      images: uint8 `[n, h, w, c]`, in memory or streamed.
      labels: int32 `[n]` into `classes`.
      split: codes `[n]` of the source's own split: 0 train, 1 test, 2 validation.
      classes: names of the labels.
      notes: one-line sentences on how the images were read.
    """

    images: UInt8[np.ndarray, "n h w c"] | StreamedImages
    labels: Int32[np.ndarray, " n"] | None = None
    split: Integer[np.ndarray, " n"] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def digests(self) -> UInt64[np.ndarray, " n"]:
        """64-bit digest of every image's pixels."""
        return digests_of(self.images) if isinstance(self.images, np.ndarray) else self.images.digests


def drawn(available: int, n: int, seed: int) -> Int64[np.ndarray, " k"]:
    """Ascending indices of `k = min(n, available)` different things, the same for the same seed."""
    return np.sort(np.random.default_rng(seed).permutation(available)[:n])


def number_classes(
    labels: np.ndarray, n: int, names: tuple[str, ...] | None = None
) -> tuple[Int32[np.ndarray, " n"], tuple[str, ...]]:
    """Renumbers labels `0 .. k-1`, and names the classes that occur.

    Args:
      labels: integers `[n]`, in any range.
      n: number of images that they belong to.
      names: of the classes, indexed by the labels; the numbers themselves when None.

    Raises:
      MulliganError: another length or dtype, or a label without a name.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise MulliganError(
            f"there are {n:,} images but labels of shape {list(labels.shape)}: give one label an image."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise MulliganError(f"labels are {labels.dtype}; they must be integers.")
    values, numbered = np.unique(labels, return_inverse=True)
    if names is None:
        return numbered.astype(np.int32), tuple(str(value) for value in values)
    if n and not 0 <= values[0] <= values[-1] < len(names):
        raise MulliganError(f"labels run from {values[0]} to {values[-1]}, but there are {len(names)} class names.")
    return numbered.astype(np.int32), tuple(names[value] for value in values)
