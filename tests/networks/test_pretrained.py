"""Weights that ship: what a run begins with, for images of their own shape and of others."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.networks.architecture import build
from mulligan.networks.pretrained import FILES, architectures, cards, initial_networks, load_initial, load_pretrained
from mulligan.networks.refit import refit
from mulligan.recipe import Architecture, Recipe

INIT = "families-1"
SMALL = Architecture(gen_width=4, disc_width=4, latent=8, coarsest=4)


def players(shape, classes=0, seed=0):
    return build(SMALL, shape, classes, jax.random.key(seed))


def latents(n=4):
    return jax.random.normal(jax.random.key(1), (n, SMALL.latent))


def test_networks_of_the_same_shape_compute_the_same():
    learned = players((32, 32, 3))
    again = refit(learned, (4, 4), players((32, 32, 3), seed=1), (4, 4))
    images = learned.gen(latents())
    np.testing.assert_array_equal(again.gen(latents()), images)
    np.testing.assert_array_equal(again.disc(images), learned.disc(images))


def test_a_grey_image_is_judged_as_the_colour_image_with_equal_channels():
    learned = players((32, 32, 3))
    grey = refit(learned, (4, 4), players((32, 32, 1), seed=1), (4, 4))
    images = jax.random.uniform(jax.random.key(2), (5, 32, 32, 1), minval=-1.0)
    np.testing.assert_allclose(grey.disc(images), learned.disc(jnp.repeat(images, 3, -1)), rtol=1e-4, atol=1e-5)


def test_a_grey_generator_draws_the_mean_of_the_colours_before_they_are_squashed():
    learned = players((32, 32, 3))
    grey = refit(learned, (4, 4), players((32, 32, 1), seed=1), (4, 4))
    colours = jnp.arctanh(learned.gen(latents()))
    np.testing.assert_allclose(jnp.arctanh(grey.gen(latents()))[..., 0], colours.mean(-1), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [(28, 28, 1), (32, 24, 3), (20, 32, 4)],
)
def test_other_shapes_keep_every_convolution(shape):
    learned, fresh = players((32, 32, 3)), players(shape, seed=1)
    after = tuple(int(side) for side in fresh.gen.layers[0].bias.shape[:2])
    fitted = refit(learned, (4, 4), fresh, after)
    assert fitted.gen(latents()).shape == (4, *shape)
    assert fitted.disc(fitted.gen(latents())).shape == (4,)
    np.testing.assert_array_equal(fitted.gen.layers[2].kernel, learned.gen.layers[2].kernel)
    np.testing.assert_array_equal(fitted.disc.layers[2].kernel, learned.disc.layers[2].kernel)


def test_the_last_layer_adds_up_as_much_over_a_map_of_another_size():
    learned, fresh = players((32, 32, 3)), players((32, 24, 3), seed=1)
    features = learned.disc.head.dense.weight.shape[0] // 16
    even = jnp.tile(jnp.arange(1.0, 1 + features), 16)[:, None]  # the same weights at every pixel
    learned = eqx.tree_at(lambda networks: networks.disc.head.dense.weight, learned, even)
    fitted = refit(learned, (4, 4), fresh, (4, 3))
    np.testing.assert_allclose(fitted.disc.head.dense.weight.sum(), even.sum(), rtol=1e-5)


def test_classes_are_new():
    learned, fresh = players((32, 32, 3)), players((32, 32, 3), classes=3, seed=1)
    fitted = refit(learned, (4, 4), fresh, (4, 4))
    np.testing.assert_array_equal(fitted.gen.classes.vectors, fresh.gen.classes.vectors)
    np.testing.assert_array_equal(fitted.disc.head.vectors, fresh.disc.head.vectors)
    np.testing.assert_array_equal(fitted.gen.layers[0].weight[: SMALL.latent], learned.gen.layers[0].weight)
    np.testing.assert_array_equal(
        fitted.gen.layers[0].weight[SMALL.latent :], fresh.gen.layers[0].weight[SMALL.latent :]
    )


def test_networks_with_other_layers_are_refused():
    deeper = build(Architecture(gen_width=4, disc_width=4, gen_depth=1), (32, 32, 3), 0, jax.random.key(0))
    with pytest.raises(MulliganError, match="other layers"):
        refit(players((32, 32, 3)), (4, 4), deeper, (4, 4))


@pytest.mark.parametrize("card", cards(INIT), ids=lambda card: card["name"])
def test_what_ships_draws_smooth_images_that_fill_the_range(card):
    h, w, c = card["shape"]
    recipe = Recipe(architecture=Architecture(**card["architecture"]), init=INIT)
    networks = initial_networks(recipe, (h, w, c), 0, jax.random.key(0), load_initial(recipe, (h, w, c)))
    z = jax.random.normal(jax.random.key(3), (16, recipe.architecture.latent))
    images = np.asarray(jax.jit(lambda gen, z: gen(z))(networks.gen, z))
    assert 0.5 < images.std() < 1.0  # fresh weights draw grey
    assert np.corrcoef(images[:, :-1].ravel(), images[:, 1:].ravel())[0, 1] > 0.8  # and noise


def test_every_file_has_a_card_that_names_its_sources_and_their_licences():
    for init, names in FILES.items():
        for card, name in zip(cards(init), names, strict=True):
            assert card["name"] == name
            assert all(source["licence"] and source["images"] > 0 for source in card["trained_on"].values())


def test_sizes_without_weights_are_refused_with_a_sentence():
    assert architectures(INIT, (16, 16, 1)) == ()
    [suited] = architectures(INIT, (64, 48, 3))
    with pytest.raises(MulliganError, match="none for this size"):
        load_pretrained(INIT, suited, (16, 16, 1))
    with pytest.raises(MulliganError, match="no initial weights are called"):
        cards("nothing")
