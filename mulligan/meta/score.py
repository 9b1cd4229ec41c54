"""Every metric of a generator or of images against real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mulligan.metrics.cached import cached_features
from mulligan.metrics.coverage import prdc
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.inception import PROTOCOL, load_inception
from mulligan.metrics.score import Reference, final_metrics, make_reference, validation_metrics_of
from mulligan.metrics.selection import KID
from mulligan.places import cache_folder
from mulligan.tasks.framing import MILD_ASPECT, Frame, resample
from mulligan.tasks.images import read_task
from mulligan.training.evaluation import FINAL_FAKES, REALS, TRAIN_REALS, own_rows
from mulligan.training.generator import MODEL, load

SEED = 2
WHITE = (255, 255, 255)


def score(source: Any, data: Any, size: int | None, n: int | None, inception: Path | None = None) -> dict[str, Any]:
    """See `mulligan.score`; `split` says which real images were compared with.

    A generator is compared at its own size, and other images at that of `source`, unless a size is given; grey images
    are compared with coloured ones as they look. With `inception`, the file of its weights, `frechet` is the FID, and
    nothing is said of copies.

    Raises:
      MulliganError: either cannot be read.
    """
    embedding = load_embedding() if inception is None else load_inception(inception)
    count = n or FINAL_FAKES
    if isinstance(source, (str, Path)) and any((Path(source) / name).is_file() for name in (MODEL, "run.json")):
        images = load(source).sample(count, seed=SEED)
    else:
        generated = read_task(source, size=size)
        splits = [part for part in (generated.train, generated.validation, generated.test) if len(part)]
        images = np.concatenate([part.sample(count, seed=0) for part in splits])[:count]
    task = read_task(data, size=size)
    sides = (size, size) if size else images.shape[1:3]
    split, real = task.judge("test")
    images, reals = _placed(images, sides), _placed(real.sample(REALS, seed=0), sides)
    compared = {"split": split, "sides": list(sides)}
    if inception is not None:
        # FID, KID, precision and recall in Inception's features, and how they were made.
        cache = cache_folder()
        features = embedding(reals) if cache is None else cached_features(embedding, reals, cache / "features")
        fake = embedding(images)
        reference = Reference(embedding, features, (KID,))  # beside pixels they would weigh nothing: nobody scaled them
        scores = {**validation_metrics_of(reference, fake), **prdc(features, fake)._asdict()}
        return {**compared, **scores, "protocol": PROTOCOL}
    reference = make_reference(embedding, reals, limit=REALS)
    known = make_reference(embedding, _placed(task.train.sample(TRAIN_REALS, seed=0), sides), limit=TRAIN_REALS)
    own = own_rows(task.train, REALS) if split == "train" else None
    return {**compared, **final_metrics(reference, known, images, own=own)}


def _placed(images: UInt8[np.ndarray, "n h w c"], sides: tuple[int, int]) -> UInt8[np.ndarray, "n h2 w2 c2"]:
    """The images at a height and a width: cropped to the centre where half of them or more is kept, else padded."""
    h, w = images.shape[1:3]
    aspect = w / h * (sides[0] / sides[1])
    fit = "crop" if max(aspect, 1 / aspect) <= MILD_ASPECT else "pad"
    return resample(images, Frame(*sides, fit, WHITE))
