"""Few images in `fit`: whether learned initial weights should help, and the players that a run starts from.

The rule is plain: there are at most `FEW` training images, none of them labelled; they have the shape that the weights
were learned on; and they look like what was learned, ink on a plain ground: grey, with most pixels of one colour.
Garments, with half of them, were worse off. Where the ground is dark the weights are taken in negative.
docs/few-images.md says what was measured.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError, UsageError
from mulligan.game.step import Data, Players
from mulligan.meta.initialisation.adaptation import adapt
from mulligan.meta.initialisation.init_file import (
    PretrainedInit,
    fit_to_shape,
    inner_game,
    read_pretrained,
    shipped_pretrained,
)
from mulligan.networks.architecture import Networks, build
from mulligan.networks.negative import negative
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training import checkpoint
from mulligan.training.run import RunFolder
from mulligan.types import Pytree

FEW = 50  # training images, up to which learned initial weights are used without being asked for
GROUND = 0.7  # share of the pixels with the most frequent colour, from which on images are ink on a ground
NONE = "none"  # in place of a file: fresh weights
PLAYERS = "players.safetensors"  # in a run folder: what it started from


class InitChoice(NamedTuple):
    """Learned weights that suit a task, and a sentence on that."""

    start: PretrainedInit
    text: str


def choose_init(task: Task, wanted: str | None) -> InitChoice | None:
    """The learned weights to start a run from; None for fresh ones.

    Args:
      wanted: a file; `NONE`; None for what is shipped, where the rule above holds.

    Raises:
      UsageError: a file was asked for, and the task has labels.
      MulliganError: the file cannot be used, or nothing in it fits.
    """
    if wanted == NONE:
        return None
    if wanted is None:
        shipped, seen = shipped_pretrained(), task.descriptor
        few = task.classes is None and len(task.train) <= FEW
        if shipped is None or not few or seen["colourfulness"] != 0 or seen["background"] < GROUND:
            return None
        start = read_pretrained(shipped)
        return _init_choice(start, task) if start.shape == task.shape else None
    if task.classes is not None:
        raise UsageError("initial weights are of networks without classes: leave out `labels` or `init`.")
    return _init_choice(read_pretrained(Path(wanted)), task)


def _init_choice(start: PretrainedInit, task: Task) -> InitChoice:
    start, share = fit_to_shape(start, task.shape)
    if share == 0:
        raise MulliganError(f"no layer of these initial weights fits images of {task.shape}: leave out `init`.")
    # One of the two has a light ground, the other a dark one.
    if (start.provenance["descriptor"]["mean"] - 0.5) * (task.descriptor["mean"] - 0.5) < 0:
        mirrored = Players(*negative(Networks(*start.learned.centre)))
        start = dataclasses.replace(start, learned=start.learned._replace(centre=mirrored))
    saw = start.provenance
    text = (
        f"starting from weights learned on {saw['tasks']:,} tasks ({', '.join(saw['sources'])}), "
        f"{share:.0%} of them fitting, after {start.updates} updates on your {len(task.train)} images"
    )
    return InitChoice(start, text)


def unsplit_note(task: Task) -> str | None:
    """What is to be said of a task whose images all train, or None."""
    if len(task.validation):
        return None
    if len(task.train) == 1:
        return "a single image: it trains, moved and shifted, and there is nothing to tell copies of it by"
    return f"{len(task.train)} images, too few to keep any back: all train, and nothing is measured on unseen ones"


def write_players(folder: RunFolder, start: PretrainedInit, task: Task, seed: int) -> None:
    """Adapts the learned weights to the training images, and writes what the run starts from into its folder.

    Raises:
      MulliganError: the inner game diverged on these images.
    """
    support = Data(jnp.asarray(task.train.sample(FEW, seed=seed)))
    inner = inner_game(start.recipe, task.shape, start.updates)
    players = jax.jit(lambda learned, key: adapt(inner, learned, support, key))(start.learned, jax.random.key(seed))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(players)):
        raise MulliganError("adapting the initial weights to these images diverged: leave out `init`, or give none.")
    checkpoint.write(folder.path / PLAYERS, checkpoint.arrays_of(players, "players"), {})


def read_players(folder: RunFolder, recipe: Recipe, task: Task) -> tuple[Pytree, Pytree] | None:
    """What the run in a folder started from, or None where that were fresh weights.

    Raises:
      MulliganError: the file is damaged, or of other networks.
    """
    path = folder.path / PLAYERS
    if not path.is_file():
        return None
    blank = Players(*build(recipe.architecture, task.shape, len(task.classes or ()), jax.random.key(0)))
    players = checkpoint.restored(blank, checkpoint.read(path).arrays, "players")
    checkpoint.require_finite(players, path)
    return players
