"""The contract of a network, held by every family and option."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import quick_of

from mulligan.errors import MulliganError
from mulligan.networks.architecture import FAMILIES, build, parameter_count
from mulligan.networks.normalisation import NORMALISATIONS
from mulligan.networks.parameters import named_parameters
from mulligan.recipe import Architecture

SMALL = {"gen_width": 4, "disc_width": 4, "latent": 3}
EVERYTHING = {"minibatch_std": True, "gen_normalisation": "pixel", "disc_normalisation": "spectral"}
DEEP = {"gen_depth": 1, "disc_depth": 2}

CASES = {  # name: (architecture, image shape, classes)
    "mlp": (Architecture("mlp", **SMALL, **DEEP), (8, 9, 3), 0),
    "mlp, everything": (Architecture("mlp", **SMALL, **DEEP, **EVERYTHING), (9, 8, 1), 3),
    "conv": (Architecture("conv", **SMALL), (10, 16, 1), 0),
    "conv, everything": (
        Architecture(
            "conv", **SMALL, **EVERYTHING, gen_depth=1, disc_depth=1, attention=True, resampling="bilinear", kernel=3
        ),
        (9, 11, 3),
        3,
    ),
    "conv, group": (
        Architecture(
            "conv",
            **SMALL,
            gen_normalisation="group",
            disc_normalisation="group",
            resampling="nearest",
            kernel=5,
            activation="silu",
        ),
        (8, 11, 4),
        0,
    ),
    "conv, folded": (Architecture("conv", **SMALL, resampling="folded", kernel=3), (9, 14, 3), 0),
    "conv, filtered": (Architecture("conv", **SMALL, resampling="filtered", kernel=3), (9, 14, 3), 0),
    "residual": (Architecture("residual", **SMALL, gen_depth=1, disc_depth=1, kernel=3), (10, 8, 1), 0),
    "residual, everything": (
        Architecture(
            "residual",
            **SMALL,
            **EVERYTHING,
            gen_depth=1,
            disc_depth=1,
            attention=True,
            resampling="bilinear",
            kernel=3,
        ),
        (9, 8, 4),
        3,
    ),
}

every_case = pytest.mark.parametrize("name", CASES)


def cases_quick_for(*quick):
    """Every case; those not named are slow to compile, and have nothing that the named ones lack."""
    return pytest.mark.parametrize("name", quick_of(CASES, *quick))


@cache
def networks(name):
    """A network of the case with every parameter moved, for some start at zero and hide what comes before."""
    fresh = build(*CASES[name], jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape, np.float32), fresh)


def inputs(name, n=8):
    """Latents, images and labels (None without classes)."""
    architecture, shape, classes = CASES[name]
    rng = np.random.default_rng(1)
    z = jnp.asarray(rng.standard_normal((n, architecture.latent), np.float32))
    x = jnp.asarray(rng.uniform(-1, 1, (n, *shape)), jnp.float32)
    return z, x, jnp.arange(n) % classes if classes else None


@jax.jit
def play(both, z, x, labels):
    return both.gen(z, labels), both.disc(x, labels)


@cases_quick_for(*(name for name in CASES if not name.startswith("residual")))
def test_shapes_types_and_range(name):
    _, shape, _ = CASES[name]
    z, x, labels = inputs(name)
    with jax.numpy_dtype_promotion("strict"):
        fake, logits = play(networks(name), z, x, labels)
    assert (fake.shape, fake.dtype) == ((8, *shape), jnp.float32)
    assert (logits.shape, logits.dtype) == ((8,), jnp.float32)
    assert jnp.all(jnp.abs(fake) <= 1)
    assert len(np.unique(logits)) == 8
    for leaf in jax.tree.leaves(networks(name)):
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == jnp.float32


# Without jit each operation is a program of its own; "residual, everything" has what "conv, everything" has.
@pytest.mark.parametrize("name", quick_of([name for name in CASES if name != "conv, everything"], "conv, group"))
def test_jit_equals_eager(name):
    with jax.disable_jit():
        eager = play(networks(name), *inputs(name))
    compiled = play(networks(name), *inputs(name))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), eager, compiled)


@cases_quick_for("mlp, everything", "conv, group")
def test_a_population_equals_its_members(name):
    one = networks(name)
    other = jax.tree.map(lambda leaf: 0.9 * leaf, one)
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, other)
    together = jax.jit(jax.vmap(play, in_axes=(0, None, None, None)))(population, *inputs(name))
    for index, member in enumerate((one, other)):
        alone = play(member, *inputs(name))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a, b[index], rtol=1e-3, atol=1e-4)


def moves_everything(gradient):
    for path, leaf in named_parameters(gradient).items():
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


@cases_quick_for("mlp, everything", "conv, group")
def test_every_parameter_moves_the_game(name):
    @jax.jit
    @jax.grad
    def gradient(both, z, labels):
        return jnp.sum(both.disc(both.gen(z, labels), labels) ** 2)

    z, _, labels = inputs(name)
    moves_everything(gradient(networks(name), z, labels))


@cases_quick_for("mlp", "conv")
def test_a_gradient_penalty_has_gradients(name):
    @jax.jit
    @jax.grad
    def gradient(disc, x, labels):
        slope = jax.grad(lambda x: jnp.sum(disc(x, labels) ** 2))(x)
        return jnp.sum(slope**2)

    _, x, labels = inputs(name)
    moves_everything(gradient(networks(name).disc, x, labels))


@every_case
def test_the_key_decides_the_weights(name):
    first, again, other = (build(*CASES[name], jax.random.key(seed)) for seed in (0, 0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    z, x, labels = inputs(name)
    for a, b in zip(play(first, z, x, labels), play(other, z, x, labels), strict=True):
        assert not np.allclose(a, b)


@pytest.mark.parametrize(
    "name",
    quick_of([name for name, (_, _, classes) in CASES.items() if classes], "mlp, everything"),
)
def test_labels_matter_and_are_asked_for(name):
    both = networks(name)
    z, x, labels = inputs(name)
    for a, b in zip(play(both, z, x, labels), play(both, z, x, (labels + 1) % 3), strict=True):
        assert np.all(np.any(np.reshape(a != b, (8, -1)), axis=1))
    with pytest.raises(MulliganError, match="give the label"):
        both.gen(z)
    with pytest.raises(MulliganError, match="give the label"):
        both.disc(x)


def test_labels_are_refused_without_classes():
    both = networks("conv")
    z, x, _ = inputs("conv")
    with pytest.raises(MulliganError, match="without classes"):
        both.gen(z, jnp.zeros(8, int))
    with pytest.raises(MulliganError, match="without classes"):
        both.disc(x, jnp.zeros(8, int))


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(list(FAMILIES)),
    st.tuples(st.integers(8, 256), st.integers(8, 256), st.sampled_from([1, 3, 4])),
    st.sampled_from([("strided", 3), ("strided", 4), ("strided", 5), ("filtered", 3), ("nearest", 4), ("bilinear", 3)]),
    st.booleans(),
)
def test_any_size_of_image(family, shape, resampling, extras):
    """Shapes only: nothing is computed."""
    architecture = Architecture(
        family,
        gen_depth=1,
        disc_depth=1,
        resampling=resampling[0],
        kernel=resampling[1],
        minibatch_std=extras,
        attention=extras and family != "mlp",
    )

    def both_outputs(key, z):
        both = build(architecture, shape, 0, key)
        return both.gen(z), both.disc(both.gen(z))

    fake, logits = jax.eval_shape(both_outputs, jax.random.key(0), jnp.zeros((2, 64)))
    assert (fake.shape, logits.shape) == ((2, *shape), (2,))


def count(architecture, shape=(28, 28, 1), classes=0):
    both = jax.eval_shape(lambda key: build(architecture, shape, classes, key), jax.random.key(0))
    return parameter_count(both.gen), parameter_count(both.disc)


def test_the_articles_network():
    """128-128-784 from 64 latents, and 128-128-1, counted by hand."""
    article = Architecture("mlp", gen_width=128, disc_width=128, gen_depth=2, disc_depth=2)
    gen = (64 * 128 + 128) + (128 * 128 + 128) + (128 * 784 + 784)
    disc = (784 * 128 + 128) + (128 * 128 + 128) + (128 + 1)
    assert count(article) == (gen, disc)


def test_dcgan():
    """Latents to 7x7x64, 14x14x32, 28x28x1, and back, counted by hand."""
    gen = (64 + 1) * 7 * 7 * 64 + (16 * 64 * 32 + 32) + (16 * 32 * 1 + 1)
    disc = (16 * 1 * 32 + 32) + (16 * 32 * 64 + 64) + (7 * 7 * 64 + 1)
    assert count(Architecture()) == (gen, disc)


def test_classes_add_their_vectors_only():
    gen, disc = count(Architecture())
    class_gen, class_disc = count(Architecture(), classes=10)
    assert class_gen == gen + 10 * 64 + 64 * 7 * 7 * 64  # the vectors, and twice the inputs
    assert class_disc == disc + 10 * 7 * 7 * 64


def skeleton(architecture):
    """What is fixed about both networks: their structure, with static fields, and the shapes of their arrays."""
    both = jax.eval_shape(lambda key: build(architecture, (32, 20, 3), 0, key), jax.random.key(0))
    return [(jax.tree.structure(net), [leaf.shape for leaf in jax.tree.leaves(net)]) for net in both]


@pytest.mark.parametrize("family", ["conv", "residual"])
@pytest.mark.parametrize(
    ("change", "gen_changes", "disc_changes"),
    [
        ({"gen_width": 5}, True, False),
        ({"disc_width": 5}, False, True),
        ({"gen_depth": 2}, True, False),
        ({"disc_depth": 2}, False, True),
        ({"kernel": 3}, True, True),
        ({"resampling": "nearest"}, True, True),
        ({"resampling": "bilinear"}, True, True),
        ({"resampling": "folded"}, True, True),
        ({"resampling": "filtered"}, True, True),
        ({"activation": "silu"}, True, True),
        ({"latent": 7}, True, False),
        ({"gen_normalisation": "pixel"}, True, False),
        ({"disc_normalisation": "spectral"}, False, True),
        ({"minibatch_std": True}, False, True),
        ({"attention": True}, True, True),
    ],
)
def test_every_choice_is_taken_by_whom_it_concerns(family, change, gen_changes, disc_changes):
    plain = Architecture(family, **SMALL | {"gen_depth": 1, "disc_depth": 1})
    before, after = skeleton(plain), skeleton(replace(plain, **change))
    assert [a != b for a, b in zip(before, after, strict=True)] == [gen_changes, disc_changes]


def test_maps_of_first_and_last_layers_are_not_normalised():
    """One channel divided by its own size would leave two values in an image."""
    name = "mlp, everything"
    assert CASES[name][1][2] == 1
    fake, _ = play(networks(name), *inputs(name))
    assert len(np.unique(fake)) > 100
    assert networks("conv, group").disc.layers[0].normalisation == "none"


@pytest.mark.parametrize(
    ("change", "shape", "sentence"),
    [
        ({"family": "convs"}, (28, 28, 1), "did you mean 'conv'"),
        ({"activation": "swish"}, (28, 28, 1), "choose one of relu, leaky_relu"),
        ({"resampling": "cubic"}, (28, 28, 1), "strided, folded, filtered, nearest, bilinear"),
        ({"gen_normalisation": "spectral"}, (28, 28, 1), "choose one of none, pixel, group"),
        ({"disc_normalisation": "batch"}, (28, 28, 1), "none, pixel, group, spectral"),
        ({"kernel": 7}, (28, 28, 1), "choose 3, 4 or 5"),
        ({"gen_width": 0}, (28, 28, 1), "gen_width is 0.* 1 or more"),
        ({"family": "mlp"}, (28, 28, 1), "gen_depth is 0.*'mlp' needs 1 or more"),
        ({"family": "residual", "gen_depth": 1}, (28, 28, 1), "disc_depth is 0"),
        ({"latent": 0}, (28, 28, 1), "latent is 0"),
        ({"family": "mlp", **DEEP, "attention": True}, (28, 28, 1), "no place for attention"),
        ({}, (7, 28, 1), "7x28"),
        ({}, (28, 257, 1), "8 to 256"),
        ({}, (28, 28, 2), "1, 3 or 4 channels"),
    ],
)
def test_impossible_choices_are_one_sentence(change, shape, sentence):
    with pytest.raises(MulliganError, match=sentence) as error:
        build(Architecture(**change), shape, 0, jax.random.key(0))
    assert "\n" not in str(error.value)


def test_negative_classes():
    with pytest.raises(MulliganError, match="classes is -1"):
        build(Architecture(), (28, 28, 1), -1, jax.random.key(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_networks_start_at_a_sane_scale(family):
    """Neither saturated nor flat, even where deep; the tanh of a standard normal has deviation 0.63."""
    architecture = Architecture(family, gen_width=8, disc_width=8, gen_depth=2, disc_depth=2, kernel=3)
    both = build(architecture, (8, 8, 3), 0, jax.random.key(0))
    rng = np.random.default_rng(0)
    z, x = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in ((64, 64), (64, 8, 8, 3)))
    fake, logits = play(both, z, x, None)
    assert 0.3 < float(jnp.std(fake)) < 0.8
    assert 0.02 < float(jnp.std(logits)) < 3


def test_normalisations_are_all_allowed_somewhere():
    for name in NORMALISATIONS:
        count(Architecture(disc_normalisation=name))
