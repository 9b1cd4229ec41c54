"""Keras models as networks: any Keras 3 generator and discriminator, on JAX, played by the same games as all others.

A network's leaves are the variables of the model; the model itself, whose Python code says what is done with them, is
static. How it takes and gives images (flat, channels first, in [0, 1]) is found by trying it.

Layers that behave differently in training do so while the game is on: batch normalisation takes the statistics of the
batch, dropout draws anew for each batch (from the bits of its input, so that a network stays a pure function),
spectral normalisation is computed from the weights as they are. At the end `settled` makes the moving statistics of
batch normalisation from samples.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.errors import MulliganError, UsageError
from mulligan.networks.convention import Convention, probe_convention
from mulligan.networks.mixture import Mixture
from mulligan.networks.tracing import with_own_convolutions
from mulligan.recipe import Architecture
from mulligan.types import Key, Logits, Pixels, Pytree

ImageShape = tuple[int, int, int]
FAMILY = "keras"
POWER_ITERATIONS = 10  # of spectral normalisation in a call; as in `networks.normalisation`
PROBES = 64  # latents that a model is tried with
SETTLING = 100  # samples a batch, of which statistics are taken


@dataclass(frozen=True, eq=False)
class Model:
    """A built Keras model and how it is to be called; equal only to itself.

    Attributes:
      keras: the `keras.Model`.
      convention: of the images that it gives or takes.
      end: the layer whose activation is left out, a discriminator's last sigmoid; or None.
      odds: whether the outcome is a probability, to be turned into logits by its odds.
    """

    keras: Any
    convention: Convention
    end: Any = None
    odds: bool = False


class KerasNetwork(eqx.Module):
    """What generator and discriminator share: `weights` are trained, `kept` are not; both by number and name."""

    weights: dict[str, Array]
    kept: dict[str, Array]
    model: Model = eqx.field(static=True)
    training: bool = eqx.field(static=True)

    def run(self, x: Array) -> Array:
        """The model's own outcome."""
        return with_own_convolutions(_stateless(self.model, self.training))(self.weights, self.kept, x)


class KerasGenerator(KerasNetwork):
    """Latents `[n, d]` to pixels `[n, h, w, c]` in [-1, 1]."""

    def __call__(self, z: Float[Array, "n d"], labels: Any = None, *, key: Key | None = None) -> Pixels:
        _refuse_labels(labels)
        return self.model.convention.pixels(self.run(z))


class KerasDiscriminator(KerasNetwork):
    """Pixels `[n, h, w, c]` to logits `[n]`, higher for real."""

    def __call__(self, x: Pixels, labels: Any = None, *, key: Key | None = None) -> Logits:
        _refuse_labels(labels)
        return self._logits(self.run(self.model.convention.raw(x)))

    def as_written(self, x: Pixels) -> Logits:
        """The same, with the model's own convolutions: for those who go through its operations one by one."""
        run = _stateless(self.model, self.training)
        return self._logits(run(self.weights, self.kept, self.model.convention.raw(x)))

    def _logits(self, outcome: Array) -> Logits:
        """One number an image, from the model's outcome."""
        outcome = outcome.reshape(outcome.shape[0])
        if not self.model.odds:
            return outcome
        likely = jnp.clip(outcome, 1e-7, 1 - 1e-7)
        return jnp.log(likely) - jnp.log1p(-likely)


class Pair(NamedTuple):
    """Both models of one architecture, and what was noticed about them, in sentences."""

    gen: Model
    disc: Model
    notes: tuple[str, ...]


_PAIRS: dict[tuple[str, ImageShape], Pair] = {}  # of this process, by the architecture's document and the images' shape
_GIVEN: dict[str, tuple[Any, Any]] = {}  # the caller's own model objects, by the architecture's document


def import_keras() -> Any:
    """Keras with JAX as its backend.

    Raises:
      MulliganError: it is not installed, or the program has imported it with another backend.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError as error:
        raise MulliganError("models of your own need Keras: pip install 'mulligan[keras]'.") from error
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
    keras = import_keras()
    gen, disc = (_opened(keras, model, role) for model, role in ((generator, "generator"), (discriminator, "disc")))
    width = _latent(gen) or latent or Architecture().latent
    document = json.dumps({"gen": _config(gen), "disc": _config(disc)}, sort_keys=True)
    _GIVEN[document] = (gen, disc)
    for known in [key for key in _PAIRS if key[0] == document]:
        del _PAIRS[known]  # other objects of the same configuration
    return Architecture(family=FAMILY, latent=width, models=document)


def run_file(path: Path) -> tuple[Any, Any]:
    """The models that the functions `generator()` and `discriminator()` of a Python file make; the file is run.

    Raises:
      UsageError: no such file, or it lacks one of the two.
      MulliganError: Keras is not installed, or the file fails.
    """
    import_keras()  # before the file does so with another backend
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give a Python file with generator() and discriminator().")
    try:
        scope = runpy.run_path(str(path))
        for role in ("generator", "discriminator"):
            if not callable(scope.get(role)):
                raise UsageError(f"{path} has no function {role}(): it needs generator() and discriminator().")
        return scope["generator"](), scope["discriminator"]()
    except UsageError:
        raise
    except Exception as error:  # whatever the person's own code raises
        raise MulliganError(f"{path} fails with {type(error).__name__}: {error}") from error


def pair(architecture: Architecture, shape: ImageShape) -> Pair:
    """The models of an architecture, built and tried on images of this shape.

    Raises:
      MulliganError: they cannot be rebuilt without the caller's objects, or do not fit each other or the images.
    """
    key = (architecture.models, shape)
    if key not in _PAIRS:
        keras = import_keras()
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
    return _network(KerasGenerator, models.gen), _network(KerasDiscriminator, models.disc)


def check(architecture: Architecture, classes: int) -> None:
    """Raises `MulliganError` where models of one's own cannot be."""
    if classes:
        raise MulliganError("models of your own are trained without classes so far: leave the labels out.")
    if not architecture.models:
        raise MulliganError("the family 'keras' is for models of your own: give a generator and a discriminator.")


def hand_back(network: KerasNetwork) -> None:
    """Puts a network's numbers into the caller's own model object."""
    model = network.model.keras
    for variable, value in zip(model.trainable_variables, network.weights.values(), strict=True):
        variable.assign(value)
    for variable, value in zip(_floats(model.non_trainable_variables), network.kept.values(), strict=True):
        variable.assign(value)


def settled(network: Pytree, inputs: Float[Array, "n ..."]) -> Pytree:
    """A network of a Keras model as it is to be used: moving statistics of `inputs`, normalised weights, no dropout.

    Args:
      network: any; those that are not of Keras are returned as they are.
      inputs: a generator's latents, or a discriminator's pixels; whole batches of 100 of them are used.
    """
    if isinstance(network, Mixture):
        return Mixture(tuple(settled(member, inputs) for member in network.members), network.weights)
    if not isinstance(network, KerasNetwork):
        return network
    x = inputs if isinstance(network, KerasGenerator) else network.model.convention.raw(inputs)
    size = min(SETTLING, len(x))
    batches = x[: len(x) // size * size].reshape(-1, size, *x.shape[1:])
    weights, kept = jax.jit(lambda network, batches: _settle(network, batches))(network, batches)
    return type(network)(weights, kept, network.model, training=False)


def in_use(network: Pytree) -> Pytree:
    """The same network with the layers' behaviour of inference; those not of Keras are returned as they are."""
    if isinstance(network, Mixture):
        return Mixture(tuple(in_use(member) for member in network.members), network.weights)
    if not isinstance(network, KerasNetwork):
        return network
    return type(network)(network.weights, network.kept, network.model, training=False)


# --- calling a model ----------------------------------------------------------------------------------


def _stateless(model: Model, training: bool) -> Callable[..., Array]:
    """`(weights, kept, x) -> outcome` of the model, a pure function."""

    def run(weights: dict[str, Array], kept: dict[str, Array], x: Array) -> Array:
        outcome, _ = _called(model, weights, kept, x, training)
        return outcome

    return run


def _called(
    model: Model, weights: dict[str, Array], kept: dict[str, Array], x: Array, training: bool
) -> tuple[Array, list[Array]]:
    """The outcome, and what the call left in every variable: trained ones first."""
    import keras

    variables = [*model.keras.trainable_variables, *model.keras.non_trainable_variables]
    fixed = iter(jax.lax.stop_gradient(value) for value in kept.values())
    values = list(weights.values())
    for number, variable in enumerate(model.keras.non_trainable_variables):
        values.append(next(fixed) if _is_float(variable) else _noise(x, variable, number))
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping) as scope, _as_in_a_game(model):
        outcome = model.keras(x, training=training)
        left = [scope.get_current_value(variable) for variable in variables]
    kept_or_new = [value if one is None else one for one, value in zip(left, values, strict=True)]
    return outcome, kept_or_new


@contextmanager
def _as_in_a_game(model: Model) -> Iterator[None]:
    """The model without its last sigmoid, and with spectral norms that a single call finds."""
    import keras

    norms = [one for one in _layers(model.keras) if isinstance(one, keras.layers.SpectralNormalization)]
    iterations = [norm.power_iterations for norm in norms]
    activation = model.end.activation if model.end is not None else None
    try:
        for norm in norms:
            norm.power_iterations = max(POWER_ITERATIONS, norm.power_iterations)
        if model.end is not None:
            model.end.activation = keras.activations.linear
        yield
    finally:
        for norm, count in zip(norms, iterations, strict=True):
            norm.power_iterations = count
        if model.end is not None:
            model.end.activation = activation


def _noise(x: Array, variable: Any, number: int) -> Array:
    """The state of a generator of random numbers, from the bits of what the model is given."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    words = jnp.stack([jnp.sum(bits, dtype=jnp.uint32), jnp.uint32(number)])
    return jnp.resize(words, variable.shape).astype(variable.dtype)


def _settle(network: KerasNetwork, batches: Float[Array, "k n ..."]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights and kept numbers after the statistics of all batches were taken."""
    import keras

    model = network.model
    trained = len(network.weights)
    norms = [one for one in _layers(model.keras) if isinstance(one, keras.layers.BatchNormalization)]
    places = {id(variable): place for place, variable in enumerate(_floats(model.keras.non_trainable_variables))}
    moments = [(places[id(norm.moving_mean)], places[id(norm.moving_variance)]) for norm in norms]

    def of_batch(x: Array) -> list[Array]:
        with _following_the_batch(norms):
            _, left = _called(model, network.weights, network.kept, x, training=True)
        floats = _floats(model.keras.non_trainable_variables, left[trained:])
        for mean, variance in moments:
            floats[variance] = floats[variance] + floats[mean] ** 2  # about zero, so that batches can be averaged
        return [*left[:trained], *floats]

    means = [jnp.mean(values, axis=0) for values in jax.lax.map(of_batch, batches)]
    weights, floats = means[:trained], means[trained:]
    for mean, variance in moments:
        floats[variance] = floats[variance] - floats[mean] ** 2
    return dict(zip(network.weights, weights, strict=True)), dict(zip(network.kept, floats, strict=True))


@contextmanager
def _following_the_batch(norms: list[Any]) -> Iterator[None]:
    """Batch normalisation whose moving statistics are those of the batch alone."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


# --- from models to networks --------------------------------------------------------------------------


def _network(kind: Any, model: Model) -> Any:
    weights = _numbered(model.keras.trainable_variables)
    kept = _numbered(_floats(model.keras.non_trainable_variables))
    return kind(weights, kept, model, training=True)


def _numbered(variables: list[Any]) -> dict[str, Array]:
    """Values by number and name; the names that Keras makes alone depend on what else the process has made."""
    return {f"{number:03d}_{one.name}": jnp.array(one.value) for number, one in enumerate(variables)}


def _is_float(variable: Any) -> bool:
    return np.issubdtype(np.dtype(variable.dtype), np.floating)


def _floats(variables: list[Any], values: list[Any] | None = None) -> list[Any]:
    """Those of the variables, or of values in their places, that hold numbers rather than the state of a dice."""
    return [one for variable, one in zip(variables, values or variables, strict=True) if _is_float(variable)]


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


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
        raise MulliganError(f"{path} cannot be opened by Keras: {str(error).splitlines()[0]}") from error


def _config(model: Any) -> Any:
    """What rebuilds the model: its configuration, or for a class of the caller's own, only what it is called."""
    import keras

    if isinstance(model, keras.Sequential) or model.__class__ is keras.Model or "Functional" in type(model).__name__:
        if not model.built:
            return {"sequential": json.loads(model.to_json()), "unbuilt": True}
        return json.loads(model.to_json())
    return {"class": type(model).__name__}


def _rebuilt(keras: Any, document: str) -> tuple[Any, Any]:
    """Models from a configuration.

    Raises:
      MulliganError: they are of classes that only the caller's program knows, or hold code.
    """
    models = []
    for role, config in json.loads(document).items():
        if "class" in config:
            raise MulliganError(
                f"this run trains a class of your own, {config['class']}: give the models again, with "
                "generator= and discriminator= in Python or --networks FILE."
            )
        try:
            text = json.dumps(config.get("sequential", config))
            models.append((role, keras.models.model_from_json(text)))
        except Exception as error:
            raise MulliganError(f"the {role} cannot be rebuilt: {str(error).splitlines()[0]}") from error
    named = dict(models)
    return named["gen"], named["disc"]


def _latent(gen: Any) -> int | None:
    """The generator's own latent dimension, where it says it."""
    shape = getattr(gen, "input_shape", None) if gen.built else None
    return shape[-1] if isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[-1], int) else None


# --- trying ------------------------------------------------------------------------------------------


def _tried(keras: Any, gen: Any, disc: Any, latent: int, shape: ImageShape) -> Pair:
    """Both models called once, to build them and to learn how they take and give images."""
    latents = np.random.default_rng(0).standard_normal((PROBES, latent), np.float32)
    images = _first_call(gen, latents, "generator", f"latents of {latent} numbers")
    convention = probe_convention(np.asarray(images), shape)
    takes = _input_convention(disc, convention, shape)
    fakes = np.asarray(takes.raw(convention.pixels(jnp.asarray(images))))
    verdicts = _first_call(disc, fakes, "discriminator", f"the generator's images, {_times(fakes.shape[1:])}")
    if np.size(verdicts) != PROBES:
        raise MulliganError(
            f"the discriminator gives {np.size(verdicts) // PROBES} numbers an image: its last layer must have one unit."
        )
    for role, model in (("generator", gen), ("discriminator", disc)):
        if not model.trainable_variables:
            raise MulliganError(f"the {role} has no weights to train: give it layers that learn.")
    ended, note = _without_sigmoid(keras, Model(disc, takes), fakes, np.asarray(verdicts))
    return Pair(Model(gen, convention), ended, (convention.sentence, *([note] if note else [])))


def _first_call(model: Any, x: np.ndarray, role: str, what: str) -> Any:
    """The model's outcome, one array."""
    try:
        outcome = model(x, training=False)
    except Exception as error:  # whatever a layer raises that is given something else than it expects
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MulliganError(f"the {role} cannot take {what}: {reason}") from error
    if not hasattr(outcome, "shape"):
        raise MulliganError(f"the {role} gives {len(outcome)} outputs: it must give one.")
    return outcome


def _input_convention(disc: Any, given: Convention, shape: ImageShape) -> Convention:
    """How the discriminator takes images: as it says, or else as the generator gives them."""
    wanted = getattr(disc, "input_shape", None) if disc.built else None
    if not isinstance(wanted, tuple) or any(size is None for size in wanted[1:]):
        return given
    return given.laid_out(tuple(wanted[1:]), shape)


def _without_sigmoid(keras: Any, model: Model, fakes: np.ndarray, verdicts: np.ndarray) -> tuple[Model, str | None]:
    """The discriminator as logits, and what had to be done for that."""
    sigmoid = keras.activations.sigmoid
    if verdicts.min() < 0 or verdicts.max() > 1:
        return model, None
    ends = [one for one in _layers(model.keras) if getattr(one, "activation", None) is sigmoid]
    for end in reversed(ends):
        bare = Model(model.keras, model.convention, end)
        with _as_in_a_game(bare):
            logits = np.asarray(model.keras(fakes, training=False))
        if np.allclose(1 / (1 + np.exp(-logits)), verdicts, atol=1e-5):
            return bare, "the discriminator ends in a sigmoid: it is trained on what comes before it"
    if ends or np.ptp(verdicts) == 0:
        return model, None
    return Model(
        model.keras, model.convention, odds=True
    ), "the discriminator gives probabilities: trained on their odds"


def _refuse_labels(labels: Any) -> None:
    if labels is not None:
        raise MulliganError("models of your own are trained without classes so far: leave the labels out.")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
