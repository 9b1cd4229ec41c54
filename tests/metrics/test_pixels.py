"""Pixels at 8x8: means of cells for images of any shape, and an embedding's own features bit for bit beside them."""

import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_of

from mulligan.metrics.embed import load_embedding
from mulligan.metrics.pixels import PIXELS, SIDE, beside_pixels, pixels_at_8x8


def pictures(seed, n, h, w, c):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (32, 16), (64, 64)])
def test_cells_of_whole_pixels_are_their_means(h, w):
    images = pictures(0, 3, h, w, 3)
    means = images.reshape(3, SIDE, h // SIDE, SIDE, w // SIDE, 3).mean((2, 4)) / 127.5 - 1
    np.testing.assert_allclose(pixels_at_8x8(jnp.asarray(images)), means.reshape(3, -1), atol=1e-5)


@pytest.mark.parametrize(("h", "w"), [(28, 28), (9, 70), (5, 8), (256, 33)])
def test_a_pixel_that_a_border_cuts_counts_in_both_cells(h, w):
    """The mean of a cell is the integral of the image, constant on each pixel, over it: by a sum along finer lines."""
    image = pictures(1, 1, h, w, 3)
    fine = image.repeat(SIDE, axis=1).repeat(SIDE, axis=2)
    means = fine.reshape(1, SIDE, h, SIDE, w, 3).mean((2, 4)) / 127.5 - 1
    np.testing.assert_allclose(pixels_at_8x8(jnp.asarray(image)), means.reshape(1, -1), atol=1e-5)


def test_grey_is_repeated_and_nothing_shows_through_what_is_transparent():
    grey = pictures(0, 2, 28, 28, 1)
    np.testing.assert_array_equal(
        pixels_at_8x8(jnp.asarray(grey)), pixels_at_8x8(jnp.asarray(np.repeat(grey, 3, axis=-1)))
    )
    clear = np.concatenate([pictures(1, 2, 28, 28, 3), np.zeros((2, 28, 28, 1), np.uint8)], axis=-1)
    np.testing.assert_allclose(pixels_at_8x8(jnp.asarray(clear)), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", quick_of(["m1", "m2"], "m1"))
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (20, 40, 4), (256, 256, 3)])
def test_an_embedding_keeps_its_own_features_bit_for_bit(name, shape):
    embedding, images = load_embedding(name), pictures(2, 3, *shape)
    space = beside_pixels(embedding)
    joint = space(images)
    assert joint.shape == (3, space.dimension) == (3, embedding.dimension + PIXELS)
    assert (space.name, joint.dtype) == (f"{name}+pixels", np.float32)
    np.testing.assert_array_equal(joint[:, : embedding.dimension], embedding(images))
    assert np.isfinite(joint).all()
    assert space.flops(*shape[:2]) > embedding.flops(*shape[:2])


def test_both_kinds_weigh_alike():
    """On images whose pixels vary as those of the constants do, half of a squared distance is in the pixels."""
    embedding = load_embedding("m1")
    joint = beside_pixels(embedding)(pictures(3, 200, 8, 8, 3))
    grey = beside_pixels(embedding)(np.full((1, 8, 8, 3), 128, np.uint8))
    pixels = ((joint - grey)[:, embedding.dimension :] ** 2).sum(1).mean()
    # Uniform levels have a deviation of 0.58 on the scale from -1 to 1; that of the constants is near it.
    assert 0.5 < pixels / embedding.dimension < 2
