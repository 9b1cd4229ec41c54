"""The network against plain loops, and the size of its input."""

import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.metrics.embedding_network import DESIGNS, activations, features, standardised, weight_shapes


@pytest.mark.parametrize(("name", "side"), [("m1", 32), ("m2", 32), ("m2", 64)])
def test_features_agree_with_loops(name, side):
    """The first convolution and the dense layer from their definitions, and the means of maps between them."""
    design, rng = DESIGNS[name], np.random.default_rng(0)
    weights = {
        key: jnp.asarray(rng.normal(size=shape), jnp.float32) / 9 for key, shape in weight_shapes(design).items()
    }
    pixels = rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    first, *between, dense = (np.asarray(output) for output in activations(design, weights, jnp.asarray(pixels)))

    padded = np.pad(pixels, [(0, 0), (1, 1), (1, 1), (0, 0)])
    kernel = np.asarray(weights["conv0.kernel"])
    for row, column in ((0, 0), (7, 15), (15, 3)):
        patch = padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        linear = np.einsum("nijc,ijco->no", patch, kernel) + weights["conv0.bias"]
        np.testing.assert_allclose(first[:, row, column], np.where(linear > 0, linear, 0.1 * linear), atol=1e-5)

    last, cells = between[-1], []
    cell = last.shape[1] // design.grid
    for row in range(design.grid):
        for column in range(design.grid):
            part = last[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            cells.append(part.mean((1, 2)))
    linear = np.concatenate(cells, axis=1) @ weights["dense.kernel"] + weights["dense.bias"]
    np.testing.assert_allclose(dense, np.where(linear > 0, linear, 0.1 * linear), rtol=1e-4, atol=1e-5)

    found = features(design, weights, jnp.asarray(pixels))
    assert found.shape == (2, design.dimension)
    np.testing.assert_array_equal(found[:, -design.units :], dense)
    maps = [first, *between]
    expected = [maps[level].mean((1, 2)) for level in design.levels]
    width = sum(design.widths[level] for level in design.levels)
    np.testing.assert_allclose(found[:, :width], np.concatenate([*expected, np.zeros((2, 0))], axis=1), atol=1e-5)
    constants = {"mean": jnp.full(design.dimension, 2.0), "deviation": jnp.full(design.dimension, 4.0)}
    moved = standardised(design, {**weights, **constants}, jnp.asarray(pixels))
    expected = (np.asarray(found) - 2) / 4
    bounded = expected if name == "m1" else 3 * np.tanh(expected / 3)
    np.testing.assert_allclose(moved, bounded, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "size", "side"), [("m1", 256, 32), ("m2", 45, 32), ("m2", 46, 64), ("m2", 256, 64)])
def test_small_images_take_a_small_input(name, size, side):
    assert DESIGNS[name].side(size, 8) == DESIGNS[name].side(8, size) == side


def test_operations_are_those_of_the_layers():
    """Of m1 by hand: 32x32 pixels, three convolutions, 1,536 by 96 weights."""
    by_hand = 16 * 16 * 48 * 16 + 8 * 8 * 256 * 48 + 4 * 4 * 768 * 96 + 1536 * 96
    assert DESIGNS["m1"].flops(28, 28) == 2 * by_hand
    assert DESIGNS["m2"].flops(64, 64) > 3.5 * DESIGNS["m2"].flops(32, 32)
