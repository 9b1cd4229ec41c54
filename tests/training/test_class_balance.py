"""Classes that are drawn worst are shown oftener, the others never less than half as often; and runs resume exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import RECIPE, assert_same_end, events

from mulligan import api
from mulligan.errors import Interrupted, MulliganError
from mulligan.game.step import Data, draw
from mulligan.metrics.embed import Embedding
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.tasks.task import Split
from mulligan.training.class_balance import ClassBalance
from mulligan.training.engine import Sampler
from mulligan.training.feed import Feed

SHAPE, COUNTS = (8, 8, 1), (200, 100, 40, 5)
LABELS = np.repeat(np.arange(4), COUNTS).astype(np.int32)


@pytest.fixture(scope="module")
def drawn():
    """A generator, and real images that it drew itself."""
    architecture = Architecture("mlp", gen_width=16, gen_depth=1, disc_width=8, disc_depth=1, latent=8)
    gen = jax.tree.map(lambda leaf: 3 * leaf, build(architecture, SHAPE, 4, jax.random.key(0)).gen)
    sampler = Sampler.make(architecture, 4)
    return sampler, gen, sampler(gen, sampler.latents(len(LABELS), seed=1), LABELS)


@pytest.fixture(scope="module")
def embedding():
    def features(images):
        return images.astype("float32").reshape(len(images), 4, 16).mean(1) / 64 - 2

    return Embedding("pixels", 16, jax.jit(features), lambda height, width: 0.0)


def test_the_worst_class_is_shown_oftener_and_none_less_than_half(drawn, embedding):
    sampler, gen, images = drawn
    spoilt = np.where((LABELS == 2)[:, None, None, None], 255 - images, images)
    balance = ClassBalance.make(Split(spoilt, LABELS), 4, sampler, embedding)
    state = balance.player.init()
    np.testing.assert_allclose(balance.chances(state), np.array(COUNTS) / sum(COUNTS), rtol=1e-5)
    kids = balance.kids(gen)
    assert kids[2] > 10 * max(kids[:2])
    assert np.isnan(kids[3])
    for _ in range(5):
        state = balance.player.observe(state, -kids)
    chances = balance.chances(state)
    assert chances[2] > 0.4
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    assert (chances >= 0.5 * np.array(COUNTS) / sum(COUNTS) - 1e-6).all()


def test_images_are_drawn_by_the_chances_of_their_classes():
    feed = Feed(Split(np.zeros((345, *SHAPE), np.uint8), LABELS), True, 0, 0, chances=np.array([0.1, 0.2, 0.3, 0.4]))
    for chances in ([0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]):
        feed.show(np.array(chances, np.float32))
        labels = draw(feed.data(0), 10, 4000, jax.random.key(0))[1]
        np.testing.assert_allclose(np.bincount(np.ravel(labels), minlength=4) / labels.size, chances, atol=0.01)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), feed.shapes()) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), feed.data(0)
    )


def test_within_a_class_all_images_are_drawn_alike_and_none_without_chance():
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, *SHAPE), np.uint8)
    cumulative = jnp.cumsum(jnp.array([0.0, 0.2, 0.2, 0, 0, 0.1, 0.1, 0.2, 0.2, 0]))
    real = draw(Data(jnp.asarray(images), None, cumulative), 1, 20_000, jax.random.key(1))[0]
    levels = np.round((np.asarray(real)[0, :, 0, 0, 0] + 1) * 127.5).astype(int)
    shares = np.bincount(levels, minlength=10) / 20_000
    np.testing.assert_allclose(shares, [0, 0.2, 0.2, 0, 0, 0.1, 0.1, 0.2, 0.2, 0], atol=0.01)


def test_a_recipe_without_it_keeps_its_name():
    assert "balanced" not in Recipe().differences()
    assert Recipe.from_json(Recipe(balanced=True).to_json()).balanced


def test_without_classes_it_is_refused(tmp_path):
    with pytest.raises(MulliganError, match="balanced sampling needs classes: train with `labels`"):
        api.fit("digits", images=500, recipe=dataclasses.replace(RECIPE, balanced=True), out=tmp_path / "run")


@pytest.mark.slow
def test_a_balanced_run_tells_its_shares_and_resumes_exactly(tmp_path):
    recipe = dataclasses.replace(RECIPE, balanced=True)
    options = {"images": 6000, "recipe": recipe, "labels": True, "size": 8}
    whole = api.fit("digits", out=tmp_path / "whole", **options)
    told = events(whole.run, "balance")
    assert len(told) > 1
    assert [each["name"] for each in told[0]["classes"]] == list(whole.classes)
    assert sum(each["share"] for each in told[-1]["classes"]) == pytest.approx(1, abs=1e-5)

    def stopping(event):
        if event["kind"] == "balance" and event["nimg"] > 2000:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        api.fit("digits", out=tmp_path / "parts", listener=stopping, **options)
    api.resume(tmp_path / "parts")
    assert_same_end(whole.run, tmp_path / "parts")
    assert [each["classes"] for each in events(tmp_path / "parts", "balance")] == [each["classes"] for each in told]
