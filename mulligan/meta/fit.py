"""The main job: one task and a budget in, the best generator out."""

from __future__ import annotations

import dataclasses
import io
import math
import time as clock
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError, UsageError
from mulligan.files import replace_file
from mulligan.game.state import pixels
from mulligan.meta.default import default_recipe
from mulligan.networks import keras
from mulligan.networks.architecture import check
from mulligan.networks.keras_models import FAMILY
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Architecture, Recipe
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs, machine
from mulligan.training.finish import finish
from mulligan.training.generator import MODEL, Generator, load
from mulligan.training.loop import Assignment, Listener, Loop
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.strategist import Strategist

HANDED = 400  # images that a discriminator's moving statistics are taken of
KEPT = "data.npy"  # images given as an array


@dataclass(frozen=True)
class Options:
    """What a run is asked to do, besides its data and budget.

    Attributes:
      out: the run folder to make; None takes the next free one below `runs/`.
      seed: of the weights and batches; the split of the data does not depend on it.
      recipe: None for the default one.
      size: side to resample the images to.
      labels: train a class-conditional generator.
      strategy: `none`, `fork` or `switch` in place of the recipe's own.
      models: the architecture of models of the caller's own (`networks.keras.adopt`) in place of the recipe's.
      listener: receives every event as it happens.
    """

    out: Path | None = None
    seed: int = 0
    recipe: Recipe | None = None
    size: int | None = None
    labels: bool = False
    strategy: str | None = None
    models: Architecture | None = None
    listener: Listener = lambda event: None


def fit(data: Any, budget: Budget, options: Options) -> Generator:
    """Trains on `data` (a path, the name of a built-in task, or an array `[n, h, w, c]`) into a new run folder.

    Raises:
      MulliganError: the data cannot be used, the recipe is impossible, or the folder cannot be written.
      Interrupted: Ctrl-C; the run is saved, and `resume` goes on.
    """
    started = clock.monotonic()
    task = read_task(data, size=options.size, labels=options.labels)
    if options.labels and task.classes is None:
        raise UsageError(f"{task.name} has no labels to train on: leave out --labels.")
    if len(task.train) < 2:
        raise MulliganError(f"{task.name} holds a single image, and nothing can be compared with it: give at least 2.")
    recipe = options.recipe or default_recipe(task.shape, len(task.train), budget)
    if options.strategy is not None:
        recipe = dataclasses.replace(recipe, strategy=options.strategy)
    if options.models is not None:
        recipe = dataclasses.replace(recipe, architecture=options.models)
    folder = _begin(data, task, recipe, budget, options)
    return _train(Assignment(folder, task, recipe, options.seed, budget, options.listener, started))


def _begin(data: Any, task: Task, recipe: Recipe, budget: Budget, options: Options) -> RunFolder:
    """The run folder, with all that `resume` needs: images that came as an array are kept in it."""
    array = isinstance(data, np.ndarray)
    check(recipe.architecture, task.shape, len(task.classes or ()))
    Strategist(recipe.strategy, recipe.strategy_prior)
    path = Path(options.out) if options.out else _free_path(task.name)
    run = {
        "format": FORMAT,
        "version": version("mulligan"),
        "seed": options.seed,
        "budget": budget.to_json(),
        "source": KEPT if array else _absolute(str(data)),
        "options": {"size": options.size, "labels": options.labels},
        "machine": machine(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = RunFolder.create(path, {"recipe": recipe.to_json(), "task": task.to_json()})
    if array:
        content = io.BytesIO()
        np.save(content, data, allow_pickle=False)
        replace_file(folder.path / KEPT, content.getvalue())
    folder.write("run", run)
    return folder


def _free_path(name: str) -> Path:
    """`runs/NAME`, or with the first number that is free."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name) or "run"
    candidates = (Path("runs") / (plain if number == 1 else f"{plain}-{number}") for number in count(1))
    return next(path for path in candidates if not path.exists())


def _absolute(source: str) -> str:
    """A path that means the same from any folder; names of built-in tasks stay as they are."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def resume(run: Path | str, listener: Listener = lambda event: None) -> Generator:
    """Goes on with a run where it stopped; a run that has ended gives its generator.

    Raises:
      MulliganError: not a run folder, or its data is gone or has changed.
      Interrupted: Ctrl-C; the run is saved.
    """
    folder = RunFolder.open(Path(run))
    if (folder.path / MODEL).is_file():
        return load(folder.path)
    return _train(_assigned(folder, listener))


def average(run: Path | str, listener: Listener = lambda event: None) -> Generator:
    """Compares the averages of a run that has ended, for as long as it takes, and keeps the best.

    What was chosen before, with its final score, is forgotten.

    Raises:
      MulliganError: not a run folder, one that has not ended, or its data is gone or has changed.
    """
    folder = RunFolder.open(Path(run))
    if not (folder.path / MODEL).is_file():
        raise MulliganError(f"{run} has not ended: go on with `mulligan resume {run}`, which compares its averages.")
    cache_programs()
    return finish(Loop(_assigned(folder, listener)), math.inf)


def _assigned(folder: RunFolder, listener: Listener) -> Assignment:
    """What the run in this folder was asked to do."""
    started = clock.monotonic()
    document = folder.document("run")
    source = document["source"]
    task = read_task(folder.path / source if source == KEPT else source, **document["options"])
    if task.hash != folder.document("task")["hash"]:
        raise MulliganError(
            f"the images in {source} have changed since this run began: start a new one with `mulligan fit`."
        )
    recipe = Recipe.from_json(folder.document("recipe"))
    budget = Budget(document["budget"].get("images"), document["budget"].get("seconds"))
    return Assignment(folder, task, recipe, document["seed"], budget, listener, started)


def _train(assignment: Assignment) -> Generator:
    cache_programs()
    loop = Loop(assignment)
    loop.train()
    generator = finish(loop)
    if assignment.recipe.architecture.family == FAMILY:
        _hand_back(loop, generator)
    return generator


def _hand_back(loop: Loop, generator: Generator) -> None:
    """Puts what was trained into the caller's own models."""
    fakes = pixels(jnp.asarray(generator.sample(HANDED // 2, seed=0)))
    reals = pixels(jnp.asarray(loop.task.train.sample(HANDED // 2, seed=0)))
    disc = keras.settled(loop.state.disc, jnp.concatenate([fakes, reals]))
    member = generator.network.members[0] if isinstance(generator.network, Mixture) else generator.network
    for network in (member, disc):
        keras.hand_back(network)
