"""What the rest of the package calls: `validation_metrics` while training, `final_metrics` at the end, for a score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mulligan.errors import UsageError
from mulligan.metrics.coverage import prdc
from mulligan.metrics.distances import relative_spread, spread
from mulligan.metrics.embed import AnyImages, Embedding, check_features
from mulligan.metrics.energy import negative_distance
from mulligan.metrics.frechet import Gaussian, gaussian, gaussian_distance
from mulligan.metrics.kid import polynomial
from mulligan.metrics.memorisation import memorisation
from mulligan.metrics.mmd import Kernel, RealSide, mmd2, real_side
from mulligan.metrics.pixels import beside_pixels
from mulligan.metrics.selection import BESIDE_PIXELS, ENERGY, FIGURES, KID, Figure

KERNELS: dict[Figure, Kernel] = {KID: polynomial, ENERGY: negative_distance}
SEED = 0  # of every bootstrap, so that evaluations of one run differ by the generator alone


@dataclass(frozen=True)
class Reference:
    """Real images in an embedding, with their statistics, each computed once when first asked for.

    Attributes:
      embedding: in which they are.
      joint: their features, and after these, for figures that want them, their pixels (`metrics.pixels`).
      figures: that generated images get.
    """

    embedding: Embedding
    joint: Float[np.ndarray, "n j"]
    figures: tuple[Figure, ...] = FIGURES

    @cached_property
    def space(self) -> Embedding:
        """From images to features and pixels, as `joint` has them."""
        return beside_pixels(self.embedding)

    def columns(self, figure: Figure, joint: Float[np.ndarray, "m j"]) -> Float[np.ndarray, "m d"]:
        """Those of features and pixels that a figure compares."""
        return joint if figure.space == BESIDE_PIXELS else joint[:, : self.embedding.dimension]

    @cached_property
    def features(self) -> Float[np.ndarray, "n d"]:
        """Features in the embedding alone."""
        return np.ascontiguousarray(self.joint[:, : self.embedding.dimension])

    @cached_property
    def gaussian(self) -> Gaussian:
        return gaussian(self.features)

    @cached_property
    def spread(self) -> float:
        return spread(self.features)

    @cached_property
    def real_sides(self) -> dict[Figure, RealSide]:
        """What the real images contribute to each figure, whoever is judged."""
        return {each: real_side(KERNELS[each], self.columns(each, self.joint), SEED) for each in self.figures}


def make_reference(embedding: Embedding, images: AnyImages, limit: int = 2000, seed: int = 0) -> Reference:
    """Embeds real images, uint8 `[n, h, w, c]`: `limit` of them drawn at random when there are more.

    The spread and the kernels hold `limit x limit` matrices; 1,000 to 5,000 is sensible, and more for the
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
    joint = beside_pixels(embedding)(images)
    check_features(joint)
    return Reference(embedding, joint)


def validation_metrics(reference: Reference, fake_images: AnyImages) -> dict[str, Any]:
    """Scores generated images, uint8 `[m, h, w, c]`, against real ones.

    Args:
      reference: the real images.
      fake_images: generated ones.

    Returns:
      `embedding` (its name), `n_real`, `n_fake`; of each figure of the reference the unbiased estimate and its 95%
      bootstrap interval (`kid`, `kid_low`, `kid_high`, `energy`, `energy_low`, `energy_high`); `frechet`, `diversity`:
      plain Python values. None is scaled. The same arguments give the same bits on a CPU.

    Raises:
      MulliganError: fewer than two images, or not uint8 images.
    """
    return validation_metrics_of(reference, reference.space(fake_images))


def final_metrics(
    reference: Reference,
    train_reference: Reference,
    fake_images: AnyImages,
    own: Int[np.ndarray, " held_out"] | None = None,
) -> dict[str, Any]:
    """What `validation_metrics` returns, and `precision`, `recall`, `density`, `coverage`, `memorisation` (`ratio`,
    `share`).

    Args:
      reference: real images that no training saw.
      train_reference: real images that training saw; memorisation compares the two.
      fake_images: generated ones, uint8 `[m, h, w, c]`.
      own: where the images of `reference` are training images as well, the row of each in `train_reference`.

    Raises:
      MulliganError: fewer than two images, or not uint8 images.
      UsageError: the two references were made with different embeddings.
    """
    if reference.embedding.name != train_reference.embedding.name:
        raise UsageError(
            f"one reference is in {reference.embedding.name}, the other in {train_reference.embedding.name}."
        )
    joint = reference.space(fake_images)
    fake = reference.columns(KID, joint)
    return {
        **validation_metrics_of(reference, joint),
        **prdc(reference.features, fake)._asdict(),
        "memorisation": memorisation(fake, train_reference.features, reference.features, own)._asdict(),
    }


def validation_metrics_of(reference: Reference, joint: Float[np.ndarray, "m j"]) -> dict[str, Any]:
    """What `validation_metrics` returns, from the features of the generated images, and their pixels as in `joint` of
    the reference.

    Raises:
      MulliganError: fewer than two features, one that is not finite, or of another embedding.
    """
    found: dict[str, Any] = {}
    for figure, real in reference.real_sides.items():
        found |= zip(figure.keys, mmd2(KERNELS[figure], real, reference.columns(figure, joint)), strict=True)
    fake = reference.columns(KID, joint)
    return {
        "embedding": reference.embedding.name,
        "n_real": len(reference.joint),
        "n_fake": len(fake),
        **found,
        "frechet": gaussian_distance(reference.gaussian, gaussian(fake)),
        "diversity": relative_spread(spread(fake), reference.spread),
    }
