"""What a generator gives away of its training images: copies, and who was among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int32

from mulligan.metrics.distances import neighbours
from mulligan.proof.intervals import Estimate, excess, ranking

AROUND = 50  # training images next to the nearest, whose mean distance says how crowded the place is
CLOSE = 0.05  # share of held-out images that count as near copies


class Copies(NamedTuple):
    """Shares of images that are near copies of a training image, and by how much the generated ones exceed."""

    generated: float
    held_out: float
    excess: Estimate

    @property
    def found(self) -> bool:
        """Whether near copies are, beyond chance, at least twice as common as among images never trained on."""
        return self.excess.low > self.held_out


def near_copies(
    generated: Float[np.ndarray, "n d"], train: Float[np.ndarray, "m d"], held_out: Float[np.ndarray, "v d"]
) -> Copies:
    """Counts images that lie far nearer to one training image than to others around it.

    An image's *relative distance* is that to the nearest training image over the mean of those to the next 50 (Carlini
    et al. 2023, arXiv 2301.13188, equation 2): a dull or blurred image is near to many and copies none. Near copies are
    those below the order statistic of the held-out images' at `0.05 (v + 1)`.

    Args:
      generated: features of generated images.
      train: of the images that the generator was trained on.
      held_out: of real images that it never saw.

    Raises:
      UsageError: fewer than two training images.
    """
    of_generated, of_held_out = relative_distances(generated, train), relative_distances(held_out, train)
    threshold = np.quantile(of_held_out, CLOSE, method="weibull")
    found, expected = int((of_generated <= threshold).sum()), int((of_held_out <= threshold).sum())
    estimate = excess(found, len(generated), expected, len(held_out))
    return Copies(found / len(generated), expected / len(held_out), estimate)


def relative_distances(images: Float[np.ndarray, "n d"], train: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " n"]:
    """The distance to the nearest training image over the mean distance to the next ones; 0 for a copy.

    It is 1 where the next ones are at distance 0 as well: there the image repeats no single one.

    Args:
      images: features.
      train: features; the 50 next ones are taken, or all that there are.

    Raises:
      UsageError: there are no training images.

    Example:
      >>> relative_distances(np.array([[1.0]]), np.array([[0.0], [3.0], [5.0]])).round(3).tolist()
      [0.333]
    """
    _, distance = neighbours(images, train, min(AROUND + 1, len(train)))
    around = distance[:, 1:].mean(1)
    return np.where(around > 0, distance[:, 0] / np.where(around > 0, around, 1), 1.0)


def matched(
    train: Int32[np.ndarray, " n"], held_out: Int32[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Rows of training and of held-out images whose classes are equally common in both, as many as can be had.

    An attack would otherwise live on classes that are commoner in one of them, where a source brings its own splits.
    Where hardly an image has a class that is in both, all rows.

    Example:
      >>> matched(np.array([0, 0, 0, 0, 1, 1], np.int32), np.array([0, 1, 1, 1], np.int32))
      (array([0, 4, 5]), array([0, 1, 2]))
    """
    classes = int(max(train.max(), held_out.max())) + 1
    trained, held = np.bincount(train, minlength=classes), np.bincount(held_out, minlength=classes)
    common = np.minimum(trained, held)
    if common.sum() < 2:
        return np.arange(len(train)), np.arange(len(held_out))
    times = int(min(trained[common > 0] // common[common > 0]))

    def first(labels: Int32[np.ndarray, " n"], counts: Int[np.ndarray, " k"]) -> Int[np.ndarray, " a"]:
        rows = [np.flatnonzero(labels == label)[:count] for label, count in enumerate(counts)]
        return np.sort(np.concatenate(rows))

    return first(train, times * common), first(held_out, common)


def nearness_attack(
    members: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"], generated: Float[np.ndarray, "k d"]
) -> Estimate:
    """Tells training images from others by how near a generated image lies: GAN-Leaks (Chen et al. 2020, 1909.03935).

    Args:
      members: features of training images.
      others: of real images that the generator never saw.
      generated: of generated images.

    Returns:
      The advantage over chance: how much oftener than not the attack is right about a training image and another one;
      0 is guessing, 1 is always right.

    Raises:
      MulliganError: fewer than two images on either side.
    """
    near = [-neighbours(images, generated)[1][:, 0] for images in (members, others)]
    return ranking(*near)
