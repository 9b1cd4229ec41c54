"""What selects, and that it is one figure everywhere: the best of evaluations that disagree is the best by it."""

from dataclasses import replace

from mulligan.metrics.score import KERNELS
from mulligan.metrics.selection import ENERGY, FIGURES, KID, SELECTS, figure_named
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.stop import with_evaluation


def scores(kid, energy):
    found = {"kid": kid, "kid_low": kid - 0.1, "kid_high": kid + 0.1, "diversity": 1.0}
    return found | {"energy": energy, "energy_low": energy - 0.1, "energy_high": energy + 0.1}


def test_the_best_is_the_best_by_the_figure_that_selects():
    progress = Progress()
    for nimg, (kid, energy) in enumerate(((0.5, 0.9), (0.9, 0.2), (0.1, 0.8))):
        progress = replace(progress, nimg=nimg)
        progress = with_evaluation(progress, Evaluation.of(scores(kid, energy), "ema", progress))
    assert SELECTS is ENERGY
    assert (progress.best.nimg, progress.best.value, progress.best.low) == (1, 0.2, 0.2 - 0.1)


def test_figures_are_named_with_their_space_and_have_a_kernel():
    assert [each.at("m1") for each in FIGURES] == ["KID@m1", "energy@m1+pixels"]
    assert set(KERNELS) == set(FIGURES)
    assert (figure_named("kid"), figure_named("of another version")) == (KID, SELECTS)
    assert ENERGY.of({"energy": 1.0, "kid": 2.0}) == (1.0, None, None)
