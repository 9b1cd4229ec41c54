"""Who draws characters from four drawings: how each contender learned, and the game it plays on a new character."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax

from mulligan.game.step import adam
from mulligan.meta.initialisation.adaptation import Initialisation, InnerGame, fresh_initialisation
from mulligan.meta.initialisation.init_file import inner_game, read_pretrained
from mulligan.meta.initialisation.learn_initialisation import INNER, JOINT, MULTITASK, SHIPPED_CONFIG, MetaConfig
from mulligan.recipe import Hyperparameters, Recipe

SHAPE = (28, 28, 1)
UPDATES = 10
ONES = INNER.hyperparameters
FIGR = dataclasses.replace(
    INNER, loss="wasserstein", penalty="gradient", batch=4, matching=0.0, hyperparameters=ONES._replace(gamma=20.0)
)
TUNED = (1e-3, 5e-3, 1e-2, 2e-2, 5e-2)  # rates that are tried for Adam


class Contender(NamedTuple):
    """How it learned, if it did, and what it plays on a new class."""

    config: MetaConfig | None
    recipe: Recipe
    free_rate: bool  # Adam plays, at a rate chosen on background characters; else FTRL in the learned scale


CONTENDERS = {
    "scratch": Contender(None, JOINT, True),
    "multitask": Contender(MULTITASK, JOINT, True),
    "figr": Contender(
        MetaConfig(FIGR, "reptile", UPDATES, tasks=1, scale=1e-3, rate=1e-4, feature_steps=1), FIGR, False
    ),
    "ours": Contender(SHIPPED_CONFIG, SHIPPED_CONFIG.recipe, False),
}


class Player(NamedTuple):
    """A contender that is ready: its start, and the game that it plays."""

    learned: Initialisation
    recipe: Recipe
    free_rate: bool
    hyperparameters: Hyperparameters


def inner_for(recipe: Recipe, free_rate: bool) -> InnerGame:
    """The game on a new class."""
    inner = inner_game(recipe, SHAPE, UPDATES)
    return inner._replace(game=dataclasses.replace(inner.game, optimiser=adam)) if free_rate else inner


def ready(name: str, folder: Path, rate: float, seed: int) -> Player:
    """The contender as it plays; what it learned is read from `folder`."""
    curriculum, recipe, free_rate = CONTENDERS[name]
    if curriculum is None:
        learned = fresh_initialisation(recipe.architecture, SHAPE, 1.0, jax.random.key(seed))
    else:
        learned = read_pretrained(folder / f"{name}.safetensors").learned
    hyperparameters = (
        recipe.hyperparameters._replace(gen_lr=rate, disc_lr=rate) if free_rate else recipe.hyperparameters
    )
    return Player(learned, recipe, free_rate, hyperparameters)
