"""Every metric of a generator or of images against real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.score import full, make_reference
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.evaluation import FEWEST, FINAL_FAKES, REALS, TRAIN_REALS
from mulligan.training.generator import MODEL, load

SEED = 2


def score(source: Any, data: Any, size: int | None, n: int | None) -> dict[str, Any]:
    """See `mulligan.score`; `split` says which real images were compared with.

    Raises:
      MulliganError: the sizes or channels of the two differ, or either cannot be read.
    """
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
    split, real = ("test", task.test) if len(task.test) >= FEWEST else ("train", task.train)
    embedding = load_embedding()
    reference = make_reference(embedding, real.sample(REALS, seed=0), limit=REALS)
    known = make_reference(embedding, task.train.sample(TRAIN_REALS, seed=0), limit=TRAIN_REALS)
    return {"split": split, **full(reference, known, images)}


def _all(task: Task, count: int) -> Any:
    """Up to `count` images of a task, whatever its splits."""
    import numpy as np

    parts = [part.sample(count, seed=0) for part in (task.train, task.validation, task.test) if len(part)]
    return np.concatenate(parts)[:count]
