"""`mulligan project` writes what was found, in a form that can be used again."""

import jax
import numpy as np
import pytest
from PIL import Image
from small_projections import small_projections

from mulligan import api
from mulligan.documents import read_sealed
from mulligan.errors import UsageError
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


@pytest.fixture(scope="module")
def generator():
    network = build(ARCHITECTURE, (8, 10, 3), 2, jax.random.key(0)).gen
    return Generator(Recipe(architecture=ARCHITECTURE), (8, 10, 3), ("cat", "dog"), network)


@pytest.fixture(scope="module", autouse=True)
def brief():
    with small_projections():
        yield


def test_pictures_are_projected_and_shown(generator, tmp_path):
    (tmp_path / "photos").mkdir()
    drawn = generator.sample(5, seed=9)
    for index, image in enumerate(drawn):
        Image.fromarray(image).save(tmp_path / "photos" / f"{index}.png")
    events = []
    generator.save(tmp_path / "gan")
    out = tmp_path / "new" / "found"
    found = api.project(tmp_path / "gan", tmp_path / "photos", out, listener=events.append)
    assert events[-1]["share"] == 1
    assert read_sealed(out / "projection.json") == found
    assert [(picture["name"], picture["class"]) for picture in found["pictures"]] == [
        ("0.png", "cat"),
        ("1.png", "dog"),
        ("2.png", "cat"),
        ("3.png", "dog"),
        ("4.png", "cat"),
    ]
    assert found["error"] < found["nearest_error"]
    kept = np.load(out / "latents.npz")
    near = generator.draw(kept["latents"], kept["labels"]).astype(int)
    errors = [picture["error"] for picture in found["pictures"]]
    np.testing.assert_allclose(((near - drawn) ** 2).mean((1, 2, 3)) ** 0.5 / 255, errors, rtol=1e-3)
    sheet = Image.open(out / "projection.png")
    assert sheet.width > 12 * 64 * 10 / 10
    assert sheet.height > 2 * 56


def test_a_class_can_be_given_by_its_name(generator, tmp_path):
    Image.fromarray(generator.sample(1)[0]).save(tmp_path / "cat.png")
    found = api.project(generator, tmp_path / "cat.png", tmp_path / "out", label="dog")
    assert [picture["class"] for picture in found["pictures"]] == ["dog"]
    with pytest.raises(UsageError, match="no class 'cow': it knows cat, dog"):
        api.project(generator, tmp_path / "cat.png", tmp_path / "out", label="cow")
