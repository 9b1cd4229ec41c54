"""Inception's features against torch-fidelity's, on random weights in the standard file's format."""

import dataclasses

import inception_weights
import jax.numpy as jnp
import numpy as np
import pytest
import torch_files

import mulligan
from mulligan.errors import MulliganError
from mulligan.metrics import inception
from mulligan.metrics.cached import cached_features
from mulligan.metrics.embed import Embedding
from mulligan.metrics.frechet import frechet_distance
from mulligan.metrics.inception import SHAPES, folded, load_inception, prepare

# What torch-fidelity 0.4.0 (PyTorch 2.13.0) gives for `inception_weights`: every 256th feature of each image, all their
# sums, and the sums of their squares.
FEATURES = [
    [0.073288, 0.03116, 0.455941, 1.058934, 1.100159, 0.013298, 0.42815, 0.001749],
    [0.073717, 0.031036, 0.458566, 1.054116, 1.100881, 0.011893, 0.431935, 0.002225],
    [0.079848, 0.02506, 0.452588, 0.99598, 1.050126, 0.012388, 0.397831, 0.004016],
    [0.089208, 0.028934, 0.442991, 0.988963, 1.057304, 0.009948, 0.402109, 0.001958],
]
SUMS = [353.5818, 352.9147, 337.97247, 335.35938]
SQUARES = [179.07202492, 178.46679695, 163.47989512, 161.07438042]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return torch_files.write(tmp_path_factory.mktemp("weights") / "inception.pth", inception_weights.tensors())


@pytest.mark.slow
def test_features_are_those_of_torch_fidelity(file):
    embedding = dataclasses.replace(load_inception(file), batch=4)
    found = embedding(inception_weights.images())
    assert embedding.name.startswith("inception-")
    np.testing.assert_allclose(found[:, ::256], FEATURES, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), SUMS, rtol=1e-5)
    np.testing.assert_allclose((found.astype(np.float64) ** 2).sum(1), SQUARES, rtol=1e-5)


@pytest.mark.slow
def test_fid_is_that_of_torch_fidelity_where_it_is_installed(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    fidelity = pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    tensors = {name: torch.from_numpy(array) for name, array in inception_weights.tensors().items()}
    tensors |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(tensors, tmp_path / "w.pth")
    net = fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    theirs = net("inception", ["2048"], feature_extractor_weights_path=str(tmp_path / "w.pth"))
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 16, 3)).astype(np.uint8)
    images[1] //= 2
    ours = dataclasses.replace(load_inception(tmp_path / "w.pth"), batch=12)
    features = [ours(part) for part in images]
    with torch.no_grad():
        expected = [theirs(torch.from_numpy(part.transpose(0, 3, 1, 2).copy()))[0].numpy() for part in images]
    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert frechet_distance(*features) == pytest.approx(frechet_distance(*expected), rel=1e-3)


def test_resizing_takes_no_half_pixels_and_repeats_the_end():
    ramp = np.arange(13, dtype=np.uint8)[None, None, :, None].repeat(13, 1).repeat(3, 3)
    x = (np.asarray(prepare(jnp.asarray(ramp)))[0, 0, :, 0] * 128) + 128
    expected = np.minimum(np.arange(299) * 13 / 299, 12)
    np.testing.assert_allclose(x, expected, atol=1e-3)


def test_grey_is_repeated_and_transparent_is_white():
    grey = np.full((1, 9, 9, 1), 100, np.uint8)
    np.testing.assert_allclose(prepare(jnp.asarray(grey)), (100 - 128) / 128, atol=1e-6)
    clear = np.zeros((1, 9, 9, 4), np.uint8)
    np.testing.assert_allclose(prepare(jnp.asarray(clear)), (255 - 128) / 128, atol=1e-6)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(MulliganError, match=r"needs the weights pt_inception-2015-12-05-6726825d\.pth, which"):
        load_inception(tmp_path / "absent.pth")


def test_other_weights_are_told():
    tensors = {f"{name}.conv.weight": np.zeros(shape, np.float32) for name, shape in list(SHAPES.items())[:1]}
    with pytest.raises(MulliganError, match=r"Conv2d_1a_3x3\.bn\.weight is missing"):
        folded(tensors)
    full = dict.fromkeys(["weight", "bias", "running_mean", "running_var"], np.ones(32, np.float32))
    tensors = {"Conv2d_1a_3x3.conv.weight": np.zeros((32, 3, 5, 5), np.float32)}
    tensors |= {f"Conv2d_1a_3x3.bn.{part}": value for part, value in full.items()}
    with pytest.raises(MulliganError, match=r"Conv2d_1a_3x3 is \(32, 3, 5, 5\), not \(32, 3, 3, 3\)"):
        folded(tensors)


def test_features_are_remembered_by_content(tmp_path):
    calls = []

    def features(images):
        calls.append(len(images))
        return jnp.asarray(images, jnp.float32).mean((1, 2, 3))[:, None]

    embedding = Embedding("probe", 1, features, lambda h, w: 0.0, batch=4)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    first = cached_features(embedding, images, tmp_path)
    np.testing.assert_array_equal(cached_features(embedding, images, tmp_path), first)
    assert len(calls) == 1
    cached_features(embedding, images[::-1], tmp_path)
    cached_features(dataclasses.replace(embedding, name="other"), images, tmp_path)
    assert len(calls) == 3
    [*files] = tmp_path.iterdir()
    for file in files:
        file.write_bytes(b"torn")
    np.testing.assert_array_equal(cached_features(embedding, images, tmp_path), first)


@pytest.mark.slow
def test_score_gives_fid_with_its_protocol(file, tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(inception, "BATCH", 4)  # a batch is filled up, and an image takes 11 billion operations
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1)).astype(np.uint8)
    scores = mulligan.score(images, images[::-1].copy(), n=6, inception=file)
    assert scores["protocol"].startswith("Inception-v3 of 2015-12-05, resized to 299x299")
    assert {"frechet", "kid", "precision", "recall", "n_real", "n_fake", "split"} <= set(scores)
    assert len(list((tmp_path / "features").iterdir())) == 1
