"""What is said when generated images teach nothing by themselves, and that nothing is said when they do."""

import numpy as np
import pytest

from mulligan.proof.intervals import Estimate
from mulligan.proof.leakage import Copies
from mulligan.proof.sentence import sentence
from mulligan.proof.usefulness import compared

LABELS = np.repeat(np.arange(4, dtype=np.int32), 50)
NAMES = ("a", "b", "c", "d")


def said(real: float, synthetic: float) -> str:
    """The sentence where classifiers are right on these shares of test images."""
    rng = np.random.default_rng(0)
    correct = rng.random((5, 3, len(LABELS))) < np.array([real, synthetic, real])[:, None]
    copies = Copies(0.0, 0.05, Estimate(-0.05, -0.1, 0.0))
    return sentence(compared(LABELS, LABELS, correct), copies, {}, NAMES, len(LABELS))


@pytest.mark.parametrize(("real", "synthetic", "collapsed"), [(0.9, 0.25, True), (0.9, 0.6, False), (0.2, 0.2, False)])
def test_images_that_teach_nothing_alone_are_told_of(real, synthetic, collapsed):
    assert ("Alone they teach nothing" in said(real, synthetic)) is collapsed
