"""Labelled families in small, as they are or with a long tail of rare classes; validation and test are even."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common.families import Labelled, families, read_family
from benchmarks.common.places import DATA, ZOO
from mulligan.tasks.framing import WHITE, Frame, resample
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION

SEED = 1
TEST_EACH, VALIDATION_EACH = 100, 40  # images of a class, at most; never more than a quarter and an eighth of it
MOST, RATIO = 800, 40.0  # training images of the commonest class, at most; how much rarer the rarest is
FEWEST = 12  # training images of the rarest class, where there are so many


class Made(NamedTuple):
    """A file that `mulligan fit` reads, and the training images of each class."""

    file: Path
    counts: np.ndarray


def make(name: str, long_tailed: bool, side: int, folder: Path) -> Made:
    """Writes a family of the learning or validation ones as `.npz`, with splits and labels."""
    if name not in (*families("learning"), *families("validation")):
        raise SystemExit(f"{name} is none of the learning or validation families")
    images, labels = _read(name)
    images = resample(images, Frame(side, side, "crop", WHITE))
    rng = np.random.default_rng(SEED)
    order, split = rng.permutation(labels.max() + 1), np.full(len(labels), -1)
    for place, label in enumerate(order):
        rows = rng.permutation(np.flatnonzero(labels == label))
        test, validation = min(TEST_EACH, len(rows) // 4), min(VALIDATION_EACH, len(rows) // 8)
        kept = min(MOST, len(rows) - test - validation)
        if long_tailed:
            kept = min(kept, max(round(MOST * RATIO ** -(place / max(len(order) - 1, 1))), FEWEST))
        split[rows[:test]], split[rows[test : test + validation]] = TEST, VALIDATION
        split[rows[test + validation : test + validation + kept]] = TRAIN
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}{'-tail' if long_tailed else ''}-{side}.npz"
    kept = split >= 0
    codes = np.select([split == TRAIN, split == TEST], [0, 1], 2)  # as the files of the older sets say
    np.savez_compressed(file, images=images[kept], labels=labels[kept], split=codes[kept])
    return Made(file, np.bincount(labels[split == TRAIN], minlength=labels.max() + 1))


def _read(name: str) -> Labelled:
    if (DATA / f"{name}.npz").is_file():
        stored = np.load(DATA / f"{name}.npz")
        images = stored["images"]
        return Labelled(images[..., None] if images.ndim == 3 else images, stored["labels"].astype(np.int64))
    return read_family(ZOO, name)
