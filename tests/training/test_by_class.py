"""Scores of classes: each against its own real images, the ruined one named, and none named by chance."""

import jax
import numpy as np
import pytest

from mulligan.metrics.embed import Embedding
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture
from mulligan.tasks.task import Split
from mulligan.training.by_class import class_scores, worst
from mulligan.training.engine import Sampler

SHAPE, NAMES = (8, 8, 1), ("a", "b", "c", "d", "rare")
COUNTS = (100, 100, 40, 40, 5)


@pytest.fixture(scope="module")
def drawn():
    """A generator, and real images that it drew itself, so that all classes are perfect."""
    architecture = Architecture("mlp", gen_width=16, gen_depth=1, disc_width=8, disc_depth=1, latent=8)
    gen = jax.tree.map(lambda leaf: 3 * leaf, build(architecture, SHAPE, len(NAMES), jax.random.key(0)).gen)
    sampler = Sampler.make(architecture, len(NAMES))
    labels = np.repeat(np.arange(len(NAMES)), COUNTS).astype(np.int32)
    images = sampler(gen, sampler.latents(len(labels), seed=1), labels)
    return sampler, gen, images, labels


@pytest.fixture(scope="module")
def embedding():
    """Pixels, averaged over pairs of rows."""

    def features(images):
        return images.astype("float32").reshape(len(images), 4, 16).mean(1) / 64 - 2

    return Embedding("pixels", 16, jax.jit(features), lambda height, width: 0.0)


def test_perfect_classes_have_no_worst(drawn, embedding):
    sampler, gen, images, labels = drawn
    found = class_scores(sampler, gen, embedding, Split(images, labels), NAMES)
    assert [each["name"] for each in found["classes"]] == ["a", "b", "c", "d"]
    assert [each["n_real"] for each in found["classes"]] == [96, 96, 32, 32]
    assert found["unmeasured"] == ["rare"]
    assert all(each["kid_low"] < 0.05 for each in found["classes"])
    assert all(each["coverage"] > 0.8 for each in found["classes"])
    assert found["worst_class"] is None


def test_a_ruined_class_is_named_and_no_other_suffers(drawn, embedding):
    sampler, gen, images, labels = drawn
    spoilt = np.where((labels == 2)[:, None, None, None], 255 - images, images)
    before = class_scores(sampler, gen, embedding, Split(images, labels), NAMES)
    found = class_scores(sampler, gen, embedding, Split(spoilt, labels), NAMES)
    assert found["worst_class"] == "c"
    assert found["classes"][2]["coverage"] < 0.5
    assert found["classes"][:2] == before["classes"][:2]
    assert found["classes"][3:] == before["classes"][3:]


def test_one_class_has_no_worst():
    assert worst([]) is None
    assert worst([{"name": "a", "kid": 9.0, "kid_low": 8.0}]) is None
