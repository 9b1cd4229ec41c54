"""The main job: one task and a budget in, the best generator out."""

from __future__ import annotations

import dataclasses
import io
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
from mulligan.meta.initialisation.few_images import (
    InitChoice,
    choose_init,
    read_players,
    unsplit_note,
    with_architecture_of,
    write_players,
)
from mulligan.meta.race import race
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.record_run import record_run
from mulligan.meta.race.warm_start import RacePlan, plan_race
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.default import default_recipe
from mulligan.meta.store.experience import NONE, own_place
from mulligan.networks import keras
from mulligan.networks.architecture import check
from mulligan.networks.keras_models import FAMILY
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Architecture, Recipe
from mulligan.schedules.learned import SHIPPED
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.budget import Allowance, Budget
from mulligan.training.device import cache_programs, machine, memory_bytes
from mulligan.training.engine import make_game
from mulligan.training.finish import finish
from mulligan.training.generator import MODEL, Generator, load
from mulligan.training.loop import Loop
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.run_spec import Listener, RunSpec
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
      strategy: `none`, `fork` or `switch` in place of the recipe's own; `fork` adds the learned schedule to a recipe
        without any.
      models: the architecture of models of the caller's own (`networks.keras.adopt`) in place of the recipe's.
      experience: where trials are remembered; None for the user's own, `none` to neither ask nor remember.
      init: a file of learned initial weights; None for those that are shipped, where they should help; `none` for fresh
        ones.
      allocation: how a race shares out the budget: a name in `meta.race.allocation.ALLOCATIONS`.
      listener: receives every event as it happens.
    """

    out: Path | None = None
    seed: int = 0
    recipe: Recipe | None = None
    size: int | None = None
    labels: bool = False
    strategy: str | None = None
    models: Architecture | None = None
    experience: str | None = None
    init: str | None = None
    allocation: str = "ftrl"
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
    given = options.recipe is not None or options.models is not None
    learned = None if given and options.init is None else choose_init(task, options.init)
    plan = _plan(task, budget, options) if learned is None else _from(learned, task, budget, options)
    if given:
        examine(plan.arms[0].recipe, task)
    folder = begin(data, task, plan, budget, options, learned)
    options.listener({"kind": "plan", "nimg": 0, "seconds": 0.0, "run": str(folder.path), **plan.to_json()})
    for text in (unsplit_note(task), learned and learned.text):
        if text:
            options.listener({"kind": "note", "nimg": 0, "seconds": 0.0, "text": text})
    return _go_on(folder, task, options.listener, started)


def examine(recipe: Recipe, task: Task) -> None:
    """Raises `MulliganError` where a recipe that somebody asked for cannot be trained on a task."""
    classes = len(task.classes or ())
    check(recipe.architecture, task.shape, classes)
    make_game(recipe, task.shape, classes, horizon_nimg=1.0)
    if recipe.architecture.family != FAMILY:
        reason = refusal(recipe, task.shape, classes, Limits(bytes=memory_bytes()))
        if reason is not None:
            raise MulliganError(f"this recipe cannot be trained on {task.name}: {reason}")


def _from(learned: InitChoice, task: Task, budget: Budget, options: Options) -> RacePlan:
    """The default recipe, or the one asked for, with the networks that the learned weights are of."""
    if options.models is not None:
        raise UsageError("learned initial weights are of mulligan's own networks: give either --networks or --init.")
    recipe = with_architecture_of(learned.start, options.recipe or default_recipe(task.shape, len(task.train), budget))
    return RacePlan((Arm(_steered(recipe, options.strategy), 1.0, "learned initial weights"),))


def _plan(task: Task, budget: Budget, options: Options) -> RacePlan:
    """What to train: the recipe that was asked for, or what the experience says; each with the strategy asked for."""
    if options.models is not None:
        recipe = options.recipe or default_recipe(task.shape, len(task.train), budget)
        own = dataclasses.replace(recipe, architecture=options.models)
        plan = RacePlan((Arm(own, 1.0, "models of your own"),))
    elif options.recipe is not None:
        plan = RacePlan((Arm(options.recipe, 1.0, "as asked for"),))
    else:
        plan = plan_race(task, budget, options.experience or own_place(), options.seed)
    arms = (arm._replace(recipe=_steered(arm.recipe, options.strategy)) for arm in plan.arms)
    return dataclasses.replace(plan, arms=tuple(arms))


def _steered(recipe: Recipe, strategy: str | None) -> Recipe:
    """The recipe with the strategy asked for; forks come with the learned schedule, unless the recipe has one.

    Together they did better than either alone on four tasks, from good rates and from ones ten times too high.
    """
    if strategy is None:
        return recipe
    own = recipe.schedules or recipe.gap_aware or recipe.learned_schedule
    schedule = SHIPPED[-1] if strategy == "fork" and not own else recipe.learned_schedule
    return dataclasses.replace(recipe, strategy=strategy, learned_schedule=schedule)


def begin(
    data: Any, task: Task, plan: RacePlan, budget: Budget, options: Options, learned: InitChoice | None = None
) -> RunFolder:
    """The run folder, with all that `resume` needs: images that came as an array are kept in it.

    Raises:
      MulliganError: no recipe can be trained, or the folder cannot be made.
    """
    array = isinstance(data, np.ndarray)
    recipe = plan.arms[0].recipe
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
        "experience": options.experience or own_place(),
        "machine": machine(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "init": learned and learned.text,
    }
    folder = RunFolder.create(path, {"recipe": recipe.to_json(), "task": task.to_json(), "plan": plan.to_json()})
    if array:
        content = io.BytesIO()
        np.save(content, data, allow_pickle=False)
        replace_file(folder.path / KEPT, content.getvalue())
    if len(plan.arms) > 1:
        folder.write(race.DOCUMENT, race.document(plan.arms, options.allocation))
    if learned is not None:
        write_players(folder, learned.start, task, options.seed)
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
    started = clock.monotonic()
    folder = RunFolder.open(Path(run))
    if (folder.path / MODEL).is_file():
        return load(folder.path)
    return _go_on(folder, _task(folder), listener, started)


def average(run: Path | str, listener: Listener = lambda event: None, distil: bool = False) -> Generator:
    """Compares the averages of a run that has ended, for as long as it takes, and keeps the best.

    What was chosen before, with its final score, is forgotten.

    Args:
      run: its folder.
      listener: called with every event.
      distil: make a mixture into one network (`training.distil`).

    Raises:
      MulliganError: not a run folder, one that has not ended, or its data is gone or has changed.
    """
    return finish(ended(run, listener), Allowance(distil=distil))


def ended(run: Path | str, listener: Listener = lambda event: None) -> Loop:
    """A run that has ended, as it stood when its training did.

    Raises:
      MulliganError: not a run folder, one that has not ended, or its data is gone or has changed.
    """
    folder = RunFolder.open(Path(run))
    if not (folder.path / MODEL).is_file():
        raise MulliganError(f"{run} has not ended: go on with `mulligan resume {run}`, which compares its averages.")
    cache_programs()
    return Loop(_assignment(folder, _task(folder), listener, clock.monotonic()))


def _task(folder: RunFolder) -> Task:
    """The images of a run, as they were when it began."""
    document = folder.document("run")
    source = document["source"]
    task = read_task(folder.path / source if source == KEPT else source, **document["options"])
    if task.hash != folder.document("task")["hash"]:
        raise MulliganError(
            f"the images in {source} have changed since this run began: start a new one with `mulligan fit`."
        )
    return task


def _go_on(folder: RunFolder, task: Task, listener: Listener, started: float) -> Generator:
    """Races, if there is a race, trains, and remembers how it went."""
    cache_programs()
    if (folder.path / f"{race.DOCUMENT}.json").is_file():
        race.Race(race.RaceSpec(folder, task, folder.document("run")["seed"], _budget(folder), listener, started)).run()
        started = clock.monotonic()
    loop = Loop(_assignment(folder, task, listener, started))
    loop.train()
    generator = finish(loop)
    if loop.recipe.architecture.family == FAMILY:  # models of the caller's own are no experience of mulligan's space
        _hand_back(loop, generator)
    else:
        _remember(folder, task, listener)
    return generator


def _hand_back(loop: Loop, generator: Generator) -> None:
    """Puts what was trained into the caller's own models."""
    fakes = pixels(jnp.asarray(generator.sample(HANDED // 2, seed=0)))
    reals = pixels(jnp.asarray(loop.task.train.sample(HANDED // 2, seed=0)))
    disc = keras.with_batch_statistics(loop.state.disc, jnp.concatenate([fakes, reals]))
    member = generator.network.members[0] if isinstance(generator.network, Mixture) else generator.network
    for network in (member, disc):
        keras.write_back(network)


def _assignment(folder: RunFolder, task: Task, listener: Listener, started: float) -> RunSpec:
    """What the run in this folder, after a race if there was one, has to do."""
    recipe, seed = Recipe.from_json(folder.document("recipe")), folder.document("run")["seed"]
    elsewhere = race.spent_by_others(folder)
    budget = _budget(folder)
    emit = race.with_total_cost(listener, budget, elsewhere)
    players = read_players(folder, recipe, task)
    return RunSpec(folder, task, recipe, seed, budget.without(elsewhere), emit, started, elsewhere, players)


def _budget(folder: RunFolder) -> Budget:
    document = folder.document("run")["budget"]
    return Budget(document.get("images"), document.get("seconds"))


def _remember(folder: RunFolder, task: Task, listener: Listener) -> None:
    """Adds the run to the experience; one that cannot be written costs nobody their generator."""
    where = folder.document("run")["experience"]
    if where == NONE:
        return
    try:
        record_run(folder, task, where)
    except MulliganError as error:
        listener({"kind": "forgotten", "nimg": 0, "seconds": 0.0, "reason": str(error)})
