"""Do generated images help a classifier on real images that nobody trained on?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from mulligan.errors import MulliganError
from mulligan.proof.classifier import Examples, predictions
from mulligan.proof.intervals import Estimate, over_seeds_and_images

SOURCES = ("real", "synthetic", "both")
ALIKE = 0.02  # a difference of accuracy that is as good as none
HELPS, HURTS, ALIKE_VERDICT, UNCLEAR = "helps", "hurts", "no difference", "unclear"


class ClassProof(NamedTuple):
    """One class: how many real images of it train and test, accuracies by source, and the gain of adding synthetic."""

    label: int
    n_train: int
    n_test: int
    accuracy: dict[str, float]
    gain: Estimate  # together with those of the other classes in 95 of 100 repetitions


class Usefulness(NamedTuple):
    """Accuracies are means over classes, so that rare classes count as much as common ones."""

    accuracy: dict[str, Estimate]
    gain: Estimate  # of real and synthetic over real alone
    replacement: Estimate  # of synthetic alone over real alone
    classes: tuple[ClassProof, ...]

    @property
    def verdict(self) -> str:
        """`helps`, `hurts`, `no difference` (none that exceeds 2 points), or `unclear` where the test cannot tell."""
        if self.gain.low > 0:
            return HELPS
        if self.gain.high < 0:
            return HURTS
        return ALIKE_VERDICT if max(-self.gain.low, self.gain.high) <= ALIKE else UNCLEAR

    @property
    def harmed(self) -> list[ClassProof]:
        """Classes that are recognised less often than without synthetic images, beyond chance; the worst first."""
        return sorted((each for each in self.classes if each.gain.high < 0), key=lambda each: each.gain.value)


def usefulness(train: Examples, synthetic: list[Examples], test: Examples, seed: int = 0) -> Usefulness:
    """Trains classifiers on real, on synthetic and on both, and compares them on real test images.

    All see every class equally often, whatever the numbers of images: what is gained is not that rare classes come
    oftener, which repeating real images would do as well. Of both, half the images of a class are synthetic. Only
    classes with real images to train and to test are compared.

    Args:
      train: real images' features.
      synthetic: generated images' features, drawn afresh for each seed, as many for each.
      test: real images' features that neither generator nor classifier saw.
      seed: of the classifiers.

    Raises:
      MulliganError: fewer than two classes can be compared, or a class has no synthetic images.
    """
    labels = np.intersect1d(train.labels, test.labels)
    if len(labels) < 2:
        raise MulliganError(
            "fewer than two classes have real images to train and to test a classifier: nothing to prove."
        )
    missing = [label for label in labels.tolist() if any(label not in drawn.labels for drawn in synthetic)]
    if missing:
        raise MulliganError(f"there are no generated images of class {missing[0]}.")
    train, test = _only(train, labels), _only(test, labels)
    synthetic = [_only(drawn, labels) for drawn in synthetic]
    mean, deviation = train.features.mean(0), train.features.std(0) + 1e-6
    pools = [
        Examples(
            (np.concatenate([train.features, drawn.features]) - mean) / deviation,
            np.concatenate([train.labels, drawn.labels]),
        )
        for drawn in synthetic
    ]
    # How often each example is drawn: of real and of synthetic ones every class as often, and of both half and half.
    learned, real = pools[0].labels, np.arange(len(pools[0].labels)) < len(train.labels)
    shares = np.zeros((2, len(learned)))
    for row, member in enumerate((real, ~real)):
        counts = np.bincount(learned[member], minlength=learned.max() + 1)
        shares[row, member] = 1 / counts[learned[member]]
    shares = np.stack([*shares, shares.sum(0)])
    found = predictions(pools, shares, (test.features - mean) / deviation, int(labels.max()) + 1, seed)
    return compared(train.labels, test.labels, found == test.labels)


def compared(
    train: Int32[np.ndarray, " n"], test: Int32[np.ndarray, " m"], correct: Bool[np.ndarray, "seeds 3 m"]
) -> Usefulness:
    """What follows from which test images were classified rightly, by seed and source.

    Args:
      train: classes of the real training images.
      test: classes of the real test images.
      correct: by seed, source (in the order of `SOURCES`) and test image.

    Raises:
      MulliganError: fewer than two seeds.
    """
    right = {source: correct[:, index].astype(np.float64) for index, source in enumerate(SOURCES)}
    accuracy = {}
    for source, each in right.items():
        (value, low, high), _ = over_seeds_and_images(each, test)
        accuracy[source] = Estimate(value, max(low, 0.0), min(high, 1.0))
    gain, by_class = over_seeds_and_images(right["both"] - right["real"], test)
    replacement, _ = over_seeds_and_images(right["synthetic"] - right["real"], test)
    classes = tuple(
        ClassProof(
            label,
            int((train == label).sum()),
            int((test == label).sum()),
            {source: float(each[:, test == label].mean()) for source, each in right.items()},
            estimate,
        )
        for label, estimate in by_class.items()
    )
    return Usefulness(accuracy, gain, replacement, classes)


def _only(examples: Examples, labels: Int32[np.ndarray, " k"]) -> Examples:
    kept = np.isin(examples.labels, labels)
    return Examples(examples.features[kept], examples.labels[kept])
