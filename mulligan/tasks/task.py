"""A task: one data set to train a GAN on, split into train, validation and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int8, Int32, Int64, UInt8

from mulligan.errors import MulliganError, UsageError
from mulligan.events import DataRead
from mulligan.tasks.collection import UNLABELLED, Collection, drawn
from mulligan.tasks.descriptor import describe, described
from mulligan.tasks.splits import DROPPED, FEWEST, TEST, TRAIN, VALIDATION, assign, content_hash, count_sentence
from mulligan.tasks.streaming import StreamedImages

SMALLEST, LARGEST = 8, 256  # sides that the networks work with
SHARE = 10  # one training image in so many may lack a class, and be left out
SHOWN = 4  # classes in a sentence
FEW = 100  # validation images below which a metric is too noisy to trust


class LabelledImages(NamedTuple):
    """Images uint8 `[batch, h, w, c]` and their labels int32 `[batch]`, or None."""

    images: UInt8[np.ndarray, "batch h w c"]
    labels: Int32[np.ndarray, " batch"] | None


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a task: some of its images, in memory or streamed, and labels where there are any.

    Attributes:
      whole: all images that these are chosen from; no part copies them.
      labels: of the images chosen.
      chosen: indices into `whole`; None for all.
    """

    whole: UInt8[np.ndarray, "n h w c"] | StreamedImages
    labels: Int32[np.ndarray, " k"] | None = None
    chosen: Int64[np.ndarray, " k"] | None = None

    @property
    def in_memory(self) -> bool:
        """Whether `images` is an array. If not, use `batches`, `take` and `sample`, which work for both."""
        return isinstance(self.whole, np.ndarray)

    @property
    def images(self) -> UInt8[np.ndarray, "k h w c"] | StreamedImages:
        """The images; of those in memory a copy, unless they are all."""
        if self.chosen is None:
            return self.whole
        return self.whole[self.chosen] if isinstance(self.whole, np.ndarray) else self.whole.subset(self.chosen)

    def __len__(self) -> int:
        return self.whole.shape[0] if self.chosen is None else len(self.chosen)

    def take(self, indices: Int64[np.ndarray, " k"]) -> LabelledImages:
        """The images, and labels, at `indices`.

        Raises:
          MulliganError: a streamed image can no longer be read.
        """
        rows = indices if self.chosen is None else self.chosen[indices]
        images = self.whole[rows] if isinstance(self.whole, np.ndarray) else self.whole.take(rows)
        return LabelledImages(images, None if self.labels is None else self.labels[indices])

    def joined(self, other: Split) -> Split:
        """These images and those of another part of the same whole."""
        rows = [np.arange(len(part)) if part.chosen is None else part.chosen for part in (self, other)]
        labels = [part.labels for part in (self, other) if part.labels is not None]
        return Split(self.whole, np.concatenate(labels) if len(labels) == 2 else None, np.concatenate(rows))

    def batches(self, seed: int, start: int, batch: int) -> Iterator[LabelledImages]:
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
        if isinstance(self.whole, np.ndarray) or self.whole.at_once:
            for position in positions:
                yield self.take(shuffled(len(self), seed, position))
            return
        n, chosen = len(self), self.whole if self.chosen is None else self.whole.subset(self.chosen)
        stream = chosen.stream(lambda at: int(_epoch_order(n, seed, at // n)[at % n]), start, batch)
        for position, images in zip(positions, stream, strict=False):
            labels = None if self.labels is None else self.labels[shuffled(n, seed, position)]
            yield LabelledImages(images, labels)

    def sample(self, n: int, seed: int) -> UInt8[np.ndarray, "k h w c"]:
        """`k = min(n, len(self))` different images, the same for the same seed.

        Raises:
          MulliganError: a streamed image can no longer be read.
        """
        return self.take(drawn(len(self), n, seed)).images


@lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    return np.random.default_rng((seed, epoch)).permutation(n)


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
      train, validation, test: parts that share no image; the last two are empty where all images train.
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
    collection: Collection  # what the parts were taken from

    def judge(self, split: str) -> tuple[str, Split]:
        """The images by which a generator is judged, and what they are called.

        That is the split of this name; where it is too small, all that were kept back (`held-out`); where those are too
        few as well, the training images, by which nothing can be told of unseen ones.
        """
        parts = {"validation": self.validation, "test": self.test}
        if len(parts[split]) >= FEWEST:
            return split, parts[split]
        if len(self.validation) + len(self.test) >= FEWEST:
            return "held-out", self.validation.joined(self.test)
        return "train", self.train

    @property
    def counts(self) -> dict[str, int]:
        """Number of images in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of images of each class in each split; empty without classes."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        counted = {
            name: np.bincount(part.labels, minlength=len(self.classes or ()))
            for name, part in parts.items()
            if part.labels is not None
        }
        return {
            label: {name: int(found[number]) for name, found in counted.items()}
            for number, label in enumerate(self.classes or ())
        }

    def read_event(self) -> DataRead:
        """What is to be said of the images before anything is trained on them."""
        return DataRead(
            name=self.name,
            shape=list(self.shape),
            counts=self.counts,
            classes=self.class_counts or None,
            notes=list(self.notes),
        )

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
      MulliganError: no images, all of them identical, sides that the networks do not work with, or labels that many
        training images lack.
    """
    _check(collection)
    assignment = assign(collection.digests, collection.labels, collection.split, seed, collection.groups)
    codes, label_notes, classes, kept = assignment.codes, (), None, None
    if labels and collection.labels is not None:
        codes, classes, kept, label_notes = _labelled(collection, codes, seed)
    parts = {}
    for code in (TRAIN, VALIDATION, TEST):
        chosen = np.flatnonzero(codes == code)
        parts[code] = Split(collection.images, None if kept is None else kept[chosen], chosen)
    train, validation = parts[TRAIN], parts[VALIDATION]
    h, w, c = collection.images.shape[1:]

    notes, known = collection.notes, collection.classes or ()
    if len(known) > 1 and not labels:
        shown = ", ".join([*known[:SHOWN], *(["..."] if len(known) > SHOWN else [])])
        notes += (f"{len(known)} classes ({shown}) are known and not used: `mulligan fit --labels` trains on them.",)
    notes += (*assignment.notes, *label_notes)
    if 0 < len(validation) < FEW:
        counted = count_sentence(len(validation), "validation image")
        notes += (f"only {counted}: metrics on so few are noisy.",)
    return Task(
        name=name,
        shape=(h, w, c),
        train=train,
        validation=validation,
        test=parts[TEST],
        classes=classes,
        notes=notes,
        hash=content_hash((h, w, c), collection.digests, collection.labels if labels else None),
        descriptor=describe(len(train), train.sample(described(h, w), seed=0), len(classes) if classes else 0),
        collection=collection,
    )


def _labelled(
    collection: Collection, codes: Int8[np.ndarray, " n"], seed: int
) -> tuple[Int8[np.ndarray, " n"], tuple[str, ...], Int32[np.ndarray, " n"], tuple[str, ...]]:
    """Split codes, classes and labels less what cannot be learned: images without a class, classes without training."""
    assert collection.labels is not None
    assert collection.classes is not None
    given, notes = collection.labels, ()
    bare = given == UNLABELLED
    lacking = bare & (codes == TRAIN)
    if lacking.sum() > (codes == TRAIN).sum() / SHARE:
        raise MulliganError(
            f"{lacking.sum():,} of {(codes == TRAIN).sum():,} training images have no class: give them one, or "
            "train without classes."
        )
    codes = codes.copy()
    if bare.any():
        codes[bare] = DROPPED
        notes += (f"{count_sentence(int(bare.sum()), 'image')} without a class left out.",)
        # All that the source kept back had no class: the rest is split anew.
        if collection.split is not None and not np.isin(codes, (VALIDATION, TEST)).any():
            whole = codes != DROPPED
            rows = collection.digests[whole], given[whole], None, seed
            groups = None if collection.groups is None else collection.groups[whole]
            codes[whole], again = assign(*rows, groups)
            notes += again
    known = np.unique(given[codes == TRAIN])
    unknown = np.isin(codes, (VALIDATION, TEST)) & ~np.isin(given, known)
    if unknown.any():
        names = ", ".join(collection.classes[label] for label in np.unique(given[unknown]))
        counted = count_sentence(int(unknown.sum()), "image")
        notes += (f"no training images of the classes {names}: they are none, and their {counted} left out.",)
        codes[unknown] = DROPPED
    if len(known) == 1:
        raise UsageError(f"all images are of one class, {collection.classes[known[0]]}: train without classes.")
    kept = np.searchsorted(known, given).astype(np.int32)
    return codes, tuple(collection.classes[label] for label in known), kept, notes


def by_class(task: Task) -> Family:
    """One task for each class of a labelled task, split as it is; a class must have training images.

    Raises:
      MulliganError: the task has no labels.
    """
    if task.classes is None:
        raise MulliganError(f"{task.name} was read without labels, so it has no classes to make tasks of.")
    splits = {TRAIN: task.train, VALIDATION: task.validation, TEST: task.test}
    tasks = []
    for label, name in enumerate(task.classes):
        found = {code: np.flatnonzero(part.labels == label) for code, part in splits.items()}
        if not len(found[TRAIN]):
            continue
        images = np.concatenate([splits[code].take(found[code]).images for code in splits])
        codes = np.concatenate([np.full(len(found[code]), code, np.int8) for code in splits])
        tasks.append(make_task(f"{task.name}/{name}", Collection(images, split=codes, notes=task.notes)))
    return Family(task.name, tuple(tasks))


def _check(collection: Collection) -> None:
    n, h, w, _ = collection.images.shape
    if n == 0:
        raise MulliganError("there are no images in it: the array is empty.")
    if not (SMALLEST <= h <= LARGEST and SMALLEST <= w <= LARGEST):
        raise MulliganError(
            f"the images are {w}x{h}, and the networks work with sides from {SMALLEST} to {LARGEST}: "
            "resample them with `size`."
        )
    # A collapsed export or a placeholder that was downloaded a thousand times.
    if n > 1 and (collection.digests == collection.digests[0]).all():
        raise MulliganError(
            f"all {n:,} images are identical, so there is nothing to learn: check how they were written."
        )
