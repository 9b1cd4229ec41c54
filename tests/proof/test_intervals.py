"""Intervals cover the truth as often as they say, on made-up data whose truth is known."""

import numpy as np
import pytest
from scipy.stats import norm

from mulligan.errors import MulliganError
from mulligan.proof.intervals import excess, over_seeds_and_images, ranking


def outcomes(rng, seeds, n, by_seed, by_image):
    """Outcomes 1, 0 or -1 whose chances depend on the seed and on the image; their mean over both is 0.1."""
    lean = 0.1 + by_seed * rng.standard_normal((seeds, 1)) + by_image * rng.standard_normal((1, n))
    draw = rng.random((seeds, n))
    up, down = np.clip(0.2 + lean / 2, 0, 1), np.clip(0.2 - lean / 2, 0, 1)
    return (draw < up).astype(float) - (draw > 1 - down)


@pytest.mark.parametrize(("by_seed", "by_image"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.1), (0.03, 0.1)])
def test_differences_cover_new_seeds_and_new_images(by_seed, by_image):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 100)
    covered = [
        estimate.low <= 0.1 <= estimate.high
        for estimate in (over_seeds_and_images(outcomes(rng, 5, 400, by_seed, by_image), labels)[0] for _ in range(400))
    ]
    assert 0.92 <= np.mean(covered) <= 0.995


def test_an_interval_over_seeds_alone_would_miss():
    """The part of the images is needed: without it the same data are covered far too rarely."""
    rng = np.random.default_rng(0)
    labels = np.zeros(100, int)
    drawn = [outcomes(rng, 5, 100, 0.0, 0.15).mean(1) for _ in range(400)]
    alone = [abs(each.mean() - 0.1) <= 2.776 * each.std(ddof=1) / 5**0.5 for each in drawn]
    rng = np.random.default_rng(0)
    both = [over_seeds_and_images(outcomes(rng, 5, 100, 0.0, 0.15), labels)[0] for _ in range(400)]
    assert np.mean(alone) < np.mean([each.low <= 0.1 <= each.high for each in both]) - 0.03


def test_classes_count_alike_and_cover_together():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [20, 200, 1000])
    together = []
    for _ in range(200):
        overall, each = over_seeds_and_images(outcomes(rng, 5, len(labels), 0.02, 0.1), labels)
        assert overall.value == pytest.approx(np.mean([estimate.value for estimate in each.values()]))
        together.append(all(estimate.low <= 0.1 <= estimate.high for estimate in each.values()))
    assert np.mean(together) >= 0.93


def test_few_images_that_agree_are_no_certainty():
    _, each = over_seeds_and_images(np.zeros((5, 6)), np.repeat([0, 1], 3))
    assert each[0].high > 0.2
    with pytest.raises(MulliganError, match="at least two"):
        over_seeds_and_images(np.zeros((1, 6)), np.zeros(6, int))


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_ranks_cover_the_known_advantage(shift):
    rng = np.random.default_rng(2)
    truth = 2 * norm.cdf(shift / 2**0.5) - 1
    found = [ranking(rng.standard_normal(80) + shift, rng.standard_normal(60)) for _ in range(400)]
    assert 0.92 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.985
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.02)


def test_ranks_agree_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 9, 50).astype(float), rng.integers(0, 7, 70).astype(float)
    auc = roc_auc_score(np.repeat([1, 0], [50, 70]), np.concatenate([first, second]))
    assert ranking(first, second).value == pytest.approx(2 * auc - 1)
    apart = ranking(np.arange(5.0) + 10, np.arange(5.0))
    assert apart.value == 1
    assert 0.1 < apart.low < 1


def test_excess_covers_the_known_difference():
    rng = np.random.default_rng(4)
    found = [excess(int(rng.binomial(300, 0.12)), 300, int(rng.binomial(80, 0.05)), 80) for _ in range(400)]
    assert 0.92 <= np.mean([each.low <= 0.07 <= each.high for each in found]) <= 0.99
