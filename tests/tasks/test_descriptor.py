"""Descriptors agree with scikit-learn and scipy, or with what is known of a made-up set."""

import numpy as np
import pytest
from pictures import noise
from scipy.stats import entropy, linregress
from sklearn.decomposition import PCA

from mulligan.tasks.descriptor import _effective_dimension, _pooled, describe


def described(images, classes=0):
    return describe(len(images), images, classes)


def test_counts_and_moments():
    images = noise(40, 12, 20)
    found = described(images, 7)
    expected = {"log_n": np.log(40), "height": 12, "width": 20, "channels": 3, "classes": 7}
    expected |= {"mean": images.mean() / 255, "std": images.std() / 255}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert all(isinstance(value, float) for value in found.values())


def test_the_dimension_is_the_participation_ratio_of_pca():
    rng = np.random.default_rng(0)
    points = (rng.standard_normal((300, 20)) * np.linspace(3, 0.1, 20)).astype(np.float32)
    for some in (points, points[:10]):
        variances = PCA().fit(some).explained_variance_
        assert _effective_dimension(some) == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=1e-4)


def test_pooling_averages_blocks():
    pixels = np.random.default_rng(0).random((2, 32, 8, 1), dtype=np.float32)
    expected = pixels.reshape(2, 16, 2, 8, 1).mean(axis=2).reshape(2, -1)
    np.testing.assert_allclose(_pooled(pixels), expected, rtol=1e-6)
    assert _pooled(np.ones((2, 33, 50, 3), np.float32)) == pytest.approx(np.ones((2, 768)))


def test_colours_and_background():
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[:, :2] = (200, 100, 50)
    images[:, 2:4, :4] = (0, 0, 255)
    found = described(images)
    assert found["background"] == pytest.approx(40 / 64, abs=1e-6)
    assert found["log_colours"] == pytest.approx(entropy([40, 16, 8]), abs=1e-5)
    assert described(noise(3, c=1))["colourfulness"] == 0


def test_the_spectrum_recovers_a_known_slope():
    """Noise filtered to power f^-a has slope -a."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    frequency[0, 0] = np.inf
    slopes = []
    for exponent in (1.0, 2.0, 3.0):
        spectrum = np.fft.rfft2(rng.standard_normal((64, 64, 64))) * frequency ** (-exponent / 2)
        waves = np.fft.irfft2(spectrum)
        images = np.clip(128 + waves / waves.std() * 30, 0, 255).round().astype(np.uint8)[..., None]
        slopes.append(described(images)["spectrum"])
    assert linregress([1, 2, 3], slopes).slope == pytest.approx(-1, abs=0.15)
    assert slopes[1] == pytest.approx(-2, abs=0.2)


def test_mirror_and_alignment():
    images = noise(50, 16, 16, 1)
    assert described(np.concatenate([images, images[:, :, ::-1]], axis=2))["mirror"] == pytest.approx(1, abs=1e-5)
    assert abs(described(images)["mirror"]) < 0.05
    assert described(np.concatenate([images, 255 - images], axis=2)[:, :, ::1])["mirror"] < 0.1
    assert described(np.repeat(images[:1], 5, axis=0))["alignment"] == pytest.approx(1, abs=1e-4)
    assert described(images)["alignment"] < 0.05


@pytest.mark.parametrize("value", [0, 255])
def test_flat_images_have_finite_numbers(value):
    assert all(np.isfinite(list(described(np.full((3, 8, 8, 3), value, np.uint8)).values())))
