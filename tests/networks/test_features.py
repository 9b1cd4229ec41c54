"""Features of a network trained on ImageNet, against convolutions written out, and the critics that look at them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.networks import efficientnet
from mulligan.networks.efficientnet import block_maps, blocks
from mulligan.networks.features import BLOCKS, FEATURES, critics_of, load_features, looked_at

SIDES = (32, 48)


@pytest.fixture(scope="module")
def features():
    return load_features(FEATURES[0])


def images(shape, n=2, seed=0):
    return jax.random.uniform(jax.random.key(seed), (n, *shape), minval=-1.0)


def by_the_compiler(layers, x, wanted):
    """The same blocks by `lax.conv_general_dilated`, as the framework that trained them pads."""

    def convolved(x, name, stride, groups=1):
        kernel = jnp.asarray(layers[f"{name}.kernel"])
        kernel = kernel[None, None] if kernel.ndim == 2 else kernel[:, :, None] if groups > 1 else kernel
        dimensions = ("NHWC", "HWIO", "NHWC")
        mapped = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions, feature_group_count=groups
        )
        return mapped + layers[f"{name}.bias"]

    x = jnp.clip(convolved(x, "stem", 2), 0, 6)
    found = []
    for number, stride, residual in blocks():
        if number > wanted[-1]:
            return found
        before = x
        if f"{number}.expand.kernel" in layers:
            x = jnp.clip(convolved(x, f"{number}.expand", 1), 0, 6)
        x = jnp.clip(convolved(x, f"{number}.depthwise", stride, x.shape[-1]), 0, 6)
        x = convolved(x, f"{number}.project", 1)
        x = x + before if residual else x
        found += [x] if number in wanted else []
    return found


def test_blocks_are_the_convolutions_that_they_replace(features):
    x = images((*SIDES, 3))
    for ours, theirs in zip(
        block_maps(features.layers, x, BLOCKS), by_the_compiler(features.layers, x, BLOCKS), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(jnp.abs(theirs).max()))


def test_the_gradient_is_that_of_the_convolutions(features):
    x = images((*SIDES, 3))

    def slope(maps):
        return jax.jit(jax.grad(lambda x: sum(jnp.sum(each**2) for each in maps(features.layers, x, BLOCKS))))(x)

    ours, theirs = slope(block_maps), slope(by_the_compiler)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize("side", [3, 5])
def test_convolutions_by_channel_are_the_compilers(side):
    x = images((8, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (side, side, 3))
    for ours, stride in ((efficientnet._by_channel, 1), (efficientnet._by_channel_halved, 2)):

        def theirs(x, stride=stride):
            dimensions = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(
                x, kernel[:, :, None], (stride, stride), "SAME", dimension_numbers=dimensions, feature_group_count=3
            )

        np.testing.assert_allclose(ours(x, kernel), theirs(x), rtol=1e-5, atol=1e-5)
        seen = jax.random.normal(jax.random.key(2), theirs(x).shape)
        back = [jax.vjp(of, x)[1](seen)[0] for of in (lambda x, ours=ours: ours(x, kernel), theirs)]
        np.testing.assert_allclose(*back, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1), (40, 96, 4), (128, 128, 3)])
def test_images_of_any_shape_are_looked_at(features, shape):
    rows, columns = looked_at(shape)
    maps = features(images(shape, 1))
    assert [each.shape[1:] for each in maps] == features.shapes(shape)
    assert maps[0].shape[1:3] == (rows // 8, columns // 8)
    assert maps[1].shape[1:3] == (rows // 16, columns // 16)


def test_grey_is_seen_as_colour_with_equal_channels(features):
    grey = images((64, 64, 1))
    for one, other in zip(features(grey), features(jnp.repeat(grey, 3, -1)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_photographs_have_features_of_unit_scale(features, photographs):
    for maps in features(photographs):
        assert 0.5 < float(jnp.std(maps)) < 2


@pytest.fixture(scope="module")
def photographs():
    """Smooth random images stand in for photographs: spectra that fall with the frequency."""
    noise = np.random.default_rng(0).normal(size=(20, 64, 64, 3))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    spectrum = np.fft.fft2(noise, axes=(1, 2)) / np.maximum(frequency, 1 / 64)[None, :, :, None]
    smooth = np.real(np.fft.ifft2(spectrum, axes=(1, 2)))
    return jnp.asarray(np.tanh(smooth / smooth.std()), jnp.float32)


def test_critics_judge_maps_with_and_without_labels(features):
    shapes = features.shapes((28, 28, 1))
    maps = features(images((28, 28, 1)))
    for critic, each in zip(critics_of(shapes, 0)(jax.random.key(0)), maps, strict=True):
        assert critic(each).shape == (2,)
    critic = critics_of(shapes, 3)(jax.random.key(0))[0]
    labels = jnp.array([0, 2])
    assert not np.allclose(critic(maps[0], labels), critic(maps[0], labels[::-1]))
    with pytest.raises(MulliganError, match="give the label"):
        critic(maps[0])


def test_a_damaged_file_is_refused(monkeypatch, tmp_path):
    card = load_features(FEATURES[0]).card
    monkeypatch.setattr("mulligan.files.resources.files", lambda package: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "imagenet-1.safetensors").write_bytes(b"nothing")
    (tmp_path / "data" / "imagenet-1.json").write_text(json.dumps({"sha256": card["sha256"]}))
    with pytest.raises(MulliganError, match="install mulligan again"):
        load_features.__wrapped__(FEATURES[0])
