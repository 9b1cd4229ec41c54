"""Keras models of the caller's own: opened, tried, and kept at hand for the networks that are made of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError, UsageError, first_line, optional_import
from mulligan.networks.image_layout import probe_layout
from mulligan.networks.keras import (
    KerasDiscriminator,
    KerasGenerator,
    Model,
    layers_of,
    network_of,
    training_behaviour,
)
from mulligan.recipe import Architecture

ImageShape = tuple[int, int, int]
FAMILY = "keras"
PROBES = 64  # latents that a model is tried with
EXTREME = 100.0  # times a standard normal: images far outside of any range, which tell a probability from a logit


class Pair(NamedTuple):
    """Both models of one architecture, and what was noticed about them, in sentences."""

    gen: Model
    disc: Model
    notes: tuple[str, ...]


_PAIRS: dict[tuple[str, ImageShape], Pair] = {}  # of this process, by the architecture's document and the images' shape
_GIVEN: dict[str, tuple[Any, Any]] = {}  # the caller's own model objects, by the architecture's document


def import_keras(wanting: str) -> Any:
    """Keras; on JAX, unless the program has chosen otherwise.

    Args:
      wanting: what needs it, for the sentence where it is missing.

    Raises:
      MulliganError: it is not installed.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    with optional_import("Keras", wanting, "keras"):
        import keras
    return keras


def import_keras_on_jax() -> Any:
    """Keras with JAX as its backend, to train in.

    Raises:
      MulliganError: it is not installed, or the program has imported it with another backend.
    """
    keras = import_keras("a model of your own")
    backend = keras.backend.backend()
    if backend != "jax":
        raise MulliganError(
            f"Keras runs on {backend} here, and training needs it on JAX: set the environment variable "
            "KERAS_BACKEND=jax before Keras or tf.keras is imported; the models stay as they are."
        )
    return keras


def adopt(generator: Any, discriminator: Any, latent: int | None = None) -> Architecture:
    """The architecture of two Keras models, given as objects or as paths of `.keras` files.

    Args:
      generator: from latents to images.
      discriminator: from images to one number each.
      latent: dimension of the latents, where the generator does not say; 64 if None.

    Raises:
      MulliganError: Keras is missing or on another backend, or a file or object is no Keras model.
      UsageError: only one of the two is given.
    """
    if generator is None or discriminator is None:
        raise UsageError("models of your own come in pairs: give both a generator and a discriminator.")
    keras = import_keras_on_jax()
    gen, disc = (_opened(keras, model, role) for model, role in ((generator, "generator"), (discriminator, "disc")))
    takes = getattr(gen, "input_shape", None) if gen.built else None
    own = takes[-1] if isinstance(takes, tuple) and len(takes) == 2 and isinstance(takes[-1], int) else None
    width = own or latent or Architecture().latent
    document = json.dumps({"gen": _config(gen), "disc": _config(disc)}, sort_keys=True)
    _GIVEN[document] = (gen, disc)
    # Models that were tried are kept by their configuration; these objects may have other weights.
    for known in [key for key in _PAIRS if key[0] == document]:
        del _PAIRS[known]
    return Architecture(family=FAMILY, latent=width, models=document)


def pair(architecture: Architecture, shape: ImageShape) -> Pair:
    """The models of an architecture, built and tried on images of this shape.

    Raises:
      MulliganError: they cannot be rebuilt without the caller's objects, or do not fit each other or the images.
    """
    key = (architecture.models, shape)
    if key not in _PAIRS:
        keras = import_keras_on_jax()
        with jax.ensure_compile_time_eval():  # also where this is called while a program is traced
            gen, disc = _GIVEN.get(architecture.models) or _rebuilt(keras, architecture.models)
            _PAIRS[key] = _tried(keras, gen, disc, architecture.latent, shape)
    return _PAIRS[key]


def build(architecture: Architecture, shape: ImageShape, classes: int) -> tuple[KerasGenerator, KerasDiscriminator]:
    """Both networks, with the weights that the models have now.

    Raises:
      MulliganError: as `pair`; or there are classes.
    """
    check(architecture, classes)
    models = pair(architecture, shape)
    return network_of(KerasGenerator, models.gen), network_of(KerasDiscriminator, models.disc)


def check(architecture: Architecture, classes: int) -> None:
    """Refuses what models of one's own cannot be trained with.

    Raises:
      MulliganError: there are classes, or no models.
    """
    if classes:
        raise MulliganError("models of your own are trained without classes so far: leave the labels out.")
    if not architecture.models:
        raise MulliganError("the family 'keras' is for models of your own: give a generator and a discriminator.")


def _opened(keras: Any, model: Any, role: str) -> Any:
    """A model object, or what a `.keras` file holds; code in a file is never run."""
    if isinstance(model, keras.Model):
        return model
    if not isinstance(model, str | os.PathLike):
        raise MulliganError(f"the {role} is a {type(model).__name__}: give a keras.Model or a .keras file.")
    path = Path(model)
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the {role} as a keras.Model or a .keras file.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        if "ambda" in str(error):
            raise MulliganError(
                f"{path} holds a Lambda layer, which is code, and code in a file is not run: use layers of Keras, "
                "or give the model from Python."
            ) from error
        raise MulliganError(f"{path} cannot be opened by Keras: {first_line(error)}") from error


def _config(model: Any) -> Any:
    """What rebuilds the model: its configuration, or for a class of the caller's own, only what it is called."""
    import keras

    if isinstance(model, keras.Sequential) or model.__class__ is keras.Model or "Functional" in type(model).__name__:
        if not model.built:
            return {"sequential": json.loads(model.to_json()), "unbuilt": True}
        return json.loads(model.to_json())
    return {"class": type(model).__name__}


def classes_of(architecture: Architecture) -> list[str]:
    """Names of the caller's own classes that its models are of: those are never rebuilt from a configuration."""
    models = json.loads(architecture.models or "{}").values()
    return [config["class"] for config in models if "class" in config]


def _rebuilt(keras: Any, document: str) -> tuple[Any, Any]:
    """Models from a configuration.

    Raises:
      MulliganError: it is none that `_config` gave, they are of classes that only the caller's program knows, or hold
        code.
    """
    try:
        configurations = json.loads(document)
    except (ValueError, RecursionError):
        configurations = {}
    whole = isinstance(configurations, dict) and set(configurations) == {"gen", "disc"}
    if not whole or not all(isinstance(config, dict) for config in configurations.values()):
        raise MulliganError(
            "the recipe's architecture.models holds no configurations of a generator and a discriminator, as JSON: "
            "give the models with generator= and discriminator= in Python or --networks FILE."
        )
    models: dict[str, Any] = {}
    for role, config in configurations.items():
        if "class" in config:
            raise MulliganError(
                f"this run trains a class of your own, {config['class']}: give the models again, with "
                "generator= and discriminator= in Python or --networks FILE on the command line."
            )
        try:
            text = json.dumps(config.get("sequential", config))
            models[role] = keras.models.model_from_json(text)
        except Exception as error:
            raise MulliganError(f"the {role} of the recipe cannot be rebuilt by Keras: {first_line(error)}") from error
    return models["gen"], models["disc"]


# --- trying ------------------------------------------------------------------------------------------


def _tried(keras: Any, gen: Any, disc: Any, latent: int, shape: ImageShape) -> Pair:
    """Both models called once, to build them and to learn how they take and give images."""
    latents = np.random.default_rng(0).standard_normal((PROBES, latent), np.float32)
    images = _first_call(gen, latents, "generator", f"latents of {latent} numbers")
    layout = probe_layout(np.asarray(images), shape)
    # The discriminator takes images as it says, or else as the generator gives them.
    takes, wanted = layout, getattr(disc, "input_shape", None) if disc.built else None
    if isinstance(wanted, tuple) and all(size is not None for size in wanted[1:]):
        takes = layout.laid_out(tuple(wanted[1:]), shape)
    fakes = np.asarray(takes.raw(layout.pixels(jnp.asarray(images))))
    size = "x".join(map(str, fakes.shape[1:]))
    verdicts = _first_call(disc, fakes, "discriminator", f"the generator's images, {size}")
    if np.size(verdicts) != PROBES:
        raise MulliganError(
            f"the discriminator gives {np.size(verdicts) // PROBES} numbers an image: end it in a layer of one unit."
        )
    for role, model in (("generator", gen), ("discriminator", disc)):
        if not model.trainable_variables:
            raise MulliganError(f"the {role} has no weights to train: give it layers that learn.")
    # A sigmoid stays within [0, 1] for any images; logits seldom do for images far out of range.
    extremes = EXTREME * np.random.default_rng(1).standard_normal(fakes.shape, np.float32)
    ended, note = _without_sigmoid(keras, Model(disc, takes), np.concatenate([fakes, extremes]))
    return Pair(Model(gen, layout), ended, (layout.sentence, *([note] if note else [])))


def _first_call(model: Any, x: np.ndarray, role: str, what: str) -> Any:
    """The model's outcome, one array."""
    try:
        outcome = model(x, training=False)
    except Exception as error:  # whatever a layer raises that is given something else than it expects
        raise MulliganError(f"the {role} cannot take {what}: {first_line(error)}") from error
    if not hasattr(outcome, "shape"):
        raise MulliganError(f"the {role} gives {len(outcome)} outputs: it must give one.")
    return outcome


def _without_sigmoid(keras: Any, model: Model, inputs: np.ndarray) -> tuple[Model, str | None]:
    """The discriminator as logits, and what had to be done for that; a sigmoid stays in [0, 1] for all `inputs`."""
    verdicts = np.asarray(model.keras(inputs, training=False))
    sigmoid = keras.activations.sigmoid
    if verdicts.min() < 0 or verdicts.max() > 1:
        return model, None
    ends = [one for one in layers_of(model.keras) if getattr(one, "activation", None) is sigmoid]
    for end in reversed(ends):
        bare = Model(model.keras, model.layout, end)
        with training_behaviour(bare):
            logits = np.asarray(model.keras(inputs, training=False))
        if np.allclose(jax.nn.sigmoid(logits), verdicts, atol=1e-5):
            return bare, "the discriminator ends in a sigmoid: it is trained on what comes before it"
    if ends or np.ptp(verdicts) == 0:
        return model, None
    return Model(model.keras, model.layout, odds=True), "the discriminator gives probabilities: trained on their odds"
