"""A task with images of half the size: means over 2x2 pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.task import Split, Task

AT_ONCE = 1024  # images whose sums are held beside them


def halve(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h/2 w/2 c"]:
    """Means over 2x2 pixels, rounded.

    Raises:
      MulliganError: a side is odd.

    Example:
      >>> halve(np.array([[1, 3], [5, 8]], np.uint8).reshape(1, 2, 2, 1)).item()
      4
    """
    n, h, w, c = images.shape
    if h % 2 or w % 2:
        raise MulliganError(f"images of {w}x{h} cannot be halved: both sides must be even.")
    small = np.empty((n, h // 2, w // 2, c), np.uint8)
    for start in range(0, n, AT_ONCE):
        part = images[start : start + AT_ONCE].astype(np.uint16)
        rows = part[:, ::2] + part[:, 1::2]
        small[start : start + AT_ONCE] = np.rint((rows[:, :, ::2] + rows[:, :, 1::2]) / np.float32(4))
    return small


def halved(task: Task) -> Task:
    """The same task, split as it is, with images of half the size; its descriptor and digests stay those of the large.

    Raises:
      MulliganError: a side is odd, or the images are not in memory.
    """
    whole = task.collection.images
    if not isinstance(whole, np.ndarray):
        raise MulliganError("images that stream from disk are not halved: give `size`.")
    small, (h, w, c) = halve(whole), task.shape

    def part(split: Split) -> Split:
        return replace(split, whole=small)

    return replace(
        task,
        shape=(h // 2, w // 2, c),
        train=part(task.train),
        validation=part(task.validation),
        test=part(task.test),
        collection=replace(task.collection, images=small),
    )
