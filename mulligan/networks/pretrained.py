"""Weights that ship: both players of a GAN that was trained on many families of images at once.

A recipe's `init` names them, and a run begins with them in place of fresh weights. There is a file for each
architecture that was trained; images of other sizes, channels and classes get them by `refit`. docs/pretrained.md says
what they bring.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load as load_safetensors

from mulligan.errors import MulliganError
from mulligan.files import with_card
from mulligan.networks.architecture import Networks, abstract, build
from mulligan.networks.layers import ImageShape
from mulligan.networks.negative import negative
from mulligan.networks.parameters import with_parameters
from mulligan.networks.refit import refit
from mulligan.networks.resampling import halvings
from mulligan.recipe import Architecture, Recipe
from mulligan.types import Key

NEGATIVE = "-negative"  # ends the name of an `init` that is another in negative
_DRAWINGS, _CLIPART = ("drawings-1-64px-w8",), ("clipart-1-64px-w8",)
FILES = {  # of each `init`
    "families-1": ("families-1-32px-w32", "families-1-64px-w16"),
    "drawings-1": _DRAWINGS,
    "drawings-1" + NEGATIVE: _DRAWINGS,
    "clipart-1": _CLIPART,
    "clipart-1" + NEGATIVE: _CLIPART,
    "photographs-1": ("photographs-1-64px-w8",),
    "things-1": ("things-1-32px-w16", "things-1-64px-w8", "things-1-64px-w16"),
}


class Pretrained(NamedTuple):
    """Both players as they were trained, and for what.

    Attributes:
      networks: without classes.
      architecture: of both.
      shape: of the images that they were trained on.
      card: where they come from, in plain values: sources with their licences, images seen, the recipe.
    """

    networks: Networks
    architecture: Architecture
    shape: ImageShape
    card: dict[str, Any]


@functools.cache
def cards(init: str) -> tuple[dict[str, Any], ...]:
    """The cards of all files of an `init`, without reading their weights.

    Raises:
      MulliganError: nothing that ships has this name.
    """
    if init not in FILES:
        raise MulliganError(
            f"no initial weights are called {init!r}; there are {', '.join(FILES)}, or '' for fresh ones."
        )
    room = resources.files("mulligan").joinpath("data")
    return tuple(json.loads(room.joinpath(f"{name}.json").read_text()) for name in FILES[init])


def architectures(init: str, shape: ImageShape) -> tuple[Architecture, ...]:
    """The architectures that have pretrained weights for images of this shape, narrowest first.

    Networks suit images that they halve as often as those that they were trained on.

    Raises:
      MulliganError: nothing that ships has this name.

    Example:
      >>> [architecture.gen_width for architecture in architectures("families-1", (28, 28, 1))]
      [32]
    """
    found = [Architecture(**card["architecture"]) for card in cards(init) if _suits(card, shape)]
    return tuple(sorted(found, key=lambda architecture: architecture.gen_width))


def _suits(card: dict[str, Any], shape: ImageShape) -> bool:
    before, after = card["shape"], shape
    coarsest = card["architecture"]["coarsest"]
    return len(halvings(tuple(before[:2]), coarsest)) == len(halvings(after[:2], coarsest))


@functools.cache
def load_pretrained(init: str, architecture: Architecture, shape: ImageShape) -> Pretrained:
    """The weights of an `init` for networks of this architecture and images of this shape.

    Raises:
      MulliganError: there are none, or the installed file is damaged.
    """
    fitting = [card for card in cards(init) if Architecture(**card["architecture"]) == architecture]
    found = next((card for card in fitting if _suits(card, shape)), None)
    if found is None:
        offered = ", ".join(f"width {other.gen_width}" for other in architectures(init, shape))
        raise MulliganError(
            f"the initial weights {init!r} have no networks of this architecture for images of {shape[0]}x{shape[1]} "
            f"pixels ({offered or 'none for this size'}): leave out the recipe's init to begin with fresh weights."
        )
    stored, card = with_card("mulligan", f"data/{found['name']}", f"the initial weights {found['name']}")
    arrays = {key: array.astype(np.float32) for key, array in load_safetensors(stored).items()}
    h, w, c = card["shape"]
    networks = with_parameters(abstract(architecture, (h, w, c), 0), arrays)
    return Pretrained(negative(networks) if init.endswith(NEGATIVE) else networks, architecture, (h, w, c), card)


def load_initial(recipe: Recipe, shape: ImageShape) -> Networks | None:
    """What a run of this recipe begins with: pretrained players, or None for fresh ones.

    Raises:
      MulliganError: the recipe's `init` has no weights for its architecture and this shape.
    """
    return load_pretrained(recipe.init, recipe.architecture, shape).networks if recipe.init else None


def initial_networks(recipe: Recipe, shape: ImageShape, classes: int, key: Key, learned: Networks | None) -> Networks:
    """Both players before the first step: fresh ones, or what `load_initial` gave, fitted to the images. Traceable.

    Args:
      recipe: its `architecture` and `init` are used.
      shape: `(h, w, c)` of the images.
      classes: 0 makes networks without labels.
      key: of the fresh weights.
      learned: what `load_initial` gave for this recipe and shape.

    Raises:
      MulliganError: networks that cannot be, or weights of other layers.
    """
    fresh = build(recipe.architecture, shape, classes, key)
    if learned is None:
        return fresh
    coarsest = recipe.architecture.coarsest
    before = load_pretrained(recipe.init, recipe.architecture, shape).shape
    return refit(learned, halvings(before[:2], coarsest)[-1], fresh, halvings(shape[:2], coarsest)[-1])
