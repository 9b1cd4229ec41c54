"""Starting from a run of one's own: its generator and discriminator go on with other images, or other choices."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax

from mulligan.commands import command
from mulligan.errors import MulliganError
from mulligan.game.step import Players
from mulligan.meta.initialisation.few_images import PLAYERS
from mulligan.networks.architecture import build
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training import checkpoint
from mulligan.training.run import RunFolder


class RunStart(NamedTuple):
    """What a run left that another can start from.

    Attributes:
      shape: `(h, w, c)` of its images.
      size: side that its images were resampled to, or None.
      labels: whether it has classes.
      classes: how many.
      text: a sentence on it.
    """

    run: Path
    recipe: Recipe
    shape: tuple[int, int, int]
    size: int | None
    labels: bool
    classes: int
    text: str

    @staticmethod
    def of(run: Path) -> RunStart:
        """Reads what a run's folder says.

        Raises:
          MulliganError: not a run folder.
        """
        folder = RunFolder.open(run)
        task, options = folder.document("task"), folder.document("run")["options"]
        h, w, c = task["shape"]
        size = options.get("size") or (h if h == w else None)
        recipe = Recipe.from_json(folder.document("recipe"))
        text = f"starting from the generator and discriminator of {run}"
        labels = bool(options.get("labels"))
        return RunStart(run, recipe, (h, w, c), size, labels, len(task["classes"] or ()), text)

    def check(self, task: Task) -> None:
        """Checks that its networks are of such images.

        Raises:
          MulliganError: they are of another shape, or of other classes.
        """
        shape, classes = "x".join(map(str, self.shape)), len(task.classes or ())
        if self.shape != task.shape:
            raise MulliganError(
                f"{self.run} draws images of {shape}, and these are {'x'.join(map(str, task.shape))}: "
                "networks go on with images of their own shape only."
            )
        if self.classes != classes:
            raise MulliganError(
                f"{self.run} knows {self.classes or 'no'} classes, and these images have {classes or 'none'}: "
                "networks go on with as many classes only."
            )

    def write_players(self, folder: RunFolder) -> None:
        """Writes the networks into the folder of the run that starts from them: the best generator, and its opponent.

        Raises:
          MulliganError: there is no checkpoint, or it is damaged.
        """
        saved, _ = checkpoint.newest(self.run / "checkpoints")
        if saved is None:
            raise MulliganError(f"{self.run} has no checkpoint yet: let it train: {command('resume', self.run)}")
        blank = build(self.recipe.architecture, self.shape, self.classes, jax.random.key(0))
        gen = checkpoint.restored(blank.gen, saved.arrays, "best")
        disc = checkpoint.restored(blank.disc, saved.arrays, "state.disc")
        checkpoint.write(folder.path / PLAYERS, checkpoint.arrays_of(Players(gen, disc), "players"), {})
