"""A task: one data set to train a GAN on, split into train, validation and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection, drawn
from mulligan.tasks.descriptor import describe
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION, assign, content_hash, count_sentence
from mulligan.tasks.streaming import StreamedImages

SMALLEST, LARGEST = 8, 256  # sides that the networks work with
FEW = 100  # validation images below which a metric is too noisy to trust


class Batch(NamedTuple):
    """Images uint8 `[batch, h, w, c]` and their labels int32 `[batch]`, or None."""

    images: UInt8[np.ndarray, "batch h w c"]
    labels: Int32[np.ndarray, " batch"] | None


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a task: images, in memory or streamed, and labels where there are any."""

    images: UInt8[np.ndarray, "n h w c"] | StreamedImages
    labels: Int32[np.ndarray, " n"] | None = None

    @property
    def in_memory(self) -> bool:
        """Whether `images` is an array. If not, use `batches`, `take` and `sample`, which work for both."""
        return isinstance(self.images, np.ndarray)

    def __len__(self) -> int:
        return self.images.shape[0]

    def take(self, indices: Int64[np.ndarray, " k"]) -> Batch:
        """The images, and labels, at `indices`."""
        images = self.images[indices] if isinstance(self.images, np.ndarray) else self.images.take(indices)
        return Batch(images, None if self.labels is None else self.labels[indices])

    def batches(self, seed: int, start: int, batch: int) -> Iterator[Batch]:
        """Endless shuffled batches, from the position `start` (in images) of the order that `seed` fixes.

        Every image comes once an epoch, and a batch may span two epochs. What comes depends on `(seed,
        position)` alone, so `batches(seed, k, batch)` goes on exactly where a run stopped after `k` images,
        in memory or streamed.

        Raises:
          MulliganError: the split is empty, or a streamed image can no longer be read.

        Example:
          >>> images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
          >>> next(Split(images).batches(seed=0, start=0, batch=4)).images.shape
          (4, 8, 8, 1)
        """
        if not len(self):
            raise MulliganError("this split holds no images: the data set is too small to have one.")
        positions = (np.arange(first, first + batch) for first in count(start, batch))
        if isinstance(self.images, np.ndarray):
            for position in positions:
                yield self.take(shuffled(len(self), seed, position))
            return
        stream = self.images.stream(lambda position: _shuffled_index(len(self), seed, position), start, batch)
        for position, images in zip(positions, stream, strict=False):
            labels = None if self.labels is None else self.labels[shuffled(len(self), seed, position)]
            yield Batch(images, labels)

    def sample(self, n: int, seed: int) -> UInt8[np.ndarray, "k h w c"]:
        """`k = min(n, len(self))` different images, the same for the same seed."""
        return self.take(drawn(len(self), n, seed)).images


@lru_cache(maxsize=8)
def _epoch_order(n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    return np.random.default_rng((seed, epoch)).permutation(n)


def _shuffled_index(n: int, seed: int, position: int) -> int:
    return int(_epoch_order(n, seed, position // n)[position % n])


def shuffled(n: int, seed: int, positions: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """Indices into `n` images at `positions` of an endless order, a new permutation each epoch."""
    epochs, offsets = np.divmod(positions, n)
    indices = np.empty_like(positions)
    for epoch in np.unique(epochs):
        indices[epochs == epoch] = _epoch_order(n, seed, int(epoch))[offsets[epochs == epoch]]
    return indices


@dataclass(frozen=True, eq=False)
class Task:
    """One data set to train a GAN on.

    Attributes:
      name: of the source, without its folder and suffix.
      shape: `(h, w, c)`, with sides from 8 to 256 and 1 or 3 channels.
      train, validation, test: parts that share no image; the last two are empty for fewer than 10 images.
      classes: names of the labels `0 .. k-1`; None when there are none or they were not asked for.
      notes: one-line sentences on how the images were read.
      hash: 16 hexadecimal digits, a function of the images and labels alone, whatever their order or split.
      descriptor: name to number; see `mulligan.tasks.descriptor`.
    """

    name: str
    shape: tuple[int, int, int]
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    hash: str
    descriptor: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Number of images in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def to_json(self) -> dict[str, Any]:
        """What a run folder's `task.json` holds: everything but the images and labels."""
        return {
            "name": self.name,
            "hash": self.hash,
            "shape": list(self.shape),
            "counts": self.counts,
            "classes": None if self.classes is None else list(self.classes),
            "descriptor": self.descriptor,
            "notes": list(self.notes),
        }


class Family(NamedTuple):
    """Tasks of one origin. Generalisation is measured across families, never within one."""

    name: str
    tasks: tuple[Task, ...]


def make_task(name: str, collection: Collection, *, labels: bool = False, seed: int = 0) -> Task:
    """Splits a collection into a task.

    Args:
      name: of the task.
      collection: images as read.
      labels: keep labels and classes; they stratify the split either way.
      seed: of the split, where the source brings none.

    Raises:
      MulliganError: no images, all of them identical, or sides that the networks do not work with.
    """
    _check(collection)
    assignment = assign(collection.digests, collection.labels, collection.split, seed)
    kept = collection.labels if labels else None
    parts = {code: _part(collection, kept, assignment.codes == code) for code in (TRAIN, VALIDATION, TEST)}
    h, w, c = collection.images.shape[1:]
    classes = collection.classes if labels else None
    train = parts[TRAIN]
    return Task(
        name=name,
        shape=(h, w, c),
        train=train,
        validation=parts[VALIDATION],
        test=parts[TEST],
        classes=classes,
        notes=(*collection.notes, *assignment.notes, *_few(len(parts[VALIDATION]))),
        hash=content_hash((h, w, c), collection.digests, kept),
        descriptor=describe(len(train), train.sample(1024, seed=0), len(classes) if classes else 0),
    )


def by_class(task: Task) -> Family:
    """One task for each class of a labelled task, split as it is; a class must have training images.

    Raises:
      MulliganError: the task has no labels.
    """
    if task.classes is None:
        raise MulliganError(f"{task.name} was read without labels, so it has no classes to make tasks of.")
    return Family(task.name, tuple(_tasks_of_classes(task, task.classes)))


def _tasks_of_classes(task: Task, classes: tuple[str, ...]) -> Iterator[Task]:
    splits = {TRAIN: task.train, VALIDATION: task.validation, TEST: task.test}
    for label, name in enumerate(classes):
        found = {code: np.flatnonzero(part.labels == label) for code, part in splits.items()}
        if not len(found[TRAIN]):
            continue
        images = np.concatenate([splits[code].take(found[code]).images for code in splits])
        codes = np.concatenate([np.full(len(found[code]), code, np.int8) for code in splits])
        yield make_task(f"{task.name}/{name}", Collection(images, split=codes, notes=task.notes))


def _part(collection: Collection, labels: np.ndarray | None, member: np.ndarray) -> Split:
    chosen = np.flatnonzero(member)
    images = collection.images
    part = images[chosen] if isinstance(images, np.ndarray) else images.subset(chosen)
    return Split(part, None if labels is None else labels[chosen])


def _check(collection: Collection) -> None:
    n, h, w, _ = collection.images.shape
    if n == 0:
        raise MulliganError("there are no images in it: the array is empty.")
    if not (SMALLEST <= h <= LARGEST and SMALLEST <= w <= LARGEST):
        raise MulliganError(
            f"the images are {w}x{h}, and the networks work with sides from {SMALLEST} to {LARGEST}: "
            "resample them with --size."
        )
    if n > 1 and (collection.digests == collection.digests[0]).all():
        raise MulliganError(
            f"all {n:,} images are identical, so there is nothing to learn: check how they were written."
        )


def _few(validation: int) -> tuple[str, ...]:
    if 0 < validation < FEW:
        return (f"only {count_sentence(validation, 'validation image')}: metrics on so few are noisy.",)
    return ()
