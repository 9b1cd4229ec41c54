"""What a generator drew is found again, of the right class, and nearer than any of many draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_projections import small_projections

from mulligan.errors import UsageError
from mulligan.networks.architecture import build
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=16, gen_depth=1, disc_width=8, disc_depth=1, latent=12)
SHAPE = (8, 10, 3)


def made(classes, members=1):
    def network(seed):
        gen = build(ARCHITECTURE, SHAPE, len(classes or ()), jax.random.key(seed)).gen
        return jax.tree.map(lambda leaf: 3 * leaf, gen)  # untrained ones draw hardly more than grey

    drawn = network(0) if members == 1 else Mixture(tuple(map(network, range(members))), jnp.full(members, 1 / members))
    return Generator(Recipe(architecture=ARCHITECTURE), SHAPE, classes, drawn)


@pytest.fixture(scope="module", autouse=True)
def brief():
    with small_projections(steps=200):
        yield


@pytest.fixture(scope="module")
def generator():
    return made(("cat", "dog"))


@pytest.mark.parametrize(("classes", "members"), [(None, 1), (("cat", "dog"), 1), (None, 2)])
def test_what_it_drew_is_found_again(classes, members):
    generator = made(classes, members)
    images = generator.sample(3, seed=3)
    shares = []
    found = generator.project(images, told=shares.append)
    assert (found.error < found.nearest_error / 3).all()
    assert members > 1 or np.median(found.error) < 0.03  # a mixture's members take turns as the latent moves
    assert shares == sorted(shares)
    assert shares[-1] == 1
    drawn = generator.draw(found.latents, found.labels)
    np.testing.assert_array_equal(drawn, found.images)
    error = ((drawn.astype(float) - images) ** 2).mean((1, 2, 3)) ** 0.5 / 255
    np.testing.assert_allclose(found.error, error, rtol=1e-4)


def test_classes_are_found_or_obeyed(generator):
    images = generator.sample(2, seed=3)
    free, given = generator.project(images), generator.project(images, [1, 0])
    assert free.labels.tolist() == [0, 1]
    assert given.labels.tolist() == [1, 0]
    assert (given.error > 3 * free.error).all()


def test_the_same_images_find_the_same_latents_in_one_compiled_program(generator):
    images = generator.sample(3, seed=1)
    first, second = generator.project(images), generator.project(images[:2])
    np.testing.assert_array_equal(first.latents[:2], second.latents)
    assert generator.projector.search._cache_size() == 1


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 10, 8, 3), np.uint8),
        np.zeros((2, 8, 10, 3)),
        np.zeros((0, 8, 10, 3), np.uint8),
        np.zeros((8, 10, 3)),
    ],
)
def test_images_of_another_kind_are_refused(generator, images):
    with pytest.raises(UsageError, match=r"takes uint8 images .* of 8x10x3"):
        generator.project(images)


def test_unknown_classes_are_refused(generator):
    with pytest.raises(UsageError, match="whole numbers from 0 to 1"):
        generator.project(generator.sample(2), [0, 2])
    plain = dataclasses.replace(generator, classes=None)
    with pytest.raises(UsageError, match="trained without labels"):
        plain.project(generator.sample(2), [0, 1])
