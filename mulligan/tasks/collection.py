"""Images as a source holds them: read, but not yet split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt8, UInt64
from numpy.typing import ArrayLike

from mulligan.errors import MulliganError, printable
from mulligan.tasks.splits import digests_of
from mulligan.tasks.streaming import StreamedImages

COLUMNS = ("labels", "split", "groups")  # arrays with an entry for each image
UNLABELLED = -1  # label of an image whose class is not known, beside images whose class is


@dataclass(frozen=True, eq=False)
class Collection:
    """Images with what the source says of them.

    Attributes:
      images: uint8 `[n, h, w, c]`, in memory or streamed.
      labels: int32 `[n]` into `classes`, or UNLABELLED.
      split: codes `[n]` of the source's own split: 0 train, 1 test, 2 validation.
      classes: names of the labels.
      notes: one-line sentences on how the images were read.
      groups: numbers `[n]`; images of one group come into one split.
      unlabelled: where there are no labels, why; empty where there is no more to say than that.
      known: digests of the images, where they are known already.
    """

    images: UInt8[np.ndarray, "n h w c"] | StreamedImages
    labels: Int32[np.ndarray, " n"] | None = None
    split: Integer[np.ndarray, " n"] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    groups: Integer[np.ndarray, " n"] | None = None
    unlabelled: str = ""
    known: UInt64[np.ndarray, " n"] | None = None

    @cached_property
    def digests(self) -> UInt64[np.ndarray, " n"]:
        """64-bit digest of every image's pixels; they are read for it, unless it is known.

        Raises:
          MulliganError: a streamed image cannot be read.
        """
        if self.known is not None:
            return self.known
        return digests_of(self.images) if isinstance(self.images, np.ndarray) else self.images.digests()

    def arrays(self) -> dict[str, np.ndarray]:
        """What there is of `COLUMNS`, and the `digests`: all arrays but the images, to be kept in a file.

        Raises:
          MulliganError: a streamed image cannot be read.
        """
        found = {name: array for name in COLUMNS if (array := getattr(self, name)) is not None}
        return {"digests": self.digests, **found}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> Collection:
        """The collection with what `arrays` gave of another one of the same images."""
        return replace(self, known=arrays["digests"], **{name: arrays.get(name) for name in COLUMNS})


def drawn(available: int, n: int, seed: int) -> Int64[np.ndarray, " k"]:
    """Ascending indices of `k = min(n, available)` different things, the same for the same seed."""
    return np.sort(np.random.default_rng(seed).permutation(available)[:n])


def number_classes(
    labels: ArrayLike, n: int, names: Sequence[str] | None = None
) -> tuple[Int32[np.ndarray, " n"], tuple[str, ...]]:
    """Renumbers labels `0 .. k-1`, and names the classes that occur.

    Args:
      labels: `[n]` or `[n, 1]` integers in any range, whole numbers, booleans or text; or one-hot `[n, k]`.
      n: number of images that they belong to.
      names: of the classes, indexed by the labels; the labels themselves when None.

    Raises:
      MulliganError: another length or kind, or a label without a name.

    Example:
      >>> number_classes(["dog", "cat", "dog"], 3)
      (array([1, 0, 1], dtype=int32), ('cat', 'dog'))
    """
    given = _one_each(np.asarray(labels), n)
    values, numbered = np.unique(given, return_inverse=True)
    if names is None:
        return numbered.astype(np.int32), tuple(printable(str(value)) for value in values)
    if n and not (np.issubdtype(given.dtype, np.integer) and 0 <= values[0] <= values[-1] < len(names)):
        raise MulliganError(f"labels run from {values[0]} to {values[-1]}, but there are {len(names)} class names.")
    return numbered.astype(np.int32), tuple(printable(str(names[value])) for value in values)


def _one_each(labels: np.ndarray, n: int) -> np.ndarray:
    """One label an image: integers, or text."""
    if labels.ndim == 2 and labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.ndim == 2 and len(labels) == n and labels.dtype.kind in "biuf":
        one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
        labels = labels.argmax(axis=1) if one_hot else labels
    if labels.shape != (n,):
        raise MulliganError(
            f"there are {n:,} images but labels of shape {list(labels.shape)}: give one label an image."
        )
    if labels.dtype == bool:
        return labels.astype(np.int64)
    if np.issubdtype(labels.dtype, np.floating) and np.isfinite(labels).all() and (labels % 1 == 0).all():
        return labels.astype(np.int64)
    if labels.dtype == object and all(isinstance(label, str | bytes | int | np.integer) for label in labels):
        labels = np.array(
            [label.decode(errors="replace") if isinstance(label, bytes) else str(label) for label in labels]
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype.kind != "U":
        raise MulliganError(f"labels are {labels.dtype}; they must be integers or text.")
    return labels
