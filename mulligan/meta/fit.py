"""The main job: one task and a budget in, the best generator out."""

from __future__ import annotations

import dataclasses
import os
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from mulligan.commands import command
from mulligan.errors import Interrupted, MulliganError, UsageError
from mulligan.events import Listener, Noted, NotRecorded, Planned
from mulligan.files import make_folder
from mulligan.game.step import pixels
from mulligan.meta.experience import HOMELESS, NONE
from mulligan.meta.initialisation import growth
from mulligan.meta.initialisation.few_images import (
    InitChoice,
    choose_init,
    read_players,
    unsplit_note,
    write_players,
)
from mulligan.meta.initialisation.from_run import MOST_UNASKED, NEAREST, NONE_NEAR, RunStart, nearest_run
from mulligan.meta.initialisation.growth import SMALL, Growth
from mulligan.meta.planning import Options, examine, plan_run, pretrained_note, short_note, with_learned_weights
from mulligan.meta.race import race
from mulligan.meta.race.record_run import record_run
from mulligan.meta.race.warm_start import BY_LAW, RacePlan
from mulligan.meta.space.default import default_recipe
from mulligan.meta.space.prices import measure_run
from mulligan.meta.store.connections import without_password
from mulligan.networks import keras
from mulligan.networks.architecture import check
from mulligan.networks.keras_files import remember_file
from mulligan.networks.keras_models import FAMILY
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.tasks.kept import GROUPS, KEPT, keep
from mulligan.tasks.task import Task
from mulligan.training import checkpoint
from mulligan.training.budget import Allowance, Budget, Cost
from mulligan.training.device import cache_programs, machine
from mulligan.training.finish import finish
from mulligan.training.generator import MODEL, Generator, load
from mulligan.training.loop import Loop
from mulligan.training.progress import Progress
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.run_spec import RunSpec
from mulligan.training.strategist import Strategist

Beginning = RunStart | InitChoice | Growth  # of a run, where that is not fresh weights or what the recipe names
TRAINED = 0.4  # of a budget, below which it is told that training had so little
HANDED = 400  # images that a discriminator's moving statistics are taken of
UNLIMITED = 2**62  # bytes of images that were in memory when the run began


def fit(data: Any, budget: Budget, options: Options) -> Generator:
    """Trains on `data` (whatever `tasks.images.read_task` takes) into a new run folder.

    Raises:
      UsageError: it is asked to start from two things.
      MulliganError: the data cannot be used, the recipe is impossible, or the folder cannot be written.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved, and `resume` goes on.
    """
    started = clock.monotonic()
    if options.from_run is not None and (options.models is not None or options.init is not None):
        raise UsageError("a run can start from one thing only: give one of `from_run`, `networks` and `init`.")
    start = None if options.from_run is None or _wants_nearest(options) else RunStart.of(options.from_run)
    if start is not None:
        labels = start.labels if options.labels is False else options.labels
        options = dataclasses.replace(options, size=options.size or start.size, labels=labels)
    task = read_task(data, **options.reading())
    options.listener(task.read_event().to_json())
    beginning, plan = _planned(task, budget, options, start)
    if options.recipe is not None or options.models is not None:
        examine(plan.arms[0].recipe, task)
    folder = begin(data, task, plan, budget, options, beginning)
    options.listener(Planned(run=str(folder.path), **plan.to_json()).to_json())
    homeless = None if options.place else f"this run will not be remembered: {HOMELESS}"
    begun = beginning.text if beginning else pretrained_note(plan)
    alone = NONE_NEAR if _wants_nearest(options) and not isinstance(beginning, RunStart) else None
    one = "one recipe trains, and on this machine: `workers` are for several that race"
    idle = one if options.workers is not None and len(plan.arms) == 1 else None
    for text in (unsplit_note(task), alone, begun, short_note(task, plan, budget), homeless, idle):
        if text:
            options.listener(Noted(text=text).to_json())
    with _saved(folder):
        return _go_on(folder, task, options.listener, started, options.place)


def _wants_nearest(options: Options) -> bool:
    return str(options.from_run) == NEAREST


def _planned(task: Task, budget: Budget, options: Options, start: RunStart | None) -> tuple[Beginning | None, RacePlan]:
    """What the run begins from, and what it trains: what was asked for, and else what suits.

    Args:
      start: the run that somebody named.
    """
    if options.init == SMALL:
        plan = plan_run(task, budget, options, None)
        return Growth.of(plan.arms[0].recipe, task), plan
    place, beginning = options.place or NONE, start
    given = options.recipe is not None or options.models is not None
    if _wants_nearest(options):
        beginning = nearest_run(task, options.recipe or default_recipe(task.shape, len(task.train), budget), place)
    if beginning is None and not (given and options.init is None):
        beginning = choose_init(task, options.init)
    plan = plan_run(task, budget, options, beginning)
    if options.init is not None or options.from_run is not None or plan.arms[0].origin != BY_LAW:
        return beginning, plan
    plan = with_learned_weights(plan, task, budget)
    if plan.arms[0].recipe.init or len(task.train) > MOST_UNASKED or plan.trouble:
        return None, plan
    beginning = nearest_run(task, plan.arms[0].recipe, place)
    return beginning, plan if beginning is None else plan_run(task, budget, options, beginning)


@contextmanager
def _saved(folder: RunFolder) -> Iterator[None]:
    """Nobody else trains the run meanwhile, and whatever instant a signal comes at, it tells how to go on.

    Raises:
      MulliganError: another process is training it.
      Interrupted: a signal came.
    """
    try:
        with folder.held():
            yield
    except KeyboardInterrupt as stop:
        raise Interrupted(folder.path, stop) from stop


def begin(
    data: Any, task: Task, plan: RacePlan, budget: Budget, options: Options, start: Beginning | None = None
) -> RunFolder:
    """The run folder, with all that `resume` needs: images that came as an array are kept in it.

    Raises:
      MulliganError: no recipe can be trained, or the folder cannot be made.
    """
    kept = not isinstance(data, str | os.PathLike) or not (
        isinstance(options.labels, bool) and isinstance(options.groups, str | None)
    )
    recipe = plan.arms[0].recipe
    check(recipe.architecture, task.shape, len(task.classes or ()))
    Strategist.make(recipe.strategy, recipe.strategy_prior)
    path = Path(options.out) if options.out else _free_folder(task.name)
    place = options.place or NONE
    run = {
        "format": FORMAT,
        "version": version("mulligan"),
        "seed": options.seed,
        "budget": budget.to_json(),
        "source": KEPT if kept else _absolute(str(data)),
        "options": {"labels": task.classes is not None, "groups": None if task.collection.groups is None else GROUPS}
        if kept
        else options.reading(),
        "experience": without_password(place),
        "machine": machine(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "init": start and start.text,
        "from": str(start.run.absolute()) if isinstance(start, RunStart) else None,
        "taught": list(start.taught) if isinstance(start, RunStart) else [],
        "networks": None if options.networks is None else remember_file(options.networks),
    }
    folder = RunFolder.create(path, {"recipe": recipe.to_json(), "task": task.to_json(), "plan": plan.to_json()})
    if kept:
        keep(folder.path / KEPT, task.collection)
    if len(plan.arms) > 1:
        folder.write(race.DOCUMENT, race.document(plan.arms, options.allocation, task, options.workers))
    if isinstance(start, RunStart):
        start.write_players(folder)
    elif isinstance(start, Growth):
        start.write(folder)
    elif start is not None:
        write_players(folder, start.start, task, options.seed)
    # Last: a folder with a `run.json` is a run that can be gone on with.
    folder.write("run", run)
    return folder


def _free_folder(name: str) -> Path:
    """`runs/NAME`, or with the first number that is free: made, so that no other run takes it."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name) or "run"
    runs = make_folder(Path("runs"))
    for number in count(1):
        path = runs / (plain if number == 1 else f"{plain}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError  # numbers do not end


def _absolute(source: str) -> str:
    """A path that means the same from any folder; names of built-in tasks stay as they are."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def resume(
    run: Path | str,
    listener: Listener = lambda event: None,
    data: Path | str | None = None,
    more: Budget | None = None,
) -> Generator:
    """Goes on with a run where it stopped; a run that has ended gives its generator, unless it is given more.

    Args:
      run: its folder.
      listener: called with every event.
      data: where its images are now, if not where they were.
      more: what is added to its budget.

    Raises:
      MulliganError: not a run folder, or its data is gone or has changed.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved.
    """
    started = clock.monotonic()
    folder = RunFolder.open(Path(run))
    if (folder.path / MODEL).is_file() and more is None:
        return load(folder.path)
    with _saved(folder):
        task = _task(folder, data)
        if more is not None:
            _extend(folder, more)
        return _go_on(folder, task, listener, started)


def _extend(folder: RunFolder, more: Budget) -> None:
    """Adds to the budget of a run: to what it was, or, once it has ended, to what was spent.

    Raises:
      MulliganError: its recipes still race for the budget that they have, or it still trains on small images.
    """
    if race.is_on(folder) or growth.is_on(folder):
        doing = "the recipes of {} still race for" if race.is_on(folder) else "{} still trains on small images within"
        raise MulliganError(
            f"{doing.format(folder.path)} the budget that there is; more can be added afterwards: "
            + command("resume", folder.path)
        )
    document, before = folder.document("run"), _budget(folder)
    saved, _ = checkpoint.newest(folder.path / "checkpoints")
    progress = Progress() if saved is None else Progress.from_json(saved.progress)
    others = _spent_elsewhere(folder)
    ended = progress.finished is not None
    if more.images is not None:
        base = before.images if before.images and not ended else progress.spent_nimg + others.images
        budget = Budget(base + more.images, None)
    else:
        base = before.seconds if before.seconds and not ended else progress.seconds + others.seconds
        budget = Budget(None, base + (more.seconds or 0.0))
    extended = [*document.get("extended", []), {"budget": before.to_json(), "nimg": progress.nimg}]
    (folder.path / MODEL).unlink(missing_ok=True)  # before: who is interrupted in between has lost nothing
    folder.write("run", document | {"budget": budget.to_json(), "extended": extended})


def average(
    run: Path | str, listener: Listener = lambda event: None, distil: bool = False, weigh_latents: bool = False
) -> Generator:
    """Compares the averages of a run that has ended, for as long as it takes, and keeps the best.

    What was chosen before, with its final score, is forgotten.

    Args:
      run: its folder.
      listener: called with every event.
      distil: make a mixture into one network (`training.distil`).
      weigh_latents: draw latents with weights where that is better (`training.reweighting`).

    Raises:
      MulliganError: not a run folder, one that has not ended, or its data is gone or has changed.
    """
    with RunFolder.open(Path(run)).held():
        return finish(ended(run, listener), Allowance(distil=distil, weigh_latents=weigh_latents))


def ended(run: Path | str, listener: Listener = lambda event: None) -> Loop:
    """A run that has ended, as it stood when its training did.

    Raises:
      MulliganError: not a run folder, one that has not ended, or its data is gone or has changed.
    """
    folder = RunFolder.open(Path(run))
    if not (folder.path / MODEL).is_file():
        raise MulliganError(
            f"{run} has not ended; go on, and its averages are compared: {command('resume', folder.path)}"
        )
    cache_programs()
    return Loop(_assignment(folder, _task(folder), listener, clock.monotonic()))


def _task(folder: RunFolder, moved: Path | str | None = None) -> Task:
    """The images of a run, as they were when it began; the run remembers where they have `moved`."""
    document = folder.document("run")
    source = document["source"] if moved is None else _absolute(str(moved))
    if moved is None and Path(source).is_absolute() and not Path(source).exists():
        raise MulliganError(
            f"the images of this run are no longer at {source}; tell where they are: "
            + command("resume", folder.path, "--data", "PLACE")
        )
    if source == KEPT:
        task = read_task(folder.path / KEPT, **document["options"], memory=UNLIMITED)
    else:
        task = read_task(source, **document["options"])
    if task.hash != folder.document("task")["hash"]:
        raise MulliganError(
            f"the images in {source} are not those that this run began with: `mulligan resume --data` takes a copy of "
            "them, and `mulligan fit --from` starts a new run from this one."
        )
    if moved is not None:
        folder.write("run", document | {"source": source})
    return task


def _go_on(folder: RunFolder, task: Task, listener: Listener, started: float, place: str | None = None) -> Generator:
    """Races, if there is a race, or trains on small images, if it begins so; trains, and remembers how it went.

    Args:
      place: of the experience, with the password that the run's document leaves out; None for what stands there.
    """
    cache_programs()
    raced = (folder.path / f"{race.DOCUMENT}.json").is_file()
    if raced:
        race.Race(race.RaceSpec(folder, task, folder.document("run")["seed"], _budget(folder), listener, started)).run()
        started = clock.monotonic()
    elif growth.is_on(folder):
        growth.train_on_small_images(_assignment(folder, task, listener, started))
        started = clock.monotonic()
    loop = Loop(_assignment(folder, task, listener, started))
    loop.train()
    if not raced:  # where recipes race they may train on some of the cores
        measure_run(loop)
        note = _compiled_note(loop, loop.spec.budget)
        if note is not None:
            listener(Noted(text=note).to_json())
    generator = finish(loop)
    if loop.recipe.architecture.family == FAMILY:  # models of the caller's own are no experience of mulligan's space
        # What was trained goes back into them, with moving statistics to match.
        fakes = pixels(jnp.asarray(generator.sample(HANDED // 2, seed=0)))
        reals = pixels(jnp.asarray(loop.task.train.sample(HANDED // 2, seed=0)))
        disc = keras.with_batch_statistics(loop.now.gan.disc, jnp.concatenate([fakes, reals]))
        member = generator.network.members[0] if isinstance(generator.network, Mixture) else generator.network
        for network in (member, disc):
            keras.write_back(network)
        return generator
    where = folder.document("run")["experience"]
    if where != NONE and task.judge("validation")[0] != "train":  # what few images say of themselves is no experience
        try:
            record_run(folder, task, place or where)
        except MulliganError as error:  # one that cannot be written costs nobody their generator
            listener(NotRecorded(reason=str(error)).to_json())
    return generator


def _compiled_note(loop: Loop, budget: Budget) -> str | None:
    """What is to be said where a run had most of its seconds for something else than training."""
    progress = loop.now.progress
    trained = progress.training_seconds + progress.loading_seconds
    if budget.seconds is None or trained >= TRAINED * budget.seconds:
        return None
    seconds = f"{round(budget.seconds, 1):g}"
    again = command("resume", loop.spec.folder.path, "--time", f"+{seconds}s")
    return (
        f"training had only {progress.training_seconds:.0f} of {seconds} seconds: most went into compiling "
        f"programs, which are kept now, so that this trains at once: {again}"
    )


def _assignment(folder: RunFolder, task: Task, listener: Listener, started: float) -> RunSpec:
    """What the run in this folder, after a race if there was one, has to do."""
    recipe, seed = Recipe.from_json(folder.document("recipe")), folder.document("run")["seed"]
    elsewhere = _spent_elsewhere(folder)
    budget = _budget(folder)
    emit = race.with_total_cost(listener, budget, elsewhere)
    players = read_players(folder, recipe, task)
    extensions = len(folder.document("run").get("extended", []))
    left = budget.without(elsewhere)
    return RunSpec(folder, task, recipe, seed, left, emit, started, elsewhere, extensions, players)


def _spent_elsewhere(folder: RunFolder) -> Cost:
    """What others took of a run's budget: recipes that lost its race, or its first part, on small images."""
    return race.spent_by_others(folder).plus(growth.spent_on_small_images(folder))


def _budget(folder: RunFolder) -> Budget:
    document = folder.document("run")["budget"]
    return Budget(document.get("images"), document.get("seconds"))
