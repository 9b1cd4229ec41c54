"""What the rest of the package calls: `validation_metrics` while training, `final_metrics` at the end, for a score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from mulligan.errors import UsageError
from mulligan.metrics.coverage import prdc
from mulligan.metrics.distances import relative_spread, spread
from mulligan.metrics.embed import AnyImages, Embedding, check_features
from mulligan.metrics.frechet import Gaussian, gaussian, gaussian_distance
from mulligan.metrics.kid import kid
from mulligan.metrics.memorisation import memorisation


@dataclass(frozen=True)
class Reference:
    """Real images in an embedding, with their statistics, each computed once when first asked for."""

    embedding: Embedding
    features: Float[np.ndarray, "n d"]

    @cached_property
    def gaussian(self) -> Gaussian:
        return gaussian(self.features)

    @cached_property
    def spread(self) -> float:
        return spread(self.features)


def make_reference(embedding: Embedding, images: AnyImages, limit: int = 2000, seed: int = 0) -> Reference:
    """Embeds real images, uint8 `[n, h, w, c]`: `limit` of them drawn at random when there are more.

    The spread and the kernel hold `limit x limit` matrices; 1,000 to 5,000 is sensible, and more for the
    training images that `final_metrics` looks for copies of, where only their features are used.

    Args:
      embedding: to measure in.
      images: real ones.
      limit: how many are embedded at most.
      seed: of the draw; the same seed takes the same images.

    Raises:
      UsageError: `limit` is below 2.
      MulliganError: fewer than two images, or not uint8 images.
    """
    if limit < 2:
        raise UsageError(f"a reference needs at least 2 images, not a limit of {limit}.")
    images = np.asarray(images)
    if len(images) > limit:
        images = images[np.sort(np.random.default_rng(seed).choice(len(images), limit, replace=False))]
    features = embedding(images)
    check_features(features)
    return Reference(embedding, features)


def validation_metrics(reference: Reference, fake_images: AnyImages, seed: int = 0) -> dict[str, Any]:
    """Scores generated images, uint8 `[m, h, w, c]`, against real ones.

    Args:
      reference: the real images.
      fake_images: generated ones.
      seed: of the bootstrap of KID's interval.

    Returns:
      `embedding` (its name), `n_real`, `n_fake`, `kid` (unbiased), `kid_low`, `kid_high` (95% bootstrap),
      `frechet`, `diversity`: plain Python values. None is scaled. The same arguments give the same bits on a
      CPU.

    Raises:
      MulliganError: fewer than two images, or not uint8 images.
    """
    return validation_metrics_of(reference, reference.embedding(fake_images), seed)


def final_metrics(
    reference: Reference,
    train_reference: Reference,
    fake_images: AnyImages,
    seed: int = 0,
    own: Int[np.ndarray, " held_out"] | None = None,
) -> dict[str, Any]:
    """What `validation_metrics` returns, and `precision`, `recall`, `density`, `coverage`, `memorisation` (`ratio`,
    `share`).

    Args:
      reference: real images that no training saw.
      train_reference: real images that training saw; memorisation compares the two.
      fake_images: generated ones, uint8 `[m, h, w, c]`.
      seed: of the bootstrap of KID's interval.
      own: where the images of `reference` are training images as well, the row of each in `train_reference`.

    Raises:
      MulliganError: fewer than two images, or not uint8 images.
      UsageError: the two references were made with different embeddings.
    """
    if reference.embedding.name != train_reference.embedding.name:
        raise UsageError(
            f"one reference is in {reference.embedding.name}, the other in {train_reference.embedding.name}."
        )
    fake = reference.embedding(fake_images)
    return {
        **validation_metrics_of(reference, fake, seed),
        **prdc(reference.features, fake)._asdict(),
        "memorisation": memorisation(fake, train_reference.features, reference.features, own)._asdict(),
    }


def validation_metrics_of(reference: Reference, fake: Float[np.ndarray, "m d"], seed: int = 0) -> dict[str, Any]:
    """What `validation_metrics` returns, from the features of the generated images.

    Raises:
      MulliganError: fewer than two features, one that is not finite, or of another embedding.
    """
    distance = kid(reference.features, fake, jax.random.key(seed))
    return {
        "embedding": reference.embedding.name,
        "n_real": len(reference.features),
        "n_fake": len(fake),
        "kid": distance.value,
        "kid_low": distance.low,
        "kid_high": distance.high,
        "frechet": gaussian_distance(reference.gaussian, gaussian(fake)),
        "diversity": relative_spread(spread(fake), reference.spread),
    }
