"""Images too many for memory: decoded when they are needed, in a fixed order, ahead of their use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from mulligan.tasks.splits import digest

THREADS = os.cpu_count() or 1
LAST_POSITION = 2**62  # grain wants an end; at a billion images a second it is a century away


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images that are read one at a time.

    Attributes:
      side: `(h, w, c)` of every image.
      read: index within the source -> uint8 `[h, w, c]`; called from several threads.
      indices: within the source, of the images that these are.
      digests: 64-bit digest of each image's pixels.
    """

    side: tuple[int, int, int]
    read: Callable[[int], UInt8[np.ndarray, "h w c"]]
    indices: Int64[np.ndarray, " n"]
    digests: UInt64[np.ndarray, " n"]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(n, h, w, c)`, as of an array."""
        return (len(self.indices), *self.side)

    def subset(self, chosen: Int64[np.ndarray, " k"]) -> StreamedImages:
        """The images at `chosen`, still unread."""
        return replace(self, indices=self.indices[chosen], digests=self.digests[chosen])

    def take(self, chosen: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k h w c"]:
        """The images at `chosen`, read now, in threads.

        Raises:
          MulliganError: one of them can no longer be read.
        """
        images = np.empty((len(chosen), *self.side), np.uint8)
        with ThreadPoolExecutor(THREADS) as pool:
            for slot, image in enumerate(pool.map(self.read, self.indices[chosen].tolist())):
                images[slot] = image
        return images

    def stream(
        self, index_at: Callable[[int], int], start: int, batch: int
    ) -> Iterator[UInt8[np.ndarray, "batch h w c"]]:
        """Endless batches of the images at `index_at(position)`, one after the other, read ahead.

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


def measured(
    side: tuple[int, int, int], read: Callable[[int], UInt8[np.ndarray, "h w c"]], indices: Int64[np.ndarray, " n"]
) -> StreamedImages:
    """Images that have not been read yet: all are, once, for their digests.

    Raises:
      MulliganError: one of them cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda index: digest(read(index)), indices.tolist())
        return StreamedImages(side, read, indices, np.fromiter(found, np.uint64, len(indices)))
