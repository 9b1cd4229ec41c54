"""How a run went, remembered: every recipe that was trained is a trial of the experience."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from mulligan.events import Evaluated, RolledBack
from mulligan.meta.experience import Experience
from mulligan.meta.initialisation.growth import began_small
from mulligan.meta.initialisation.kindred import COMMON, KINDS
from mulligan.meta.race import race
from mulligan.meta.race.arm_run import TRIALS
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.space import VERSION
from mulligan.meta.store.figure_curves import points_of
from mulligan.meta.store.record import DONE, FAILED, TaskRecord, Trial
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.device import device_name
from mulligan.training.run import RunFolder


def record_run(folder: RunFolder, task: Task, place: str) -> int:
    """Writes the trials of a run that has ended into the user's experience, in one transaction, and where it is.

    One that began from another, from learned weights that suit its images or on small images has none: what it reached
    is not its recipe's merit alone.

    Returns:
      How many there were.

    Raises:
      MulliganError: the experience cannot be written.
    """
    learned = Recipe.from_json(folder.document("recipe")).init in (*KINDS, COMMON)
    begun = folder.document("run").get("from") is not None or learned or began_small(folder)
    found = [] if begun else [each for each in trials(folder, task) if each.curve or each.status == FAILED]
    experience = Experience(place)
    experience.add_task(TaskRecord.of(task, task.name.partition("/")[0]))
    added = experience.add(found)
    experience.add_run(folder.path, task.hash)
    return added


def trials(folder: RunFolder, task: Task) -> Iterator[Trial]:
    """The run's own trial, and those of the arms that lost.

    Raises:
      MulliganError: the run's documents are damaged.
    """
    yield _trial(folder, task, None)
    if not (folder.path / f"{race.DOCUMENT}.json").is_file():
        return
    document = folder.document(race.DOCUMENT)
    for number, arm in enumerate(document["arms"]):
        path = folder.path / TRIALS / f"{number:02d}"
        if number != document["winner"] and (path / "run.json").is_file():
            yield _trial(RunFolder(path), task, arm["ended"] or "stopped: it lost the race")


def _trial(folder: RunFolder, task: Task, reason: str | None) -> Trial:
    """A run as a trial: its curve until the guard first went back, for what follows is not the recipe's own doing."""
    recipe = Recipe.from_json(folder.document("recipe"))
    per_image = footprint(recipe, task.shape, len(task.classes or ())).flops_per_image
    rescued = next(iter(folder.events(RolledBack)), None)
    until = math.inf if rescued is None or rescued.back_to_nimg is None else rescued.back_to_nimg
    curve = tuple(points_of(folder.events(Evaluated), per_image, until))
    last = curve[-1] if curve else None
    failed = rescued is not None or last is None
    return Trial(
        task=task.hash,
        recipe_json=recipe.to_json(),
        seed=folder.document("run")["seed"],
        budget=last.flops if last else 0.0,
        status=FAILED if failed else DONE,
        reason=rescued.reason if rescued else reason,
        cost={"images": last.nimg, "flops": last.flops, "seconds": last.seconds} if last else {},
        curve=curve,
        code=version("mulligan"),
        space=VERSION,
        device=device_name(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        embedding=folder.embedding(),
    )
