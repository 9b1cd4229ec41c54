"""Files of learned initial weights: what they hold, which are shipped, and how they are fitted to other networks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mulligan import schema
from mulligan.errors import MulliganError, newer_format
from mulligan.files import make_folder
from mulligan.game.penalties import PENALTIES, lazy
from mulligan.game.step import Players
from mulligan.meta.initialisation.adaptation import Initialisation, InnerGame, fresh_initialisation, ftrl_optimiser
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.net2net import inherit, inherit_scale
from mulligan.networks.architecture import Networks
from mulligan.networks.layers import ImageShape
from mulligan.networks.residual import Unfold
from mulligan.recipe import Architecture, Recipe
from mulligan.schema import Line, Within
from mulligan.training import checkpoint
from mulligan.training.device import memory_bytes
from mulligan.training.engine import make_game
from mulligan.types import Key, Pytree

FORMAT = 1
SHIPPED = Path(__file__).resolve().parents[2] / "data"  # holds initial-YYYY-MM-DD.safetensors
Side = Annotated[int, Within(1, 256)]  # of an image that a network may be of
STORED = np.float16  # of weights and scales on disk: their third digit means nothing


@dataclass(frozen=True)
class PretrainedInit:
    """Learned initial weights, and the game in which they adapt.

    Attributes:
      learned: centre and scale.
      recipe: of the inner game, its rates in units of the scale.
      shape: of the images that it was learned on.
      updates: of the inner game.
      provenance: what it was learned from, in plain values: `sources`, `tasks`, `images`, `episodes`, `seconds`,
        the `config`, and the `descriptor` of its images.
    """

    learned: Initialisation
    recipe: Recipe
    shape: ImageShape
    updates: int
    provenance: dict[str, Any]

    @property
    def inner(self) -> InnerGame:
        return inner_game(self.recipe, self.shape, self.updates)


def inner_game(recipe: Recipe, shape: ImageShape, updates: int) -> InnerGame:
    """The inner game of a recipe: FTRL in place of Adam, and penalties that can be differentiated twice.

    Raises:
      MulliganError: no game can be made of the recipe.
    """
    penalty = lazy(PENALTIES[recipe.penalty].penalty, recipe.penalty_every)
    game = dataclasses.replace(make_game(recipe, shape, 0, 1.0), optimiser=ftrl_optimiser, penalty=penalty)
    return InnerGame(game, recipe.hyperparameters, updates)


@dataclass(frozen=True)
class ProvenanceDocument:
    """What a file says at least of where its weights come from."""

    sources: tuple[Annotated[str, Line(500)], ...]
    tasks: Annotated[int, Within(0, 10**9)]
    descriptor: dict[str, Annotated[float, Within(-1e12, 1e12)]]


@dataclass(frozen=True)
class Document:
    """What a file says besides its weights."""

    format: Annotated[int, Within(1, 1000)]
    recipe: dict[str, Any]
    shape: tuple[Side, Side, Annotated[int, Within(1, 4)]]
    updates: Annotated[int, Within(1, 10_000)]
    provenance: ProvenanceDocument


def write_pretrained(path: Path, start: PretrainedInit) -> None:
    """Writes a file whole or not at all.

    Raises:
      MulliganError: it cannot be written.
    """
    make_folder(path.parent)
    document = {
        "format": FORMAT,
        "recipe": start.recipe.to_json(),
        "shape": list(start.shape),
        "updates": start.updates,
        "provenance": start.provenance,
    }
    arrays = checkpoint.arrays_of(start.learned, "learned")
    checkpoint.write(path, {name: array.astype(STORED) for name, array in arrays.items()}, document)


def read_pretrained(path: Path) -> PretrainedInit:
    """Reads what `write_pretrained` wrote.

    Raises:
      MulliganError: missing, damaged, no such file, or of a newer version.
    """
    saved = checkpoint.read(path)
    document = saved.progress
    if not isinstance(document, dict) or "provenance" not in document:
        raise MulliganError(f"{path} holds no initial weights: give a file that `mulligan learn --init` wrote.")
    checked = schema.read(Document, document, str(path), extra="ignore")
    if checked.format > FORMAT:
        raise newer_format(path, checked.format, FORMAT)
    if "mean" not in checked.provenance.descriptor:
        raise MulliganError(f"{path} does not say how light its images were: it has no provenance.descriptor.mean.")
    recipe, shape = Recipe.from_json(document["recipe"]), checked.shape
    # Before anything is built: a file from elsewhere may ask for networks of any size.
    reason = refusal(recipe, shape, 0, Limits(bytes=memory_bytes()))
    if reason is not None or recipe.architecture.models:
        raise MulliganError(f"{path} holds weights that cannot be used here: {reason or 'they are of Keras models'}")
    blank = fresh_initialisation(recipe.architecture, shape, 1.0, jax.random.key(0))
    foreign = {str(array.dtype) for array in saved.arrays.values()} - {"float16", "float32"}
    if foreign:
        raise MulliganError(f"{path} holds numbers of another kind than weights are: {', '.join(sorted(foreign))}.")
    arrays = {name: array.astype(np.float32) for name, array in saved.arrays.items()}
    try:
        learned = checkpoint.restored(blank, arrays, "learned")
    except MulliganError as error:
        raise MulliganError(f"{path} is not what it says that it is: {error}") from error
    checkpoint.require_finite(learned, path)
    return PretrainedInit(learned, recipe, shape, checked.updates, document["provenance"])


def shipped_pretrained() -> Path | None:
    """The newest initial weights in the package."""
    return max(SHIPPED.glob("initial-*.safetensors"), default=None)


def fit_to_shape(start: PretrainedInit, shape: ImageShape) -> tuple[PretrainedInit, float]:
    """The start for images of another shape, and the share of its parameters that were learned.

    Layers are paired from the image on: a generator's from the last, a discriminator's from the first. What does not
    fit is initialised afresh, with the median of the learned scales.
    """
    if shape == start.shape:
        return start, 1.0
    scale = float(
        np.exp(np.median(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(start.learned.log_scale)])))
    )
    fresh = fresh_initialisation(start.recipe.architecture, shape, scale, jax.random.key(0))
    parts = [
        Players(_paired(new.gen, old.gen, last=True), _paired(new.disc, old.disc, last=False))
        for new, old in zip(fresh, start.learned, strict=True)
    ]
    learned = Initialisation(*parts)
    kept = jax.tree.map(lambda new, old: new.size * float(new is not old), learned.centre, fresh.centre)
    share = sum(jax.tree.leaves(kept)) / sum(leaf.size for leaf in jax.tree.leaves(fresh.centre))
    return dataclasses.replace(start, learned=learned, shape=shape), share


def grow(start: PretrainedInit, architecture: Architecture, added: float, key: Key) -> Initialisation:
    """What was learned, in larger networks that compute the same and play as these did.

    Args:
      added: scale of new layers.
      key: of how channels are repeated.

    Raises:
      MulliganError: the architectures do not allow it.
    """
    before = start.recipe.architecture
    if before == architecture:
        return start.learned
    centre, log_scale = start.learned
    scale = jax.tree.map(jnp.exp, Networks(*log_scale))
    moves = inherit_scale(scale, before, architecture, start.shape, key, added)
    return Initialisation(
        Players(*inherit(Networks(*centre), before, architecture, start.shape, key)),
        Players(*jax.tree.map(jnp.log, moves)),
    )


def scale_latents(learned: Initialisation, times: float) -> Initialisation:
    """The same start, whose latents count so many times as much: the weights of the generator's first layer."""
    gen = learned.centre.gen
    first = gen.layers[0]
    wider = eqx.tree_at(_latent_weights, first, times * _latent_weights(first))
    return learned._replace(centre=learned.centre._replace(gen=_with_layers(gen, (wider, *gen.layers[1:]))))


def _latent_weights(layer: Any) -> Any:
    return (layer.amplitudes if isinstance(layer, Unfold) else layer).weight


def _with_layers(network: Pytree, layers: tuple[Any, ...]) -> Pytree:
    return eqx.tree_at(lambda network: network.layers, network, layers)


def _paired(new: Pytree, old: Pytree, last: bool) -> Pytree:
    """`new` with the layers of `old`, counted from the last or the first, where they have the same shapes."""
    layers = list(new.layers)
    for index in range(min(len(new.layers), len(old.layers))):
        at = -1 - index if last else index
        arrays, learned = jax.tree.leaves(layers[at]), jax.tree.leaves(old.layers[at])
        alike = [leaf.shape for leaf in arrays] == [leaf.shape for leaf in learned]
        if alike and type(layers[at]) is type(old.layers[at]):
            # The arrays alone are taken: what is no array in a layer, such as its size, stays that of the new one.
            layers[at] = jax.tree.unflatten(jax.tree.structure(layers[at]), learned)
    return _with_layers(new, tuple(layers))
