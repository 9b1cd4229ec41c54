"""Keras models as networks: the same numbers as the models themselves, whatever their layers and layouts."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="Keras is not installed")

import models_of_keras as models  # noqa: E402

from mulligan.errors import MulliganError, UsageError  # noqa: E402
from mulligan.game.penalties import r1r2, r1r2_piecewise  # noqa: E402
from mulligan.networks import keras as networks  # noqa: E402
from mulligan.networks import keras_models as found  # noqa: E402
from mulligan.networks.architecture import build  # noqa: E402
from mulligan.networks.keras_files import run_file  # noqa: E402
from mulligan.networks.parameters import named_parameters  # noqa: E402
from mulligan.networks.piecewise import is_piecewise_linear, lifted  # noqa: E402
from mulligan.recipe import Recipe  # noqa: E402

layers = keras.layers
KEY = jax.random.key(0)
SHAPE = (8, 8, 1)


@pytest.fixture(autouse=True)
def drawn_alike():
    """Keras draws the models' weights from a generator of its own."""
    keras.utils.set_random_seed(0)


def built(generator, discriminator, shape=SHAPE, latent=None):
    architecture = found.adopt(generator, discriminator, latent)
    return architecture, build(architecture, shape, 0, KEY)


@jax.jit
def said(network, x):
    """What a network makes of this: one program, not one for each operation."""
    return network(x)


def latents(n=6, width=5):
    return jnp.asarray(np.random.default_rng(0).standard_normal((n, width), np.float32))


def test_the_articles_classes_become_networks():
    gen, disc = models.Generator(), models.Discriminator()
    architecture, (ours, judge) = built(gen, disc, (28, 28, 1))
    assert architecture.latent == 64
    z = latents(width=64)
    np.testing.assert_allclose(ours(z), 2 * np.reshape(gen(z), (-1, 28, 28, 1)) - 1, atol=1e-6)
    np.testing.assert_allclose(jax.nn.sigmoid(judge(ours(z))), np.ravel(disc(gen(z))), atol=1e-6)
    assert list(named_parameters(ours)) == [
        f"weights.{number:03d}_{name}" for number, name in enumerate(["kernel", "bias"] * 3)
    ]
    notes = found.pair(architecture, (28, 28, 1)).notes
    assert notes[0] == "the generator gives images of 784 in [0, 1]"
    assert "sigmoid: it is trained on what comes before it" in notes[1]
    assert is_piecewise_linear(judge)


def test_a_sigmoid_stays_in_the_callers_model():
    disc = models.Discriminator()
    _, (ours, judge) = built(models.Generator(), disc, (28, 28, 1))
    logits = np.asarray(judge(50 * ours(latents(width=64))))
    assert disc.third.activation is keras.activations.sigmoid
    assert np.abs(logits).max() > 1
    assert float(disc(np.zeros((1, 784)))[0, 0]) == 0.5


class Wrapped(keras.Model):
    """A probability that no layer's activation makes."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs):
        return 1 / (1 + keras.ops.exp(-self.dense(inputs)))


def test_other_probabilities_are_turned_into_their_odds():
    disc = Wrapped()
    architecture, (gen, judge) = built(models.small_generator(), disc)
    x = gen(latents())
    expected = np.ravel(disc.dense((x.reshape(6, 64) + 1) / 2))
    np.testing.assert_allclose(judge(x), expected, atol=1e-4)
    assert "trained on their odds" in found.pair(architecture, SHAPE).notes[1]


@pytest.fixture(scope="module")
def conv():
    keras.utils.set_random_seed(0)  # it is made before what stands ready for each test
    gen, disc = models.conv_generator(), models.conv_discriminator()
    return gen, disc, *built(gen, disc)


@pytest.mark.slow
def test_convolutions_and_batch_statistics_are_the_models_own(conv):
    gen, disc, _, (ours, judge) = conv
    z = latents(40)
    x = said(ours, z)
    np.testing.assert_allclose(x, gen(z, training=True), atol=1e-5)
    np.testing.assert_allclose(said(networks.inference_mode(judge), x), np.ravel(disc(x, training=False)), atol=1e-5)


def test_dropout_drops_by_what_it_is_given_and_not_at_the_end(conv):
    *_, (ours, judge) = conv
    x, other = said(ours, latents(4)), said(ours, latents(5))[1:]
    np.testing.assert_array_equal(said(judge, x), said(judge, x))
    doubled = said(judge, jnp.concatenate([x, x]))
    assert not np.allclose(doubled[:4], doubled[4:])  # each its own mask
    assert not np.allclose(said(judge, x)[:3], said(judge, jnp.concatenate([x[:3], other[:1]]))[:3])
    settled = networks.inference_mode(judge)
    np.testing.assert_allclose(said(settled, jnp.concatenate([x, x]))[:4], said(settled, x), atol=1e-6)


def total(penalty, real, fake):
    def of(disc):
        real_logits, fake_logits, value, _ = penalty(disc, None, real, fake, jax.random.key(0))
        return jnp.sum(jnp.sin(real_logits)) + jnp.sum(fake_logits**2) + 3 * value

    return jax.jit(jax.value_and_grad(of))


@pytest.mark.slow
@pytest.mark.parametrize("with_bias_at_zero", [True, False])
def test_the_cheap_penalty_of_a_model_is_the_dear_one(conv, with_bias_at_zero):
    *_, (ours, judge) = conv
    assert is_piecewise_linear(judge)
    if not with_bias_at_zero:
        judge = jax.tree.map(lambda leaf: leaf + 0.1, judge)
    real = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (6, *SHAPE)), jnp.float32)
    value, gradient = total(r1r2, real, ours(latents()))(judge)
    cheap, slope = total(r1r2_piecewise(lifted), real, ours(latents()))(judge)
    np.testing.assert_allclose(cheap, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), slope, gradient)


@pytest.mark.parametrize("layer", [layers.BatchNormalization(), layers.Activation("gelu"), layers.MaxPooling1D()])
def test_what_is_not_linear_in_pieces_is_not_taken_for_it(layer):
    inner = [layers.Reshape((16, 1)), layer, layers.Flatten()]
    disc = keras.Sequential([keras.Input((64,)), layers.Dense(16), *inner, layers.Dense(1)])
    _, (_, judge) = built(models.small_generator(), disc)
    assert not is_piecewise_linear(judge)


def test_settling_takes_the_statistics_of_the_samples_and_hands_them_back(conv):
    gen, _, architecture, _ = conv
    ours = build(architecture, SHAPE, 0, KEY).gen
    z = latents(300)
    settled = networks.with_batch_statistics(ours, z)
    first = np.asarray(z @ ours.weights["000_kernel"])
    np.testing.assert_allclose(settled.non_trainable["000_moving_mean"], first.mean(0), atol=1e-4)
    np.testing.assert_allclose(settled.non_trainable["001_moving_variance"], first.var(0), rtol=1e-3)
    networks.write_back(settled)
    np.testing.assert_allclose(gen(z[:7], training=False), said(settled, z[:7]), atol=1e-5)
    assert np.ptp(said(settled, z)[0] - said(settled, z[:1])[0]) < 1e-5  # no batch statistics any more


def test_spectral_normalisation_bounds_the_slope_and_stays_in_the_model():
    disc = keras.Sequential([keras.Input((64,)), layers.SpectralNormalization(layers.Dense(1, use_bias=False))])
    disc.layers[0].layer.kernel.assign(np.random.default_rng(0).standard_normal((64, 1)) * 5)
    _, (gen, judge) = built(models.small_generator(), disc)
    slope = jax.jit(jax.grad(lambda x: judge(x)[0]))(gen(latents(1)))
    np.testing.assert_allclose(jnp.linalg.norm(slope), 0.5, rtol=1e-4)  # pixels span 2, the model's numbers 1
    networks.write_back(networks.with_batch_statistics(judge, gen(latents(50))))
    assert float(np.linalg.norm(disc.layers[0].layer.kernel)) == pytest.approx(1, rel=1e-4)


LAYOUTS = {
    "rows and columns": ((8, 8), (8, 8, 1), "tanh", "8x8 in [-1, 1]"),
    "channels first": ((3, 8, 10), (8, 10, 3), "sigmoid", "3x8x10 in [0, 1]"),
    "flat colour": ((240,), (8, 10, 3), "tanh", "240 in [-1, 1]"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_and_ranges_are_recognised(name):
    raw, shape, end, words = LAYOUTS[name]
    units = int(np.prod(raw))
    gen = keras.Sequential([keras.Input((5,)), layers.Dense(units, end), layers.Reshape(raw)])
    disc = keras.Sequential([keras.Input(raw), layers.Flatten(), layers.Dense(1)])
    architecture, (ours, judge) = built(gen, disc, shape)
    assert words in found.pair(architecture, shape).notes[0]
    z = latents()
    given = np.asarray(gen(z)) * (2 if end == "sigmoid" else 1) - (1 if end == "sigmoid" else 0)
    expected = given.transpose(0, 2, 3, 1) if name == "channels first" else given.reshape(-1, *shape)
    np.testing.assert_allclose(ours(z), expected, atol=1e-6)
    np.testing.assert_allclose(judge(ours(z)), np.ravel(disc(gen(z))), atol=1e-5)


def test_each_may_have_a_layout_of_its_own():
    disc = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1)])
    gen = models.small_generator()
    _, (ours, judge) = built(gen, disc)
    np.testing.assert_allclose(
        judge(ours(latents())), np.ravel(disc(np.reshape(gen(latents()), (-1, 8, 8, 1)))), atol=1e-6
    )


def test_a_configuration_rebuilds_the_networks_in_another_process(conv, monkeypatch):
    _, _, architecture, (ours, judge) = conv
    monkeypatch.setattr(found, "_GIVEN", {})
    monkeypatch.setattr(found, "_PAIRS", {})
    known = Recipe.from_json(Recipe(architecture=architecture).to_json()).architecture
    again = build(known, SHAPE, 0, KEY)
    assert list(named_parameters(again)) == list(named_parameters((ours, judge))) or again.gen.weights.keys()
    same = type(again.gen)(ours.weights, ours.non_trainable, again.gen.model, training=True)
    np.testing.assert_allclose(same(latents()), ours(latents()), atol=1e-6)


def test_classes_of_ones_own_are_wanted_again_in_another_process(monkeypatch):
    architecture = found.adopt(models.Generator(), models.Discriminator())
    monkeypatch.setattr(found, "_GIVEN", {})
    monkeypatch.setattr(found, "_PAIRS", {})
    with pytest.raises(MulliganError, match="a class of your own, Discriminator: give the models again"):
        build(architecture, (28, 28, 1), 0, KEY)


class TwoHeads(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.other = layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        return self.one(inputs), self.other(inputs)


def no_weights():
    return keras.Sequential([keras.Input((5,)), layers.Reshape((5,))])


@pytest.mark.parametrize(
    ("generator", "discriminator", "shape", "sentence"),
    [
        (models.small_generator, lambda: models.small_discriminator(2), SHAPE, "gives 2 numbers an image: end it in"),
        (models.small_generator, TwoHeads, SHAPE, "the discriminator gives 2 outputs: it must give one"),
        (
            models.small_generator,
            models.Discriminator,
            (9, 9, 1),
            "the generator gives images of 64, and the data set has 9x9x1: give both the same size",
        ),
        (
            models.small_generator,
            lambda: keras.Sequential([keras.Input((63,)), layers.Dense(1)]),
            SHAPE,
            "the discriminator takes images of 63, and the data set has 8x8x1",
        ),
        (
            models.small_generator,
            lambda: keras.Sequential([keras.Input((64,)), layers.Dense(1, trainable=False)]),
            SHAPE,
            "the discriminator has no weights to train",
        ),
    ],
)
def test_models_that_cannot_play_are_told_why(generator, discriminator, shape, sentence):
    with pytest.raises(MulliganError, match=sentence):
        built(generator(), discriminator(), shape)


class Picky(keras.Model):
    """Takes images of one kind only, and says so when it is too late."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3)

    def call(self, inputs):
        return layers.Flatten()(self.conv(inputs))


def test_a_discriminator_that_cannot_take_what_the_generator_gives():
    with pytest.raises(MulliganError, match=r"the discriminator cannot take the generator's images, 64: "):
        built(models.small_generator(), Picky())


def test_one_model_alone_or_something_else():
    with pytest.raises(UsageError, match="come in pairs"):
        found.adopt(models.small_generator(), None)
    with pytest.raises(MulliganError, match=r"the generator is a int: give a keras\.Model"):
        found.adopt(3, models.small_discriminator())
    with pytest.raises(UsageError, match="there is no file nowhere"):
        found.adopt("nowhere.keras", models.small_discriminator())


def test_files_are_models_but_code_in_them_is_not_run(tmp_path):
    models.small_generator().save(tmp_path / "gen.keras")
    models.small_discriminator().save(tmp_path / "disc.keras")
    _, (ours, _) = built(tmp_path / "gen.keras", str(tmp_path / "disc.keras"))
    assert ours(latents()).shape == (6, 8, 8, 1)

    code = keras.Sequential([keras.Input((5,)), layers.Lambda(lambda x: x * 2), layers.Dense(64)])
    code.save(tmp_path / "code.keras")
    with pytest.raises(MulliganError, match="holds a Lambda layer, which is code"):
        found.adopt(tmp_path / "code.keras", models.small_discriminator())
    (tmp_path / "torn.keras").write_bytes((tmp_path / "gen.keras").read_bytes()[:500])
    with pytest.raises(MulliganError, match=r"torn\.keras cannot be opened by Keras"):
        found.adopt(tmp_path / "torn.keras", models.small_discriminator())


def test_labels_are_refused():
    architecture, (ours, _) = built(models.small_generator(), models.small_discriminator())
    with pytest.raises(MulliganError, match="without classes so far"):
        build(architecture, SHAPE, 3, KEY)
    with pytest.raises(MulliganError, match="without classes so far"):
        ours(latents(), jnp.zeros(6, jnp.int32))


def test_keras_on_another_backend_is_one_sentence(monkeypatch):
    backend = SimpleNamespace(backend=lambda: "tensorflow")
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(backend=backend))
    with pytest.raises(MulliganError, match=r"Keras runs on tensorflow here.*KERAS_BACKEND=jax before"):
        found.import_keras_on_jax()


def test_a_file_of_networks_is_run(tmp_path):
    file = tmp_path / "my_models.py"
    file.write_text("import keras\ndef generator(): return keras.Sequential([keras.layers.Dense(64)])\n")
    with pytest.raises(UsageError, match=r"my_models\.py has no function discriminator\(\)"):
        run_file(file)
    file.write_text(file.read_text() + "def discriminator(): return 1 / 0\n")
    with pytest.raises(MulliganError, match="fails with ZeroDivisionError"):
        run_file(file)
    with pytest.raises(UsageError, match="there is no file"):
        run_file(tmp_path / "absent.py")


@pytest.mark.slow
def test_a_run_trains_resumes_and_ends_in_the_callers_models(tmp_path):
    import mulligan

    digits = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), np.uint8)
    gen, disc = models.conv_generator(), models.conv_discriminator()
    before = [np.array(value) for value in (*gen.get_weights(), *disc.get_weights())]
    made = mulligan.fit(digits, generator=gen, discriminator=disc, images="3k", out=tmp_path / "run")
    after = [*gen.get_weights(), *disc.get_weights()]
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    z = latents(20)
    np.testing.assert_allclose(gen(z, training=False), made.network(z), atol=1e-5)
    np.testing.assert_array_equal(mulligan.load(tmp_path / "run").sample(9), made.sample(9))
