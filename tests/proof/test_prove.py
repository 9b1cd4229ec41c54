"""`prove` on digits and generators whose worth is known: honest, copying, collapsed and mislabelled ones."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from sklearn.datasets import load_digits

import mulligan
from mulligan import cli
from mulligan.errors import MulliganError
from mulligan.game.step import pixels
from mulligan.proof import classifier, prove
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

RECIPE = Recipe(architecture=Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=4))
NAMES = tuple(map(str, range(10)))
TRAIN, VALIDATION, TEST = 0, 2, 1


class Album(eqx.Module):
    """A generator that draws from a list of images, `[class, n, h, w, c]`."""

    images: Array

    def __call__(self, latents, labels):
        number = (jnp.abs(latents[:, 0]) * 1e4).astype(jnp.int32) % self.images.shape[1]
        return pixels(self.images[labels, number])


@pytest.fixture(scope="module")
def digits():
    """Digits in four parts: 10 a class to train on, to validate and test, and others that a generator may know."""
    images, labels = load_digits().images, load_digits().target
    images = np.kron(images, np.ones((1, 2, 2))).clip(0, 15.9)[..., None] * 16
    by_class = np.stack([images[labels == label][:170] for label in range(10)]).astype(np.uint8)
    return by_class[:, :10], by_class[:, 10:30], by_class[:, 30:80], by_class[:, 80:]


@pytest.fixture(scope="module")
def data(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    parts = digits[:3]
    codes = np.concatenate(
        [np.full(part[:, :, 0, 0, 0].size, code) for part, code in zip(parts, (0, 2, 1), strict=True)]
    )
    labels = np.concatenate([np.repeat(np.arange(10), part.shape[1]) for part in parts])
    images = np.concatenate([part.reshape(-1, 16, 16, 1) for part in parts])
    np.savez(path, images=images, labels=labels, split=codes)
    return path


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 300)
    monkeypatch.setattr(prove, "SYNTHETIC", (400, 400))


def album(images):
    return Generator(RECIPE, (16, 16, 1), NAMES, Album(jnp.asarray(images)))


@pytest.mark.slow
def test_a_generator_that_knows_more_digits_helps(digits, data):
    told = []
    found = mulligan.prove(album(digits[3]), str(data), listener=told.append)
    assert found["usefulness"]["verdict"] == "helps", found["sentence"]
    assert found["sentence"].startswith("Helps: ")
    assert "No sign of copying" in found["sentence"]
    assert (found["n_train"], found["n_test"], found["n_held_out"], found["n_synthetic"]) == (100, 500, 200, 400)
    assert [each["name"] for each in found["usefulness"]["classes"]] == list(NAMES)
    assert found["known"] is False
    shares = [event["share"] for event in told]
    assert shares == sorted(shares)
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
def test_one_that_copies_is_found_out(digits, data):
    found = mulligan.prove(album(digits[0]), str(data))
    assert "Copies: " in found["sentence"]
    assert found["copies"]["generated"] > 0.9
    assert found["attacks"]["nearest neighbour"]["low"] > 0.5
    assert "who was trained on" in found["sentence"]
    assert found["usefulness"]["verdict"] in ("no difference", "unclear")


@pytest.mark.slow
def test_one_that_mixes_up_two_classes_hurts_them(digits, data):
    mixed = digits[3].copy()
    mixed[[3, 8]] = mixed[[8, 3]]
    found = mulligan.prove(album(mixed), str(data))
    assert set(found["usefulness"]["harmed"]) == {"3", "8"}
    assert "It hurts the class " in found["sentence"]


@pytest.mark.slow
def test_one_that_draws_a_single_wrong_image_hurts(digits, data):
    collapsed = np.roll(digits[3][:, :1], 1, axis=0)
    found = mulligan.prove(album(collapsed), str(data))
    assert found["usefulness"]["replacement"]["high"] < 0
    assert found["usefulness"]["verdict"] != "helps"


def test_a_generator_without_classes_is_asked_for_copies_alone(digits, data):
    class Plain(eqx.Module):
        images: Array

        def __call__(self, latents, labels):
            number = (jnp.abs(latents[:, 0]) * 1e4).astype(jnp.int32) % len(self.images)
            return pixels(self.images[number])

    generator = Generator(RECIPE, (16, 16, 1), None, Plain(jnp.asarray(digits[0].reshape(-1, 16, 16, 1))))
    found = mulligan.prove(generator, str(data))
    assert found["usefulness"] is None
    assert found["sentence"].startswith("Copies: ")


def test_other_data_than_the_generators_is_a_sentence(digits, data):
    generator = dataclasses.replace(album(digits[3]), classes=("a", "b"))
    with pytest.raises(MulliganError, match="not those that the generator draws"):
        mulligan.prove(generator, str(data))
    with pytest.raises(MulliganError, match="at least 20 of each"):
        mulligan.prove(dataclasses.replace(album(digits[3]), classes=None), digits[2][:, :10].reshape(-1, 16, 16, 1))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A labelled run, kept very short."""
    out = tmp_path_factory.mktemp("runs") / "run"
    recipe = dataclasses.replace(RECIPE, batch=16)
    mulligan.fit(str(data), images=320, labels=True, recipe=recipe, out=out, experience="none")
    return out


@pytest.mark.slow
def test_a_run_keeps_its_proof_and_its_report_shows_it(run, data, capsys):
    before = (run / "report.html").read_text()
    assert "says whether these images help a classifier" in before
    cli.app(["prove", str(run), str(data)], standalone_mode=False)
    printed = capsys.readouterr()
    proof = json.loads((run / "proof.json").read_text())
    assert printed.out.splitlines()[0] == proof["sentence"]
    assert "training 15 classifiers" in printed.err
    assert proof["known"] is True
    assert set(proof["attacks"]) == {"nearest neighbour", "discriminator"}
    page = (run / "report.html").read_text()
    assert proof["sentence"].split(".")[0].replace("'", "&#x27;") in page
    assert "Trained on both" in page


@pytest.mark.slow
def test_a_run_is_proven_on_its_own_data_alone(run):
    with pytest.raises(MulliganError, match="holds other images than"):
        mulligan.prove(run, "digits")


@pytest.mark.slow
def test_a_discriminator_that_knows_its_images_is_found_out(run, data, monkeypatch):
    subject = prove.read_subject(mulligan.load(run), str(data))
    members = jnp.asarray(subject.task.train.images)

    def knowing(images, labels):
        return jax.vmap(lambda image: (jnp.abs(image - pixels(members)) < 1e-3).all((1, 2, 3)).any())(images).astype(
            jnp.float32
        )

    monkeypatch.setattr(prove, "_discriminator", lambda subject: knowing)
    assert prove.discriminator_attack(subject).value == 1
