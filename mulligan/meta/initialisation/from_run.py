"""Starting from a run of one's own: its generator and discriminator go on with other images, or other choices."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import jax

from mulligan.commands import command
from mulligan.errors import MulliganError
from mulligan.game.step import Players
from mulligan.meta.experience import Experience
from mulligan.meta.initialisation.few_images import PLAYERS
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.networks.architecture import build
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training import checkpoint
from mulligan.training.generator import MODEL, load
from mulligan.training.run import RunFolder

NEAREST = "nearest"  # in place of a run: the one of one's own that drew the nearest images
AFRESH = "(`mulligan fit --init none` begins afresh)"
NONE_NEAR = "none of your runs drew images of this shape in such networks, so this one begins without"
MOST_UNASKED = 500  # training images up to which a run begins so unasked: with more, nothing was gained
LATEST = 8  # runs that are looked at
SAMPLES = 200  # images that each draws, and training images
# Share of its weights with which one begins; the rest is of the fresh ones of its seed, so it is half of the way back
# (as in Ash and Adams 2020, arXiv 1910.08475, who mix with others).
KEPT = 0.5


class RunStart(NamedTuple):
    """What a run left that another can start from.

    Attributes:
      shape: `(h, w, c)` of its images.
      size: side that its images were resampled to, or None.
      labels: whether it has classes.
      classes: how many.
      seed: of its fresh weights.
      taught: names of the image sets that taught its networks, the first one first.
      text: a sentence on it.
      asked: whether somebody named it; one that was found lends its networks and not its recipe.
    """

    run: Path
    recipe: Recipe
    shape: tuple[int, int, int]
    size: int | None
    labels: bool
    classes: int
    seed: int
    taught: tuple[str, ...]
    text: str
    asked: bool = True

    @staticmethod
    def of(run: Path) -> RunStart:
        """Reads what a run's folder says.

        Raises:
          MulliganError: not a run folder.
        """
        folder = RunFolder.open(run)
        task, document = folder.document("task"), folder.document("run")
        options = document["options"]
        h, w, c = task["shape"]
        return RunStart(
            run=run,
            recipe=Recipe.from_json(folder.document("recipe")),
            shape=(h, w, c),
            size=options.get("size") or (h if h == w else None),
            labels=bool(options.get("labels")),
            classes=len(task["classes"] or ()),
            seed=document["seed"],
            taught=(*document.get("taught", ()), task["name"]),
            text=f"starting from the generator and discriminator of {run}",
        )

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

        Of a run that was found, the share `KEPT` of its weights.

        Raises:
          MulliganError: there is no checkpoint, or it is damaged.
        """
        saved, _ = checkpoint.newest(self.run / "checkpoints")
        if saved is None:
            raise MulliganError(f"{self.run} has no checkpoint yet: let it train: {command('resume', self.run)}")
        fresh = build(self.recipe.architecture, self.shape, self.classes, jax.random.key(self.seed))
        gen = checkpoint.restored(fresh.gen, saved.arrays, "best")
        disc = checkpoint.restored(fresh.disc, saved.arrays, "state.disc")
        share = 1.0 if self.asked else KEPT
        players = jax.tree.map(lambda old, new: share * old + (1 - share) * new, (gen, disc), (fresh.gen, fresh.disc))
        checkpoint.write(folder.path / PLAYERS, checkpoint.arrays_of(Players(*players), "players"), {})


def nearest_run(task: Task, usual: Recipe, place: str) -> RunStart | None:
    """The run of one's own that a new one may begin from: of the latest, the one that drew the nearest images.

    It drew images of this shape, and of these classes where there are any, in networks like those which would begin
    afresh. Runs on these very images do not count: they are gone on with.

    Args:
      usual: the recipe that would begin afresh.
      place: of the experience, which knows where runs are.

    Returns:
      None where there is none.

    Raises:
      MulliganError: the experience cannot be read.
    """
    if "://" not in place and not Path(place).is_file():
        return None
    embedding = load_embedding()
    real, found = embedding(task.train.sample(SAMPLES, seed=0)), []
    for path, name in Experience(place).runs():
        with suppress(MulliganError, OSError):  # gone, another machine's, or damaged: as if it were not there
            folder = RunFolder.open(path)
            known = folder.document("task")
            start = RunStart.of(path)._replace(asked=False)
            same = (start.shape, known["classes"]) == (task.shape, task.classes and list(task.classes))
            fits = start.recipe.architecture.like(usual.architecture) and (path / MODEL).is_file()
            if same and fits and known["hash"] == name != task.hash:
                drawn = embedding(load(path).sample(SAMPLES, seed=0))
                found.append((mmd2_unbiased(real, drawn), start))
        if len(found) == LATEST:
            break
    if not found:
        return None
    _, nearest = min(found, key=lambda each: each[0])
    text = f"beginning with the networks of {nearest.run}, which drew the nearest images, half and half with fresh ones"
    text += f" {AFRESH}"
    return nearest._replace(text=text)
