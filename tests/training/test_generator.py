"""A generator in a folder is what was saved, or is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.documents import read_sealed, write_sealed
from mulligan.errors import MulliganError, UsageError
from mulligan.networks.architecture import build
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import MODEL, Generator, load
from mulligan.training.latents import LatentPrior

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


@pytest.fixture
def generator():
    network = build(ARCHITECTURE, (8, 10, 3), 2, jax.random.key(0)).gen
    return Generator(Recipe(architecture=ARCHITECTURE), (8, 10, 3), ("cat", "dog"), network)


def test_what_was_saved_is_loaded(generator, tmp_path):
    generator.save(tmp_path)
    again = load(tmp_path)
    assert (again.recipe, again.shape, again.classes, again.run) == (generator.recipe, (8, 10, 3), ("cat", "dog"), None)
    np.testing.assert_array_equal(again.sample(3), generator.sample(3))


def weighted(generator, points=7):
    """The same generator, without classes, with latents drawn around a few points."""
    network = build(ARCHITECTURE, (8, 10, 3), 0, jax.random.key(0)).gen
    drawn = np.random.default_rng(0).standard_normal((points, 5)).astype(np.float32)
    prior = LatentPrior(drawn, np.arange(points, dtype=np.float32) / sum(range(points)))
    return dataclasses.replace(generator, classes=None, network=network, prior=prior)


def test_weighted_latents_are_saved_and_drawn_from(generator, tmp_path):
    one = weighted(generator)
    one.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(again.sample(9, seed=3), one.sample(9, seed=3))
    np.testing.assert_array_equal(one.sample(9), one.draw(one.latents(9)))
    np.testing.assert_array_equal(one.latents(4), one.latents(9)[:4])
    plain = dataclasses.replace(one, prior=None)
    assert (plain.latents(9) != one.latents(9)).all()
    np.testing.assert_array_equal(plain.draw(one.latents(9)), one.sample(9))  # the network itself is the same
    np.testing.assert_array_equal(one.largest_member().sample(3), one.sample(3))


@pytest.mark.parametrize(("points", "sentence"), [(6, "another network"), (-1, "points is -1"), ("7", "points is")])
def test_weighted_latents_of_another_number_are_one_sentence(generator, tmp_path, points, sentence):
    weighted(generator).save(tmp_path)
    write_sealed(tmp_path / MODEL, read_sealed(tmp_path / MODEL) | {"points": points})
    with pytest.raises(MulliganError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(generator, tmp_path, number):
    broken = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(number), generator.network)
    dataclasses.replace(generator, network=broken).save(tmp_path)
    with pytest.raises(MulliganError, match=r"the weights in .* are damaged: .* not finite"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": [8, 10]}, "shape"),
        ({"shape": [8, 10, -3]}, "shape"),
        ({"shape": "8x10"}, "shape is"),
        ({"classes": 2}, "classes is 2"),
        ({"members": 0}, "members is 0"),
        ({"format": 2}, "newer version of mulligan"),
        ({"recipe": {"loss": "evil"}}, "loss"),
        ({"recipe": Recipe(architecture=dataclasses.replace(ARCHITECTURE, latent=6)).to_json()}, "another network"),
    ],
)
def test_what_does_not_describe_the_weights_is_one_sentence(generator, tmp_path, changes, sentence):
    generator.save(tmp_path)
    write_sealed(tmp_path / MODEL, read_sealed(tmp_path / MODEL) | changes)
    with pytest.raises(MulliganError, match=sentence):
        load(tmp_path)


def test_an_edited_description_is_refused(generator, tmp_path):
    generator.save(tmp_path)
    file = tmp_path / MODEL
    file.write_text(file.read_text().replace('"cat"', '"cow"'))
    with pytest.raises(MulliganError, match="damaged or was edited"):
        load(tmp_path)


def test_truncation_draws_samples_together(generator):
    plain, near = generator.sample(20, labels=0).astype(float), generator.sample(20, labels=0, truncation=0.5)
    assert near.std(0).mean() < 0.7 * plain.std(0).mean()
    assert np.ptp(generator.sample(3, labels=0, truncation=0), axis=0).max() == 0
    np.testing.assert_array_equal(generator.sample(3, truncation=1), generator.sample(3))


def test_latents_of_another_dimension_are_refused(generator):
    latents = generator.sampler.latents(3, seed=0)
    np.testing.assert_array_equal(generator.draw(latents), generator.sample(3))
    with pytest.raises(UsageError, match="have 5 numbers each, not 4"):
        generator.draw(latents[:, :4])


def test_the_largest_member_draws_what_it_draws_in_the_mixture(generator):
    others = [build(ARCHITECTURE, (8, 10, 3), 2, jax.random.key(seed)).gen for seed in (1, 2)]
    mixed = Mixture((others[0], generator.network, others[1]), jnp.array([0.3, 0.5, 0.2]))
    mixture = dataclasses.replace(generator, network=mixed)
    np.testing.assert_array_equal(mixture.largest_member().sample(4), generator.sample(4))
    assert generator.largest_member() is generator
