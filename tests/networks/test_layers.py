import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.networks.layers import (
    ACTIVATIONS,
    Conv,
    ConvTranspose,
    Dense,
    MinibatchStd,
    SelfAttention,
    Style,
    fold_scale,
    randomised,
)
from mulligan.networks.normalisation import group, pixel, spectral
from mulligan.networks.residual import Block, fixup


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_keep_the_mean_square(name):
    activation = ACTIVATIONS[name]
    points = np.linspace(-10, 10, 200_001, dtype=np.float32)
    density = np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)
    mean_square = np.trapezoid(np.asarray(activation.function(jnp.asarray(points))) ** 2 * density, points)
    np.testing.assert_allclose(activation.gain, mean_square**-0.5, rtol=1e-3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Dense((40,), (5, 5, 4)), (200, 40)),
        (Conv((4, 4, 16, 16), 2), (16, 20, 20, 16)),
        (ConvTranspose((4, 4, 16, 16), (40, 40)), (16, 20, 20, 16)),
    ],
)
def test_fresh_layers_keep_unit_variance(layer, shape):
    out = randomised(layer, jax.random.key(1))(normal(*shape))
    inner = out if out.shape[1] < 10 else out[:, 2:-2, 2:-2]
    np.testing.assert_allclose(jnp.var(inner), 1, atol=0.1)


def test_randomised_leaves_biases_at_zero():
    assert not np.any(randomised(Conv((3, 3, 2, 4)), jax.random.key(0)).bias)


def test_randomised_draws_differ_between_arrays():
    first, second = randomised([jnp.ones(100), jnp.ones(100)], jax.random.key(0))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4


@pytest.mark.parametrize("shape", [(1, 1, 3, 5), (3, 3, 8, 16), (40, 1)])
def test_spectral_norm_is_one(shape):
    for weight in jax.jit(jax.vmap(spectral))(normal(10, *shape)):
        largest = np.linalg.svd(np.reshape(weight, (-1, shape[-1])), compute_uv=False)[0]
        assert 1 - 1e-3 < largest < 1.1  # power iterations find the norm from below


def test_spectral_is_exact_where_one_direction_leads():
    left, right = normal(30), normal(8, seed=1)
    weight = 7.0 * jnp.outer(left, right) + 0.1 * normal(30, 8, seed=2)
    largest = np.linalg.svd(spectral(weight), compute_uv=False)[0]
    np.testing.assert_allclose(largest, 1, atol=1e-4)


def test_spectral_passes_no_gradient_along_the_weight():
    """The normalised weight does not change when the weight is scaled."""
    weight = normal(6, 5)
    direction = jax.grad(lambda w: jnp.sum(spectral(w) * normal(6, 5, seed=1)))(weight)
    assert abs(jnp.vdot(direction, weight)) < 1e-4
    assert jnp.linalg.norm(direction) > 0.1


def test_pixel_and_group_against_numpy():
    x = 3 + 2 * normal(2, 4, 5, 12)
    np.testing.assert_allclose(pixel(x), x / np.sqrt(np.mean(np.square(x), -1, keepdims=True)), rtol=1e-4)
    groups = np.reshape(x, (2, 20, 4, 3))  # gcd(12, 8) = 4
    deviation = np.std(groups, axis=(1, 3), keepdims=True)
    expected = (groups - np.mean(groups, axis=(1, 3), keepdims=True)) / deviation
    np.testing.assert_allclose(group(x), expected.reshape(x.shape), atol=1e-4)


def test_normalisation_comes_before_the_bias():
    layer = randomised(Dense((4,), (6,), Style(1.0, "pixel")), jax.random.key(0))
    shifted = eqx.tree_at(lambda layer: layer.bias, layer, layer.bias + 5)
    x = normal(3, 4)
    np.testing.assert_allclose(shifted(x), pixel(x @ layer.weight) + 5, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 6, 8])
def test_minibatch_std_is_the_deviation_within_groups(n):
    x = normal(n, 3, 2, 5)
    size = {1: 1, 2: 2, 6: 2, 8: 4}[n]
    spread = np.std(np.reshape(x, (n // size, size, -1)), axis=1).mean(axis=1).repeat(size)
    out = MinibatchStd()(x)
    assert out.shape == (n, 3, 2, 6)
    np.testing.assert_array_equal(out[..., :5], x)
    np.testing.assert_allclose(out[..., 5], np.broadcast_to(spread[:, None, None], (n, 3, 2)), atol=2e-4)


def test_minibatch_std_tells_a_collapsed_batch():
    varied = normal(8, 20)
    collapsed = jnp.repeat(varied[:1], 8, axis=0)
    assert np.all(MinibatchStd()(varied)[:, -1] > 0.5)
    assert np.all(MinibatchStd()(collapsed)[:, -1] < 1e-3)
    slope = jax.grad(lambda x: jnp.sum(MinibatchStd()(x)[:, -1]))(collapsed)
    assert np.all(np.isfinite(slope))


def test_attention_starts_as_the_identity():
    x = normal(2, 3, 4, 16)
    np.testing.assert_array_equal(randomised(SelfAttention(16), jax.random.key(0))(x), x)


def test_attention_against_jax():
    layer = randomised(SelfAttention(16), jax.random.key(0))
    layer = eqx.tree_at(lambda layer: layer.output, layer, normal(8, 16, seed=1))
    x = normal(2, 3, 4, 16)
    pixels = x.reshape(2, 12, 1, 16)
    # jax wants queries, keys and values of one width: zeros do not change the scores.
    padded = [jnp.pad(pixels @ weight, [(0, 0)] * 3 + [(0, 6)]) for weight in (layer.query, layer.key)]
    found = jax.nn.dot_product_attention(*padded, pixels @ layer.value, scale=2**-0.5)
    np.testing.assert_allclose(layer(x), x + (found[:, :, 0] @ layer.output).reshape(x.shape), rtol=1e-4, atol=1e-5)


def test_fixup_scales_by_depth():
    assert fixup("relu", "none", 16).gain == pytest.approx(2**0.5 / 2)


def test_blocks_start_as_the_identity_but_not_under_spectral_normalisation():
    x = normal(2, 4, 4, 6)
    plain, divided = (
        randomised(Block((3, 3, 6, 6), fixup("relu", name, 4), "relu"), jax.random.key(0))
        for name in ("none", "spectral")
    )
    np.testing.assert_array_equal(plain(x), x)
    assert not np.allclose(divided(x), x)


def valid(x, kernel):
    """The plain convolution, without padding."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize("side", [3, 4, 5])
def test_a_folded_transposed_convolution_is_nearest_resizing_and_a_convolution(side):
    layer = randomised(ConvTranspose((side, side, 3, 5), (16, 16), folded=True), jax.random.key(1))
    x = normal(2, 8, 8, 3)
    doubled = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    expected = valid(doubled, layer.kernel[::-1, ::-1]) * fold_scale(side)
    before = side - 1 - side // 2  # rows whose windows reach over the edge
    inner = layer(x)[:, before : before + expected.shape[1], before : before + expected.shape[2]]
    np.testing.assert_allclose(inner, expected, rtol=1e-4, atol=1e-4)


def test_a_filtered_transposed_convolution_draws_no_grid():
    """Slow waves, doubled, leave next to nothing that nearly alternates; folded kernels alone leave a tenth of it."""
    slow = jnp.asarray(np.cos(2 * np.pi * 2 * np.arange(32) / 32), jnp.float32)
    x = jnp.broadcast_to(slow[None, :, None, None], (1, 32, 32, 3))
    sizes = []
    for filtered in (False, True):
        layer = randomised(ConvTranspose((3, 3, 3, 5), (64, 64), folded=True, filtered=filtered), jax.random.key(1))
        middle = layer(x)[:, 8:-8, 32] * np.hanning(48)[None, :, None]
        spectrum = abs(jnp.fft.rfft(middle, axis=1))
        sizes.append(spectrum[:, 20:].max() / spectrum.max())
    assert sizes[0] > 0.05
    assert sizes[1] < 0.1 * sizes[0]


@pytest.mark.parametrize("side", [3, 4, 5])
def test_a_folded_convolution_is_a_convolution_and_the_means_of_2_by_2(side):
    layer = randomised(Conv((side, side, 3, 5), 2, folded=True), jax.random.key(1))
    x = normal(2, 16, 16, 3)
    every = 4 * fold_scale(side) * valid(x, layer.kernel)
    means = (every[:, :-1, :-1] + every[:, 1:, :-1] + every[:, :-1, 1:] + every[:, 1:, 1:]) / 4
    before = side // 2  # rows by which the first whole window lies below the image's edge
    expected = means[:, before % 2 :: 2, before % 2 :: 2]
    first = (before + 1) // 2
    inner = layer(x)[:, first : first + expected.shape[1], first : first + expected.shape[2]]
    np.testing.assert_allclose(inner, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_folded_layers_begin_with_the_size_of_what_they_fold(layer):
    """A map of one colour becomes as large as in a layer that does not fold, by a step of all weights alike, too."""
    size = {Conv: 2, ConvTranspose: (16, 16)}[layer]
    x = jnp.ones((1, 8, 8, 64)) if layer is ConvTranspose else jnp.ones((1, 16, 16, 64))
    folded = randomised(layer((3, 3, 64, 500), size, folded=True), jax.random.key(0))
    plain = randomised(layer((4, 4, 64, 500), size), jax.random.key(0))
    sizes = [float(jnp.std(each(x)[:, 3:5, 3:5])) for each in (folded, plain)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.15)
    steps = [jax.tree.map(jnp.ones_like, each)(x)[0, 4, 4, 0] for each in (folded, plain)]
    assert float(steps[0]) == pytest.approx(float(steps[1]), rel=1e-4)
