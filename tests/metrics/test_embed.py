"""Preparing images against Pillow, and what an embedding promises."""

import dataclasses
import hashlib
import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mulligan.errors import MulliganError, UsageError
from mulligan.metrics import EMBEDDING, embed
from mulligan.metrics.embed import load_embedding, preprocess
from mulligan.metrics.embedding_network import DESIGNS


def pictures(seed, n, h, w, c):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


@pytest.fixture(scope="module", params=DESIGNS)
def embedding(request):
    return dataclasses.replace(load_embedding(request.param), batch=8)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (28, 28), (32, 32), (33, 70), (256, 9)])
def test_resizing_is_that_of_pillow(h, w):
    """Pillow's bicubic filter in floating point, which antialiases."""
    image = pictures(0, 1, h, w, 3)
    planes = [Image.fromarray(image[0, :, :, c].astype(np.float32)) for c in range(3)]
    resized = np.stack([np.asarray(plane.resize((32, 32), Image.Resampling.BICUBIC)) for plane in planes], axis=-1)
    expected = np.clip(resized / 127.5 - 1, -1, 1)
    # Pillow's cubic has a = -0.5, as Keys (1981) does; both divide the weights by their sum at the border
    np.testing.assert_allclose(preprocess(jnp.asarray(image), 32)[0], expected, atol=2e-5)


def test_grey_is_repeated_and_alpha_composited_on_white():
    grey = pictures(0, 2, 32, 32, 1)
    np.testing.assert_array_equal(
        preprocess(jnp.asarray(grey), 32), preprocess(jnp.asarray(np.repeat(grey, 3, axis=-1)), 32)
    )
    transparent = pictures(1, 1, 32, 32, 4)
    over = Image.alpha_composite(Image.new("RGBA", (32, 32), "white"), Image.fromarray(transparent[0]))
    expected = np.asarray(over.convert("RGB")) / 127.5 - 1
    np.testing.assert_allclose(preprocess(jnp.asarray(transparent), 32)[0], expected, atol=1.01 / 127.5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (20, 40, 4), (256, 256, 3)])
def test_any_shape(embedding, shape):
    features = embedding(pictures(0, 3, *shape))
    assert features.shape == (3, embedding.dimension)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.parametrize("n", [0, 1, 8, 13])
def test_padding_changes_nothing(embedding, n):
    images = pictures(0, 24, 12, 12, 1)
    np.testing.assert_allclose(embedding(images[:n]), embedding(images)[:n], rtol=1e-5, atol=1e-5)


def test_same_images_same_bits(embedding):
    images = pictures(0, 21, 12, 12, 1)
    np.testing.assert_array_equal(embedding(images), embedding(images.copy()))
    np.testing.assert_array_equal(embedding(jnp.asarray(images)), embedding(images))


def test_one_compilation_an_image_shape():
    traced = []

    def features(images):
        traced.append(images.shape)
        return jnp.zeros((len(images), 2))

    counting = embed.Embedding("counting", 2, jax.jit(features), lambda h, w: 0.0, batch=4)
    for n in (1, 3, 4, 9):
        assert counting(pictures(0, n, 8, 8, 1)).shape == (n, 2)
    assert traced == [(4, 8, 8, 1)]


@pytest.mark.parametrize("name", DESIGNS)
def test_card_describes_the_weights(name):
    room = resources.files("mulligan.metrics")
    stored = room.joinpath(f"{name}.safetensors").read_bytes()
    card = json.loads(room.joinpath(f"{name}.json").read_text())
    assert len(stored) < 2_000_000
    assert card["name"] == name
    assert card["sha256"] == hashlib.sha256(stored).hexdigest()
    assert card["dimension"] == load_embedding(name).dimension == DESIGNS[name].dimension


def test_the_default_is_what_selects():
    assert load_embedding().name == EMBEDDING


def test_damaged_weights_are_noticed(monkeypatch, tmp_path):
    room = resources.files("mulligan.metrics")
    (tmp_path / "m1.json").write_bytes(room.joinpath("m1.json").read_bytes())
    (tmp_path / "m1.safetensors").write_bytes(room.joinpath("m1.safetensors").read_bytes()[:-1] + b"?")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(MulliganError, match="damaged"):
        load_embedding("m1")


def test_unusable():
    with pytest.raises(UsageError, match="no embedding is called 'm9'"):
        load_embedding("m9")
    for images in (np.zeros((2, 8, 8, 2), np.uint8), np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(MulliganError, match="metrics take uint8 images"):
            embed.check_images(images)
