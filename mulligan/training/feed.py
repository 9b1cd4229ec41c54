"""The training images of a run on the device: all of them, or a ring of those that are being streamed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from mulligan.game.step import Data
from mulligan.tasks.task import LabelledImages, Split
from mulligan.training.mesh import replicated

BLOCK = 256  # images that are read, and replaced, at a time
RING = 8192  # images in a ring, at most
RING_BYTES = 256 * 2**20  # of their pixels, at most
READER = "reading ahead"
AHEAD_BYTES = 64 * 2**20  # of pixels decoded before they are wanted
# With labels or without, on which devices.
_ON_DEVICE: WeakKeyDictionary[Split, dict[tuple[bool, Mesh | None], Data]] = WeakKeyDictionary()


class Feed:
    """What the chunks of a run draw their batches from.

    Images in memory lie on the device whole, as bytes, once for all runs of a process. Of streamed ones a ring lies
    there, from which batches are drawn. A thread decodes the next blocks while a chunk runs, and before the next chunk
    they take the places of the oldest: as many images as were shown since, so that on average each is shown once a
    stay, as in an epoch.

    What the ring holds is a function of the seed and of `drawn`, so that a run can resume.

    Attributes:
      drawn: blocks that were drawn from the stream so far.
      images: that lie on the device.
    """

    def __init__(
        self,
        split: Split,
        labelled: bool,
        seed: int,
        drawn: int,
        exact: bool = True,
        chances: Float[np.ndarray, " k"] | None = None,
        mesh: Mesh | None = None,
    ):
        """Images of a split.

        Args:
          split: where they are.
          labelled: whether their labels go with them.
          seed: of the order in which they are streamed.
          drawn: blocks that were drawn from the stream before.
          exact: wait for all images that are due, and so do not depend on how fast they are read.
          chances: how often each class is shown, until `show` says otherwise; None for as often as it occurs.
          mesh: of the devices on which the images lie, on each whole; None for one device.
        """
        self.streams = not split.in_memory
        self.drawn = drawn
        self._split, self._labelled, self._seed, self._exact = split, labelled, seed, exact
        h, w, c = split.whole.shape[1:]
        self._block = min(BLOCK, len(split))
        self._blocks = max(min(RING, RING_BYTES // (h * w * c), len(split)) // self._block, 1)
        self.images = self._blocks * self._block if self.streams else len(split)
        self._chances = chances
        self._mesh = mesh
        self._stream: _Stream | None = None
        self._data: Data | None = None
        if not self.streams:  # the recipes of a race share what lies on the device
            known = _ON_DEVICE.setdefault(split, {})
            if (labelled, mesh) not in known:
                data = Data(jax.device_put(split.images), jnp.asarray(split.labels) if labelled else None)
                known[labelled, mesh] = replicated(data, mesh)
            self._data = known[labelled, mesh]

    def show(self, chances: Float[np.ndarray, " k"]) -> None:
        """Changes how often each class is shown."""
        self._chances = chances

    def data(self, shown: int) -> Data:
        """What the next chunk draws from, when so many images have been shown in all.

        Raises:
          MulliganError: a streamed image can no longer be read.
        """
        self._data = self._data or self._filled()
        if self.streams:
            due = min(self._blocks + shown // self._block - self.drawn, self._blocks)
            stream = self._reading()
            for _ in range(due if self._exact else min(due, stream.read.qsize())):  # those that need no waiting
                self._data = self._replaced(self._data, next(stream))
        data = self._data
        if self._chances is None:
            return data
        return data._replace(cumulative=_cumulative(data.labels, jnp.asarray(self._chances)))

    def shapes(self) -> Data:
        """Shapes and types of the data, for compiling; nothing is drawn."""
        shapes = jax.eval_shape(self._empty) if self._data is None else jax.eval_shape(lambda data: data, self._data)
        if self._chances is None:
            return shapes
        return shapes._replace(cumulative=jax.ShapeDtypeStruct((self.images,), jnp.float32))

    def _empty(self) -> Data:
        images = jnp.zeros((self.images, *self._split.whole.shape[1:]), jnp.uint8)
        return Data(images, jnp.zeros(self.images, jnp.int32) if self._labelled else None)

    def _filled(self) -> Data:
        """The ring as it was when so many blocks had been drawn; at first, with the first blocks."""
        data = replicated(self._empty(), self._mesh)
        wanted, self.drawn = max(self.drawn, self._blocks), max(self.drawn - self._blocks, 0)
        stream = self._reading()
        while self.drawn < wanted:
            data = self._replaced(data, next(stream))
        return data

    def _reading(self) -> _Stream:
        if self._stream is None:
            ahead = max(AHEAD_BYTES // (self._block * int(np.prod(self._split.whole.shape[1:]))), 2)
            batches = self._split.batches(self._seed, self.drawn * self._block, self._block)
            self._stream = _Stream(batches, min(ahead, self._blocks))
        return self._stream

    def _replaced(self, data: Data, block: LabelledImages) -> Data:
        """The ring with a block in place of its oldest."""
        at = jnp.int32(self.drawn % self._blocks * self._block)
        self.drawn += 1
        new = Data(jnp.asarray(block.images), jnp.asarray(block.labels) if self._labelled else None)
        return _put(data, new, at)


@jax.jit
def _cumulative(labels: Int[Array, " m"], chances: Float[Array, " k"]) -> Float[Array, " m"]:
    """Sums of the images' chances, where each class has its own, whatever the number of its images."""
    counts = jnp.zeros_like(chances).at[labels].add(1.0)
    return jnp.cumsum((chances / jnp.maximum(counts, 1))[labels])


@partial(jax.jit, donate_argnums=0)
def _put(data: Data, block: Data, at: Any) -> Data:
    return jax.tree.map(lambda ring, part: jax.lax.dynamic_update_slice_in_dim(ring, part, at, 0), data, block)


class _Stream:
    """Batches read ahead by a thread, which ends with the process, or soon after the last one who held the stream."""

    def __init__(self, batches: Iterator[LabelledImages], ahead: int):
        self.read: queue.Queue[LabelledImages | BaseException] = queue.Queue(ahead)
        threading.Thread(target=_read_ahead, args=(batches, self.read, ref(self)), name=READER, daemon=True).start()

    def __next__(self) -> LabelledImages:
        found = self.read.get()
        if isinstance(found, BaseException):
            self.read.put(found)  # for whoever asks again
            raise found
        return found


def _read_ahead(batches: Iterator[LabelledImages], read: queue.Queue[Any], holder: ref[_Stream]) -> None:
    while True:
        try:
            found: LabelledImages | BaseException = next(batches)
        except BaseException as error:  # told to whoever asks for the next batch
            found = error
        while True:
            try:
                read.put(found, timeout=1.0)
                break
            except queue.Full:
                if holder() is None:
                    return
        if isinstance(found, BaseException):
            return
