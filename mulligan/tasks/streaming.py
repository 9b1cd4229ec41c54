"""Images too many for memory: drawn from their files when they are needed, in a fixed order, ahead of their use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from mulligan.errors import MulliganError
from mulligan.tasks.splits import digest, digests_of

THREADS = os.cpu_count() or 1
LAST_POSITION = 2**62  # grain wants an end; at a billion images a second it is a century away
ROW_BYTES = 2**24  # of an array on the disk that are looked at at a time
HELD_SHARE = 4  # one part in so many of the memory allowed is for the array of all images: the device holds them too
# Where they are read from is not said: a file, an archive or the cache's copy, of which the last may go at any time.
STREAMED = "the images are larger than the memory allowed, so each is read when it is drawn."


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images that are read when they are asked for.

    Attributes:
      side: `(h, w, c)` of every image.
      read: index within the source -> uint8 `[h, w, c]`, called from several threads; or, where `at_once`, indices
        int64 `[k]` -> uint8 `[k, h, w, c]`.
      indices: within the source, of the images that these are.
      at_once: whether they lie in one array on the disk, from which many are read as fast as one.
    """

    side: tuple[int, int, int]
    read: Callable[..., UInt8[np.ndarray, "*k h w c"]]
    indices: Int64[np.ndarray, " n"]
    at_once: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(n, h, w, c)`, as of an array."""
        return (len(self.indices), *self.side)

    def subset(self, chosen: Int64[np.ndarray, " k"]) -> StreamedImages:
        """The images at `chosen`, still unread."""
        return replace(self, indices=self.indices[chosen])

    def take(self, chosen: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k h w c"]:
        """The images at `chosen`, read now; those that are decoded, in threads.

        Raises:
          MulliganError: one of them can no longer be read.
        """
        if self.at_once:
            return self.read(self.indices[chosen])
        images = np.empty((len(chosen), *self.side), np.uint8)
        with ThreadPoolExecutor(THREADS) as pool:
            for slot, image in enumerate(pool.map(self.read, self.indices[chosen].tolist())):
                images[slot] = image
        return images

    def stream(
        self, index_at: Callable[[int], int], start: int, batch: int
    ) -> Iterator[UInt8[np.ndarray, "batch h w c"]]:
        """Endless batches of the images at `index_at(position)`, one after the other, decoded ahead.

        Args:
          index_at: position of an endless order -> index into these images.
          start: first position.
          batch: images at a time.

        Raises:
          MulliganError: when an image is drawn that can no longer be read.
        """
        import grain

        positions = grain.MapDataset.range(start, LAST_POSITION)
        images = positions.map(lambda position: self.read(int(self.indices[index_at(int(position))])))
        ahead = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=4 * batch)
        return iter(images.to_iter_dataset(ahead).batch(batch))

    def digests(self) -> UInt64[np.ndarray, " n"]:
        """64-bit digest of every image's pixels; all are read, once.

        Raises:
          MulliganError: one of them cannot be read.
        """
        if self.at_once:
            rows = max(1, ROW_BYTES // int(np.prod(self.side)))
            blocks = (self.indices[start : start + rows] for start in range(0, len(self.indices), rows))
            return np.concatenate([np.zeros(0, np.uint64), *(digests_of(self.read(block)) for block in blocks)])
        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(lambda index: digest(self.read(index)), self.indices.tolist())
            return np.fromiter(found, np.uint64, len(self.indices))


def rows_of(path: str, rows: Int64[np.ndarray, " k"] | slice) -> np.ndarray:
    """Some rows of the array in an `.npy` file.

    The file is mapped for this call alone, so that what was looked at before counts in no process's memory.

    Raises:
      MulliganError: it can no longer be read.
    """
    try:
        file = _opened(path)
        shape, order, dtype, begins = _layout(path)
        mapped = np.memmap(file, dtype, "r", begins, shape, "F" if order else "C")
        return np.array(mapped[rows])
    except (OSError, ValueError) as error:
        raise MulliganError(f"{path} was read before and no longer can be: {error}.") from error


@lru_cache(maxsize=8)
def _opened(path: str) -> IO[bytes]:
    """Kept open, so that a file that is deleted or replaced in the middle of a run stays what it was."""
    return Path(path).open("rb")


@lru_cache(maxsize=8)
def _layout(path: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether columns come first, type, and the bytes before the numbers."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped.shape, not mapped.flags.c_contiguous, mapped.dtype, mapped.offset


def forget() -> None:
    """Files are opened anew, for they may be others than they were."""
    _opened.cache_clear()
    _layout.cache_clear()
