"""From an `Architecture` and an image shape to both networks, which know nothing of losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mulligan.errors import MulliganError
from mulligan.networks import conv, keras, keras_models, mlp, residual
from mulligan.networks.layers import (
    ACTIVATIONS,
    Activate,
    Head,
    ImageShape,
    LatentAndClass,
    Layer,
    Shape,
    checked,
    randomised,
    styles,
)
from mulligan.networks.normalisation import NORMALISATIONS
from mulligan.networks.resampling import COARSEST, LEAST_COARSEST, RESAMPLINGS, STRIDED
from mulligan.recipe import Architecture
from mulligan.types import Key, Logits, Pixels, Pytree

SMALLEST, LARGEST = 8, 256  # rows or columns of an image
CHANNELS = (1, 3, 4)


PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}  # of products and maps; weights are float32


class NetworkFamily(NamedTuple):
    """How a family's layers are made.

    `generator(architecture, inputs, shape) -> layers` from `[n, inputs]` to `[n, *shape]`, unbounded;
    `discriminator(architecture, shape) -> (layers, features)` from `[n, *shape]` to `[n, *features]`;
    `least_depth` is the depth below which a network would be linear.
    """

    generator: Callable[[Architecture, int, ImageShape], list[Layer]]
    discriminator: Callable[[Architecture, ImageShape], tuple[list[Layer], Shape]]
    least_depth: int


FAMILIES = {
    "mlp": NetworkFamily(mlp.generator, mlp.discriminator, least_depth=1),
    "conv": NetworkFamily(conv.generator, conv.discriminator, least_depth=0),
    "residual": NetworkFamily(residual.generator, residual.discriminator, least_depth=1),
}


class GeneratorNetwork(eqx.Module):
    """Standard normal latents `[n, latent]` to images `[n, h, w, c]` in [-1, 1], float32 at any precision."""

    classes: LatentAndClass | None
    layers: tuple[Layer, ...]
    precision: str = eqx.field(static=True, default="float32")

    def __call__(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"] | None = None, *, key: Key | None = None
    ) -> Pixels:
        labels = checked(labels, self.classes is not None)
        if self.classes is not None and labels is not None:
            z = self.classes(z, labels)
        layers, z = in_precision(self.precision, (self.layers, z))
        return jnp.tanh(in_single(_through(layers, z)))


class DiscriminatorNetwork(eqx.Module):
    """Images `[n, h, w, c]` to logits `[n]`, higher for real. The last layer is float32 at any precision."""

    layers: tuple[Layer, ...]
    head: Head
    precision: str = eqx.field(static=True, default="float32")

    def __call__(self, x: Pixels, labels: Int[Array, " n"] | None = None, *, key: Key | None = None) -> Logits:
        layers, x = in_precision(self.precision, (self.layers, x))
        return self.head(in_single(_through(layers, x)), labels)

    def hidden(self, x: Pixels) -> tuple[Array, ...]:
        """Outputs of all activation layers, from the image side."""
        seen = []
        layers, x = in_precision(self.precision, (self.layers, x))
        for layer in layers:
            x = layer(x)
            if isinstance(layer, Activate):
                seen.append(in_single(x))
        return tuple(seen)


class Networks(NamedTuple):
    """Both players."""

    gen: GeneratorNetwork | keras.KerasGenerator
    disc: DiscriminatorNetwork | keras.KerasDiscriminator

    def own(self) -> tuple[GeneratorNetwork, DiscriminatorNetwork]:
        """Both players, where their layers are mulligan's.

        Raises:
          MulliganError: they are Keras models.
        """
        gen, disc = self
        if not (isinstance(gen, GeneratorNetwork) and isinstance(disc, DiscriminatorNetwork)):
            raise MulliganError("weights of Keras models fit no other networks: train from fresh weights instead.")
        return gen, disc


def in_precision(precision: str, arrays: Pytree) -> Pytree:
    """The arrays as numbers of this precision; their gradients come back in the arrays' own.

    In float32 they stay as they are: who computes in float64, to check a gradient, has double precision throughout.
    """
    if precision == "float32":
        return arrays
    return jax.tree.map(lambda array: array.astype(PRECISIONS[precision]), arrays)


def in_single(x: Array) -> Array:
    """In single precision at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def computing_in(precision: str, networks: Networks) -> Networks:
    """The same networks, whose weights stay as they are, with products and maps of this precision.

    Args:
      precision: a name in `PRECISIONS`.
      networks: mulligan's own, or any for float32.
    """
    if precision == "float32":
        return networks
    return Networks(replace(networks.gen, precision=precision), replace(networks.disc, precision=precision))


def build(architecture: Architecture, shape: ImageShape, classes: int, key: Key) -> Networks:
    """Both networks with fresh weights.

    Args:
      architecture: the static choices of a recipe.
      shape: `(h, w, c)` of the images: 8 to 256 rows and columns, 1, 3 or 4 channels.
      classes: labels are 0 to `classes - 1`; 0 makes networks without labels.
      key: of the random weights; the same key gives the same weights.

    Raises:
      MulliganError: a choice that no network can have, named with what could be chosen.

    Example:
      >>> networks = build(Architecture(gen_width=4, disc_width=4), (9, 12, 3), 0, jax.random.key(0))
      >>> fake = networks.gen(jnp.zeros((2, 64)))
      >>> fake.shape, networks.disc(fake).shape
      ((2, 9, 12, 3), (2,))
    """
    check(architecture, shape, classes)
    if architecture.family == keras_models.FAMILY:
        return Networks(*keras_models.build(architecture, shape, classes))
    return _initialise(architecture, shape, classes, key)


def abstract(architecture: Architecture, shape: ImageShape, classes: int) -> Networks:
    """Both networks as `build` makes them, with shapes and types in place of weights: nothing is drawn or compiled."""
    return jax.eval_shape(lambda key: build(architecture, shape, classes, key), jax.random.key(0))


def notes(architecture: Architecture, shape: ImageShape) -> tuple[str, ...]:
    """What was noticed about networks that are not mulligan's own, in sentences.

    Raises:
      MulliganError: the models cannot be rebuilt, or do not fit each other or the images.
    """
    return keras_models.pair(architecture, shape).notes if architecture.family == keras_models.FAMILY else ()


def parameter_count(module: Pytree) -> int:
    """How many numbers a network (or any pytree of arrays) holds, those that are not trained included.

    Example:
      >>> parameter_count({"weight": jnp.ones((2, 3)), "bias": jnp.ones(3)})
      9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(module))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _initialise(architecture: Architecture, shape: ImageShape, classes: int, key: Key) -> Networks:
    family = FAMILIES[architecture.family]
    latent = architecture.latent
    vectors = LatentAndClass(classes, latent) if classes else None
    inputs = 2 * latent if classes else latent
    gen = GeneratorNetwork(vectors, tuple(family.generator(architecture, inputs, shape)))
    layers, features = family.discriminator(architecture, shape)
    _, _, last = styles(architecture.activation, architecture.disc_normalisation)
    # The constructors hold standard deviations in place of weights; one draw for both players turns them into weights.
    return randomised(Networks(gen, DiscriminatorNetwork(tuple(layers), Head(features, classes, last))), key)


def _through(layers: tuple[Layer, ...], x: Array) -> Array:
    for layer in layers:
        x = layer(x)
    return x


def check(architecture: Architecture, shape: ImageShape, classes: int) -> None:
    """Refuses choices of which no networks can be made.

    Raises:
      MulliganError: one sentence on the first such choice.
    """
    if shape[2] not in CHANNELS:
        raise MulliganError(f"images must have shape (height, width, channels) with 1, 3 or 4 channels, not {shape}.")
    if not all(SMALLEST <= side <= LARGEST for side in shape[:2]):
        raise MulliganError(
            f"images of {shape[0]}x{shape[1]} pixels are too small or too large; "
            f"a side must have {SMALLEST} to {LARGEST}: use `size` to resize."
        )
    if classes < 0:
        raise MulliganError(f"the number of classes is {classes}; it must be 0 (no labels) or more.")
    if architecture.family == keras_models.FAMILY:
        keras_models.check(architecture, classes)
        return
    _one_of("family", architecture.family, FAMILIES)
    _one_of("activation", architecture.activation, ACTIVATIONS)
    _one_of("resampling", architecture.resampling, (*STRIDED, *RESAMPLINGS))
    _one_of("gen_normalisation", architecture.gen_normalisation, [n for n in NORMALISATIONS if n != "spectral"])
    _one_of("disc_normalisation", architecture.disc_normalisation, NORMALISATIONS)
    least_depth = FAMILIES[architecture.family].least_depth
    for name, least in (("width", 1), ("depth", least_depth)):
        _at_least(f"gen_{name}", getattr(architecture, f"gen_{name}"), least, architecture.family)
        _at_least(f"disc_{name}", getattr(architecture, f"disc_{name}"), least, architecture.family)
    _at_least("latent", architecture.latent, 1, architecture.family)
    if architecture.kernel not in (3, 4, 5):
        raise MulliganError(f"the architecture's kernel is {architecture.kernel}; choose 3, 4 or 5.")
    if not LEAST_COARSEST <= architecture.coarsest <= COARSEST:
        raise MulliganError(f"the architecture's coarsest is {architecture.coarsest}; choose 4 to 7.")
    if architecture.attention and architecture.family == "mlp":
        raise MulliganError("the family 'mlp' has no place for attention; choose 'conv' or 'residual', or turn it off.")


def _one_of(field: str, name: str, choices: Iterable[str]) -> None:
    known = list(choices)
    if name not in known:
        near = get_close_matches(str(name), known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise MulliganError(f"the architecture's {field} is {name!r}; {hint}choose one of {', '.join(known)}.")


def _at_least(field: str, value: int, least: int, family: str) -> None:
    if value < least:
        raise MulliganError(f"the architecture's {field} is {value}; the family {family!r} needs {least} or more.")
