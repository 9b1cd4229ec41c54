"""The energy distance against plain loops and a closed form, and its interval against the truth."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import energy_distance as scipy_energy_distance
from sklearn.datasets import load_digits

from mulligan.errors import MulliganError
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.energy import energy_distance
from mulligan.metrics.score import make_reference, validation_metrics


def normal(seed, n, d, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def looped(real, fake):
    """The definition, pair by pair in double precision."""
    real, fake = real.astype(float), fake.astype(float)

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([np.linalg.norm(a[i] - b[j]) for i, j in pairs])

    return 2 * mean(real, fake, False) - mean(real, real, True) - mean(fake, fake, True)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (7, 12, 5), (30, 20, 40)])
def test_agrees_with_loops(n, m, d):
    real, fake = normal(0, n, d), normal(1, m, d, 0.3)
    assert energy_distance(real, fake).value == pytest.approx(looped(real, fake), rel=1e-4, abs=1e-5)


def test_in_one_dimension_it_is_that_of_scipy_without_pairs_of_an_image_with_itself():
    real, fake = normal(0, 300, 1), normal(1, 300, 1, 0.5)
    found = energy_distance(real, fake).value
    within = [np.abs(side - side.T).mean() for side in (real, fake)]
    biased = found + sum(each / 299 for each in within)
    assert biased == pytest.approx(scipy_energy_distance(real[:, 0], fake[:, 0]) ** 2, rel=1e-3)


def test_equal_sets_have_none():
    """All that an unbiased estimate finds in a set and itself is that no image is compared with itself."""
    real = normal(0, 200, 6)
    within = -looped(real[:40], real[:40]) * 39 / 2  # the mean distance, from the same definition
    found = energy_distance(real[:40], real[:40])
    assert found.value == pytest.approx(-2 * within / 39, rel=1e-3)
    values = [energy_distance(normal(2 * t, 200, 6), normal(2 * t + 1, 200, 6)).value for t in range(40)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(40)


def test_is_symmetric_and_does_not_depend_on_the_order():
    real, fake = normal(0, 40, 6), normal(1, 50, 6, 0.2)
    found = energy_distance(real, fake).value
    assert energy_distance(fake, real).value == pytest.approx(found, rel=1e-4)
    assert energy_distance(real[::-1], fake[::-1]).value == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("damage", ["blur", "noise", "fewer modes"])
def test_grows_with_damage(damage):
    """In m1's features beside pixels, with images that are made worse step by step."""
    images = np.round(load_digits().images * 255 / 16).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    images, modes = images[order], load_digits().target[order]
    clean, noise = images[500:1000], np.random.default_rng(1).normal(size=(500, 8, 8, 1))
    ladder = {
        "blur": [gaussian_filter(clean, (0, s, s, 0)) for s in (0.5, 0.8, 1.5)],
        "noise": [np.clip(clean + s * noise, 0, 255).astype(np.uint8) for s in (20, 50, 90)],
        "fewer modes": [images[500:][modes[500:] < kept][:300] for kept in (7, 4, 1)],
    }[damage]
    reference = make_reference(load_embedding("m1"), images[:500])
    found = [validation_metrics(reference, each)["energy"] for each in (clean, *ladder)]
    assert found == sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_interval_covers_the_truth(shift):
    """About 95% of 200 intervals hold it; where real and fake are equal nearly all do."""
    n, d, trials = 60, 8, 200
    truth = np.mean([energy_distance(normal(9000 + t, 2000, d), normal(9900 + t, 2000, d, shift)).value
                     for t in range(6)])  # fmt: skip
    found = [energy_distance(normal(3 * t, n, d), normal(3 * t + 1, n, d, shift), t) for t in range(trials)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.90 <= covered <= 0.995
    width = np.mean([each.high - each.low for each in found])
    assert 0.85 < width / (2 * 1.96 * np.std([each.value for each in found])) < 1.35


def test_same_seed_same_bits():
    real, fake = normal(0, 40, 6), normal(1, 50, 6, 0.2)
    assert energy_distance(real, fake) == energy_distance(real, fake)
    assert energy_distance(real, fake) != energy_distance(real, fake, 1)


def test_unusable_features():
    with pytest.raises(MulliganError, match="at least 2 images"):
        energy_distance(normal(0, 1, 4), normal(1, 5, 4))
    with pytest.raises(MulliganError, match="not finite"):
        energy_distance(normal(0, 3, 4), np.full((3, 4), np.nan, np.float32))
