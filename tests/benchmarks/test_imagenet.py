"""EfficientNet-Lite0 against the same layers by the compiler's own convolutions, each normalised by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.common.places import imagenet_weights
from benchmarks.metrics import imagenet
from benchmarks.metrics.imagenet import EPSILON, imagenet_features
from mulligan.networks.efficientnet import STAGES

KERNELS = (3, 3, 5, 3, 5, 5, 3)  # sides of the stages' convolutions by channel
OUTPUTS = (16, 24, 40, 80, 112, 192, 320)  # channels of the stages


def layers():
    """Name, normalisation, kernel, channels in and out, stride and groups of every convolution, in their order."""
    yield "_conv_stem", "_bn0", 3, 3, 32, 2, 1
    number, before = 0, 32
    for stage, kernel, after in zip(STAGES, KERNELS, OUTPUTS, strict=True):
        for first in (True, *(False,) * (stage.blocks - 1)):
            of, wide = f"_blocks.{number}", before * (6 if number else 1)
            if number:
                yield f"{of}._expand_conv", f"{of}._bn0", 1, before, wide, 1, 1
            yield f"{of}._depthwise_conv", f"{of}._bn1", kernel, wide, wide, stage.stride if first else 1, wide
            yield f"{of}._project_conv", f"{of}._bn2", 1, wide, after, 1, 1
            number, before = number + 1, after
    yield "_conv_head", "_bn1", 1, 320, 1280, 1, 1


@pytest.fixture
def stored(tmp_path):
    """Weights as PyTorch keeps them: kernels [out, in, h, w], and normalisation apart."""
    rng, found = np.random.default_rng(0), {}
    for name, norm, kernel, before, after, _, groups in layers():
        fan = kernel**2 * before // groups
        found[f"{name}.weight"] = rng.normal(size=(after, before // groups, kernel, kernel)) * (2 / fan) ** 0.5
        found[f"{norm}.weight"] = rng.uniform(0.5, 1.5, after)
        found[f"{norm}.running_var"] = rng.uniform(0.5, 1.5, after)
        found[f"{norm}.bias"], found[f"{norm}.running_mean"] = rng.normal(size=(2, after))
    found = {name: leaf.astype(np.float32) for name, leaf in found.items()}
    save_file(found, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", found


def by_the_compiler(stored, images):
    """Blocks are told by their names: a projection has no bound, and is added where its input looks like it."""
    x = before = jnp.asarray(images, jnp.float32) / 127.5 - 1
    for name, norm, _, _, _, stride, groups in layers():
        if name.endswith("_expand_conv"):
            before = x
        x = jax.lax.conv_general_dilated(
            x,
            stored[f"{name}.weight"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            feature_group_count=groups,
        )
        deviation = jnp.sqrt(stored[f"{norm}.running_var"] + EPSILON)
        x = (x - stored[f"{norm}.running_mean"]) / deviation * stored[f"{norm}.weight"] + stored[f"{norm}.bias"]
        if name.endswith("_project_conv"):
            x = x + before if x.shape == before.shape else x
        else:
            x = jnp.minimum(jax.nn.relu(x), 6)
    return x.mean((1, 2))


def test_features_are_those_of_the_layers(stored, monkeypatch):
    monkeypatch.setattr(imagenet, "SIDE", 64)
    path, weights = stored
    images = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    found = imagenet_features(path)(jnp.asarray(images))
    assert found.shape == (3, 1280)
    assert np.std(found) > 0.1
    np.testing.assert_allclose(found, by_the_compiler(weights, images), rtol=2e-3, atol=2e-3)


def test_grey_images_are_colour_images_of_three_equal_channels(stored, monkeypatch):
    monkeypatch.setattr(imagenet, "SIDE", 32)
    grey = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    features = imagenet_features(stored[0])
    np.testing.assert_array_equal(features(jnp.asarray(grey)), features(jnp.asarray(np.repeat(grey, 3, -1))))


def test_weights_are_where_they_are_named_or_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_IMAGENET", str(tmp_path / "weights.safetensors"))
    assert imagenet_weights() is None
    (tmp_path / "weights.safetensors").touch()
    assert imagenet_weights() == tmp_path / "weights.safetensors"
