"""Keras models as networks: any Keras 3 generator and discriminator, on JAX, played by the same games as all others.

A network's leaves are the variables of the model; the model itself, whose Python code says what is done with them, is
static. `networks.keras_models` finds out how it takes and gives images.

Layers that behave differently in training do so while the game is on: batch normalisation takes the statistics of the
batch, dropout draws anew for each batch (from the bits of its input, so that a network stays a pure function),
spectral normalisation is computed from the weights as they are. At the end `with_batch_statistics` makes the moving
statistics of batch normalisation from samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.networks.image_layout import ImageLayout
from mulligan.networks.mixture import Mixture
from mulligan.networks.tracing import with_own_convolutions
from mulligan.types import Key, Logits, Pixels, Pytree

POWER_ITERATIONS = 10  # of spectral normalisation in a call; as in `networks.normalisation`
SETTLING = 100  # samples a batch, of which statistics are taken


@dataclass(frozen=True, eq=False)
class Model:
    """A built Keras model and how it is to be called; equal only to itself.

    Attributes:
      keras: the `keras.Model`.
      layout: of the images that it gives or takes.
      end: the layer whose activation is left out, a discriminator's last sigmoid; or None.
      odds: whether the outcome is a probability, to be turned into logits by its odds.
    """

    keras: Any
    layout: ImageLayout
    end: Any = None
    odds: bool = False


class KerasNetwork(eqx.Module):
    """What both players share: `weights` are trained, `non_trainable` are not; both by number and name."""

    weights: dict[str, Array]
    non_trainable: dict[str, Array]
    model: Model = eqx.field(static=True)
    training: bool = eqx.field(static=True)

    def run(self, x: Array, labels: Any) -> Array:
        """The model's own outcome.

        Raises:
          MulliganError: there are labels.
        """
        if labels is not None:
            raise MulliganError("models of your own are trained without classes so far: leave the labels out.")
        pure = with_own_convolutions(
            lambda weights, kept, x: _called(self.model, weights, kept, x, self.training)[0]  # of arrays alone
        )
        return pure(self.weights, self.non_trainable, x)


class KerasGenerator(KerasNetwork):
    """Latents `[n, d]` to pixels `[n, h, w, c]` in [-1, 1]."""

    def __call__(self, z: Float[Array, "n d"], labels: Any = None, *, key: Key | None = None) -> Pixels:
        return self.model.layout.pixels(self.run(z, labels))


class KerasDiscriminator(KerasNetwork):
    """Pixels `[n, h, w, c]` to logits `[n]`, higher for real."""

    def __call__(self, x: Pixels, labels: Any = None, *, key: Key | None = None) -> Logits:
        return self._logits(self.run(self.model.layout.raw(x), labels))

    def as_written(self, x: Pixels) -> Logits:
        """The same, with the model's own convolutions: for those who go through its operations one by one."""
        raw = self.model.layout.raw(x)
        outcome, _ = _called(self.model, self.weights, self.non_trainable, raw, self.training)
        return self._logits(outcome)

    def _logits(self, outcome: Array) -> Logits:
        """One number an image, from the model's outcome."""
        outcome = outcome.reshape(outcome.shape[0])
        if not self.model.odds:
            return outcome
        likely = jnp.clip(outcome, 1e-7, 1 - 1e-7)
        return jnp.log(likely) - jnp.log1p(-likely)


def write_back(network: KerasNetwork) -> None:
    """Puts a network's numbers into the caller's own model object, which is changed in place.

    States of random number generators in it stay as they are.
    """
    model = network.model.keras
    for variable, value in zip(model.trainable_variables, network.weights.values(), strict=True):
        variable.assign(value)
    for variable, value in zip(_floats(model.non_trainable_variables), network.non_trainable.values(), strict=True):
        variable.assign(value)


def with_batch_statistics(network: Pytree, inputs: Float[Array, "n ..."]) -> Pytree:
    """A network of a Keras model as it is to be used: moving statistics of `inputs`, normalised weights, no dropout.

    Args:
      network: any; those that are not of Keras are returned as they are.
      inputs: a generator's latents, or a discriminator's pixels; whole batches of 100 of them are used.

    Returns:
      The network with the layers' behaviour of inference; a mixture's members one by one.
    """
    if isinstance(network, Mixture):
        return Mixture(tuple(with_batch_statistics(member, inputs) for member in network.members), network.weights)
    if not isinstance(network, KerasNetwork):
        return network
    x = inputs if isinstance(network, KerasGenerator) else network.model.layout.raw(inputs)
    size = min(SETTLING, len(x))
    batches = x[: len(x) // size * size].reshape(-1, size, *x.shape[1:])
    weights, kept = jax.jit(_settle)(network, batches)
    return type(network)(weights, kept, network.model, training=False)


def inference_mode(network: Pytree) -> Pytree:
    """The same network with the layers' behaviour of inference; those not of Keras are returned as they are."""
    if isinstance(network, Mixture):
        return Mixture(tuple(inference_mode(member) for member in network.members), network.weights)
    if not isinstance(network, KerasNetwork):
        return network
    return type(network)(network.weights, network.non_trainable, network.model, training=False)


# --- calling a model ----------------------------------------------------------------------------------


def _called(
    model: Model, weights: dict[str, Array], kept: dict[str, Array], x: Array, training: bool
) -> tuple[Array, list[Array]]:
    """The outcome, and what the call left in every variable: trained ones first."""
    import keras

    variables = [*model.keras.trainable_variables, *model.keras.non_trainable_variables]
    fixed = iter(jax.lax.stop_gradient(value) for value in kept.values())
    values = list(weights.values())
    for number, variable in enumerate(model.keras.non_trainable_variables):
        if _is_float(variable):
            values.append(next(fixed))
            continue
        # The state of a generator of random numbers comes from the bits of the input: dropout then differs from batch
        # to batch, and the network stays a pure function without a key.
        bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
        words = jnp.stack([jnp.sum(bits, dtype=jnp.uint32), jnp.uint32(number)])
        values.append(jnp.resize(words, variable.shape).astype(variable.dtype))
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping) as scope, training_behaviour(model):
        outcome = model.keras(x, training=training)
        left = [scope.get_current_value(variable) for variable in variables]
    kept_or_new = [value if one is None else one for one, value in zip(left, values, strict=True)]
    return outcome, kept_or_new


@contextmanager
def training_behaviour(model: Model) -> Iterator[None]:
    """The model without its last sigmoid, and with spectral norms that a single call finds."""
    import keras

    norms = [one for one in layers_of(model.keras) if isinstance(one, keras.layers.SpectralNormalization)]
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


def _settle(network: KerasNetwork, batches: Float[Array, "k n ..."]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights and kept numbers after the statistics of all batches were taken."""
    import keras

    model = network.model
    trained = len(network.weights)
    norms = [one for one in layers_of(model.keras) if isinstance(one, keras.layers.BatchNormalization)]
    places = {id(variable): place for place, variable in enumerate(_floats(model.keras.non_trainable_variables))}
    moments = [(places[id(norm.moving_mean)], places[id(norm.moving_variance)]) for norm in norms]

    def of_batch(x: Array) -> list[Array]:
        _, left = _called(model, network.weights, network.non_trainable, x, training=True)
        floats = _floats(model.keras.non_trainable_variables, left[trained:])
        for mean, variance in moments:
            floats[variance] = floats[variance] + floats[mean] ** 2  # about zero, so that batches can be averaged
        return [*left[:trained], *floats]

    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0  # moving statistics are then those of the batch alone
        means = [jnp.mean(values, axis=0) for values in jax.lax.map(of_batch, batches)]
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    weights, floats = means[:trained], means[trained:]
    for mean, variance in moments:
        floats[variance] = floats[variance] - floats[mean] ** 2
    return dict(zip(network.weights, weights, strict=True)), dict(zip(network.non_trainable, floats, strict=True))


def network_of(kind: Any, model: Model) -> Any:
    """A network of this kind with the numbers that the model has now."""
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


def layers_of(model: Any) -> list[Any]:
    """Every layer of a Keras model, inner ones too."""
    return list(model._flatten_layers(include_self=False))
