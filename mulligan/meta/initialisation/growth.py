"""Growing: a run begins on images of half the size, and its networks, grown, go on with the large ones.

What was learned on small images is the centre of the regulariser for training on large ones (`networks.growing`). That
first part is a run of its own in `RUN/growth`, which pauses and goes on as any other; `growth.json` says what is asked
of it and, once it has ended, what it took.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mulligan.errors import Interrupted, MulliganError
from mulligan.events import Listener
from mulligan.game.step import Players
from mulligan.meta.initialisation.few_images import PLAYERS
from mulligan.meta.space.default import SMALL_SIDE, half_sized, is_large
from mulligan.meta.space.prices import measure_run
from mulligan.networks.architecture import Networks, build
from mulligan.networks.growing import grow
from mulligan.recipe import Recipe
from mulligan.tasks.halves import halved
from mulligan.tasks.task import Task
from mulligan.training import checkpoint
from mulligan.training.budget import NO_COST, Cost
from mulligan.training.loop import Loop
from mulligan.training.run import FORMAT, RunFolder
from mulligan.training.run_spec import RunSpec
from mulligan.types import Key

DOCUMENT = "growth"  # in a run's folder; and there the folder of the first part
SHARE = 0.35  # of the budget, for small images
FRESH = 0.5  # share of the fresh weights that new layers begin with, beside what hands on what was learned
MOST_BYTES = 2**30  # of images that are halved
SMALL = "small"  # in place of a file of learned weights


class Growth(NamedTuple):
    """How a run begins on small images.

    Attributes:
      recipe: of the first part.
      share: of the budget that it gets.
      text: a sentence on it.
    """

    recipe: Recipe
    share: float
    text: str

    @staticmethod
    def of(recipe: Recipe, task: Task) -> Growth:
        """How a run with this recipe begins on small images.

        Raises:
          MulliganError: it cannot, since such images cannot be made or the networks cannot be grown.
        """
        (h, w, c), whole = task.shape, task.collection.images
        if h % 2 or w % 2 or not is_large((h // 2, w // 2, c)):
            raise MulliganError(
                f"runs begin on images of half the size where both sides are even and at least {2 * (SMALL_SIDE + 1)}, "
                f"and these are {w}x{h}: leave out `init`, or give another `size`."
            )
        if not isinstance(whole, np.ndarray) or whole.nbytes > MOST_BYTES:
            raise MulliganError(
                "runs begin on images of half the size where all images are in memory and take less than "
                f"{MOST_BYTES / 2**30:g} GiB: leave out `init`, or give a smaller `size`."
            )
        if recipe.strategy != "none":
            raise MulliganError(
                "runs with a strategy do not begin on images of half the size: leave out `strategy` or `init`."
            )
        text = (
            f"the first {SHARE:.0%} of the budget trains on images of {w // 2}x{h // 2}; then the networks grow to "
            f"{w}x{h}"
        )
        return Growth(half_sized(recipe, task.shape), SHARE, text)

    def write(self, folder: RunFolder) -> None:
        """Notes in the folder of a run that it begins so."""
        document = {"format": FORMAT, "share": self.share, "recipe": self.recipe.to_json(), "spent": None}
        folder.write(DOCUMENT, document)


def is_on(folder: RunFolder) -> bool:
    """Whether the run in a folder still trains on small images.

    Raises:
      MulliganError: its `growth.json` is damaged.
    """
    return began_small(folder) and folder.document(DOCUMENT)["spent"] is None


def spent_on_small_images(folder: RunFolder) -> Cost:
    """What that took of a run's budget; nothing where there was none of it.

    Raises:
      MulliganError: its `growth.json` is damaged.
    """
    spent = folder.document(DOCUMENT)["spent"] if began_small(folder) else None
    return Cost(**spent) if spent else NO_COST


def began_small(folder: RunFolder) -> bool:
    """Whether the run in a folder begins, or began, on small images."""
    return (folder.path / f"{DOCUMENT}.json").is_file()


def train_on_small_images(run: RunSpec) -> None:
    """Trains the first part of a run, or what is left of it, and writes the players that the run goes on with.

    Where the guard gave it up, the run begins with fresh ones.

    Args:
      run: the whole, on the large images.

    Raises:
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the first part is saved.
      MulliganError: the folder cannot be written.
    """
    document, task = run.folder.document(DOCUMENT), halved(run.task)
    folder, budget = RunFolder(run.folder.path / DOCUMENT), run.budget.part(document["share"])
    if not (folder.path / "run.json").is_file():  # its folder is not there whole
        shutil.rmtree(folder.path, ignore_errors=True)
        RunFolder.create(folder.path, {"recipe": document["recipe"], "task": task.to_json()})
        folder.write("run", run.folder.document("run") | {"budget": budget.to_json()})
    recipe, emit = Recipe.from_json(document["recipe"]), _told(run)
    loop = Loop(RunSpec(folder, task, recipe, run.seed, budget, emit, run.started))
    try:
        loop.train()
    except Interrupted as stop:
        raise Interrupted(run.folder.path, stop) from stop
    progress = loop.now.progress
    if progress.code != "guard":
        players = _grown(Networks(loop.now.gan.gen, loop.now.gan.disc), run)
        checkpoint.write(run.folder.path / PLAYERS, checkpoint.arrays_of(players, "players"), {})
    measure_run(loop)
    images = progress.spent_nimg
    spent = Cost(images, loop.seconds(), images * progress.flops_per_image)
    # Last: what it took is known once its players are there.
    run.folder.write(DOCUMENT, document | {"spent": spent._asdict()})


def _grown(learned: Networks, run: RunSpec) -> Players:
    """The players that a run on large images goes on with, as one program."""

    def make(learned: Networks, key: Key) -> Players:
        return Players(*grow(learned, build(run.recipe.architecture, run.task.shape, run.classes, key), FRESH))

    return jax.jit(make)(learned, jax.random.key(run.seed))


def _told(run: RunSpec) -> Listener:
    """Passes on an event of the first part as one of the run's, marked as such."""

    def tell(event: dict[str, Any]) -> None:
        told = {**event, "small": True, "run": str(run.folder.path)}
        if "path" in event:
            told["path"] = str(Path(DOCUMENT) / event["path"])
        run.emit(told)

    return tell
