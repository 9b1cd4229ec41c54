"""How good each class of a labelled run is, and which is the worst: a mean over all hides a class that is ruined."""

from __future__ import annotations

from typing import Any

import numpy as np

from mulligan.metrics.coverage import prdc
from mulligan.metrics.embed import Embedding
from mulligan.metrics.kid import kid
from mulligan.tasks.task import Split
from mulligan.training.engine import Sampler
from mulligan.types import Pytree

FEWEST = 8  # real images of a class below which it is not measured
MOST = 512  # real and generated images of each class, at most
GENERATED = 20_000  # of all classes together, at most
SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # of a sample: each is compiled for once
LATENT_SEED = 20_030

ClassScores = dict[str, Any]


def class_scores(
    sampler: Sampler, gen: Pytree, embedding: Embedding, real: Split, names: tuple[str, ...]
) -> dict[str, Any]:
    """KID, precision, recall and coverage of each class against as many real images of that class.

    As many of both: intervals of KID hold best then. Estimates of precision, recall and coverage depend on how many
    images there are, so classes compare in these only where `n_real` is alike; KID is unbiased.

    Args:
      sampler, gen: what draws.
      embedding: in which they are compared.
      real: labelled images that were not trained on.
      names: of the classes.

    Returns:
      `classes`: of each with at least 8 real images, in the order of the names, `name`, `n_real`, `kid`, `kid_low`,
      `kid_high` (95%), `precision`, `recall`, `coverage`; `unmeasured`: names of the others; `worst_class`: the name of
      the class with the highest KID, where its interval lies above the median of all; else None.
    """
    labels = real.labels
    assert labels is not None
    counts = np.bincount(labels, minlength=len(names))
    most = min(MOST, max(GENERATED // max(int((counts >= FEWEST).sum()), 1), FEWEST))
    scores, unmeasured = [], []
    for label, name in enumerate(names):
        n = size_of_sample(int(counts[label]), most)
        if n == 0:
            unmeasured.append(name)
            continue
        rows = np.random.default_rng(label).permutation(np.flatnonzero(labels == label))[:n]
        latents = sampler.latents(n, LATENT_SEED + label)
        fake = embedding(sampler(gen, latents, np.full(n, label, np.int32)))
        shown = embedding(real.take(np.sort(rows)).images)
        distance, shares = kid(shown, fake), prdc(shown, fake)
        kids = {"kid": distance.value, "kid_low": distance.low, "kid_high": distance.high}
        parts = {part: getattr(shares, part) for part in ("precision", "recall", "coverage")}
        scores.append({"name": name, "n_real": len(shown), **kids, **parts})
    return {"classes": scores, "unmeasured": unmeasured, "worst_class": worst(scores)}


def size_of_sample(count: int, most: int) -> int:
    """The largest of `SIZES` that neither exceeds; 0 where there are too few.

    Example:
      >>> size_of_sample(100, 512), size_of_sample(7, 512), size_of_sample(9999, 500)
      (96, 0, 384)
    """
    return max((size for size in SIZES if size <= min(count, most)), default=0)


def worst(scores: list[ClassScores]) -> str | None:
    """The class with the highest KID, if even the lower end of its interval is above the median of all classes.

    Example:
      >>> found = (("a", 0.1), ("b", 0.2), ("c", 0.9))
      >>> rows = [{"name": name, "kid": kid, "kid_low": kid - 0.1} for name, kid in found]
      >>> worst(rows), worst(rows[:2])
      ('c', None)
    """
    if len(scores) < 2:
        return None
    candidate = max(scores, key=lambda each: each["kid"])
    return candidate["name"] if candidate["kid_low"] > np.median([each["kid"] for each in scores]) else None
