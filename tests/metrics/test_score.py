"""The two calls: what they return, that they repeat, and that they rank what is plainly better and worse."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from mulligan.errors import MulliganError, UsageError
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.score import final_metrics, make_reference, validation_metrics

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
QUICK = {"embedding", "n_real", "n_fake", "kid", "kid_low", "kid_high", "energy", "energy_low", "energy_high"}
QUICK |= {"frechet", "diversity"}


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's handwritten digits, uint8 `[1797, 8, 8, 1]`, shuffled."""
    images = np.round(load_digits().images * 255 / 16).astype(np.uint8)[..., None]
    return np.random.default_rng(0).permutation(images)


@pytest.fixture(scope="module")
def embedding():
    return load_embedding("m1")


@pytest.fixture(scope="module")
def reference(embedding, digits):
    return make_reference(embedding, digits[:500])


def test_quick_says_its_protocol(reference, digits):
    scores = validation_metrics(reference, digits[500:800])
    assert set(scores) == QUICK
    assert (scores["embedding"], scores["n_real"], scores["n_fake"]) == ("m1", 500, 300)
    assert scores["kid_low"] < 0.01
    assert scores["kid_low"] <= scores["kid"] <= scores["kid_high"]
    assert scores["energy_low"] <= scores["energy"] <= scores["energy_high"]
    assert scores["diversity"] == pytest.approx(1, abs=0.05)
    assert json.loads(json.dumps(scores)) == scores


def test_same_images_same_bits(reference, embedding, digits):
    again = make_reference(embedding, digits[:500])
    assert validation_metrics(reference, digits[500:800]) == validation_metrics(again, digits[500:800])


def test_worse_images_score_worse(reference, digits):
    clean = digits[500:1000]
    ladder = [clean, *(gaussian_filter(clean, (0, s, s, 0)) for s in (0.6, 0.9, 1.5))]
    scores = [validation_metrics(reference, images) for images in ladder]
    for name in ("kid", "energy", "frechet"):
        values = [each[name] for each in scores]
        assert values == sorted(values)
    assert scores[1]["kid_low"] > scores[0]["kid_high"]


def test_full_tells_copies_from_new_images(reference, embedding, digits):
    train = make_reference(embedding, digits[1000:])
    new, copies = final_metrics(reference, train, digits[500:1000]), final_metrics(reference, train, digits[1000:1500])
    assert set(new) == QUICK | {"precision", "recall", "density", "coverage", "memorisation"}
    assert new["memorisation"]["share"] == pytest.approx(0.05, abs=0.04)
    assert new["memorisation"]["ratio"] == pytest.approx(1, abs=0.1)
    assert copies["memorisation"]["share"] == pytest.approx(1, abs=0.01)
    assert copies["memorisation"]["ratio"] == pytest.approx(0, abs=0.01)
    assert new["coverage"] > 0.9


def test_collapse_is_seen(reference, digits):
    scores = validation_metrics(reference, np.repeat(digits[500:501], 300, axis=0))
    assert scores["diversity"] == 0
    assert scores["kid_low"] > validation_metrics(reference, digits[500:800])["kid_high"]


@pytest.mark.parametrize("n", [2, 5, 20])
def test_few_images(embedding, digits, n):
    reference = make_reference(embedding, digits[:n])
    scores = final_metrics(reference, reference, digits[n : 2 * n])
    assert all(np.isfinite(scores[name]) for name in QUICK - {"embedding"})


def test_reference_draws_its_limit(embedding, digits):
    first, second = (make_reference(embedding, digits, limit=50, seed=seed) for seed in (0, 1))
    assert len(first.features) == 50
    assert not np.array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.features, make_reference(embedding, digits, limit=50, seed=0).features)


def test_unusable(reference, embedding, digits):
    with pytest.raises(MulliganError, match="at least 2 images"):
        make_reference(embedding, digits[:1])
    with pytest.raises(MulliganError, match="at least 2 images"):
        validation_metrics(reference, digits[:1])
    with pytest.raises(UsageError, match="limit of 1"):
        make_reference(embedding, digits, limit=1)
    other = make_reference(dataclasses.replace(embedding, name="other"), digits[:9])
    with pytest.raises(UsageError, match="one reference is in m1, the other in other"):
        final_metrics(reference, other, digits[:9])


def test_photographs_rank_like_digits(embedding):
    """Noise added to colour photographs raises KID step by step."""
    path = DATA / "cifar10.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in ../shared/data")
    images = np.load(path)["images"][:800]
    noise = np.random.default_rng(0).normal(size=images[400:].shape)
    reference = make_reference(embedding, images[:400])
    noisy = [np.clip(images[400:] + level * noise, 0, 255).astype(np.uint8) for level in (0, 10, 30, 90)]
    values = [validation_metrics(reference, each)["kid"] for each in noisy]
    assert values == sorted(values)
