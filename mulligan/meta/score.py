"""Every metric of a generator or of images against real images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from platformdirs import user_cache_path

from mulligan.errors import MulliganError
from mulligan.metrics.cached import cached_features
from mulligan.metrics.coverage import prdc
from mulligan.metrics.embed import Embedding, load_embedding
from mulligan.metrics.inception import PROTOCOL, load_inception
from mulligan.metrics.score import Reference, final_metrics, make_reference, validation_metrics_of
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.evaluation import FINAL_FAKES, REALS, TRAIN_REALS, own_rows
from mulligan.training.generator import MODEL, load

SEED = 2


def score(source: Any, data: Any, size: int | None, n: int | None, inception: Path | None = None) -> dict[str, Any]:
    """See `mulligan.score`; `split` says which real images were compared with.

    With `inception`, the file of its weights, `frechet` is the FID, and nothing is said of copies.

    Raises:
      MulliganError: the sizes or channels of the two differ, or either cannot be read.
    """
    embedding = load_embedding() if inception is None else load_inception(inception)
    count = n or FINAL_FAKES
    if isinstance(source, (str, Path)) and any((Path(source) / name).is_file() for name in (MODEL, "run.json")):
        generator = load(source)
        images, size = generator.sample(count, seed=SEED), size or generator.shape[0]
    else:
        images = _all(read_task(source, size=size), count)
    task = read_task(data, size=size)
    if images.shape[1:] != task.shape:
        found, wanted = ("x".join(map(str, shape)) for shape in (images.shape[1:], task.shape))
        raise MulliganError(f"cannot compare images of {found} with images of {wanted}: give both a --size.")
    split, real = task.judge("test")
    if inception is not None:
        return {"split": split, **_by_inception(embedding, real.sample(REALS, seed=0), images)}
    reference = make_reference(embedding, real.sample(REALS, seed=0), limit=REALS)
    known = make_reference(embedding, task.train.sample(TRAIN_REALS, seed=0), limit=TRAIN_REALS)
    own = own_rows(task.train, REALS) if split == "train" else None
    return {"split": split, **final_metrics(reference, known, images, own=own)}


def _by_inception(
    embedding: Embedding, real: UInt8[np.ndarray, "n h w c"], images: UInt8[np.ndarray, "m h w c"]
) -> dict[str, Any]:
    """FID, KID, precision and recall in Inception's features, and how they were made."""
    reference = Reference(embedding, cached_features(embedding, real, _cache()))
    fake = embedding(images)
    scores = {**validation_metrics_of(reference, fake), **prdc(reference.features, fake)._asdict()}
    return {**scores, "protocol": PROTOCOL}


def _cache() -> Path:
    return Path(os.environ.get("MULLIGAN_CACHE") or user_cache_path("mulligan")) / "features"


def _all(task: Task, count: int) -> Any:
    """Up to `count` images of a task, whatever its splits."""
    parts = [part.sample(count, seed=0) for part in (task.train, task.validation, task.test) if len(part)]
    return np.concatenate(parts)[:count]
