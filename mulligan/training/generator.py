"""A trained generator as people hold it: sample it, save it, load it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from mulligan import schema
from mulligan.commands import command
from mulligan.documents import read_sealed, write_sealed
from mulligan.errors import MulliganError, UsageError, newer_format
from mulligan.files import make_folder
from mulligan.networks.architecture import build
from mulligan.networks.keras import inference_mode, with_batch_statistics
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Recipe
from mulligan.schema import Within
from mulligan.training import checkpoint
from mulligan.training.engine import Sampler
from mulligan.training.run import FORMAT, RunFolder, Shape
from mulligan.types import Pytree

SETTLING = 2000  # samples that moving statistics are taken of, where a run has not ended yet
MODEL, WEIGHTS = "generator.json", "generator.safetensors"


@dataclass(frozen=True)
class ModelDocument:
    """What `generator.json` holds at least (docs/run-folder.md)."""

    format: int
    recipe: dict[str, Any]
    shape: Shape
    classes: tuple[str, ...] | None
    members: Annotated[int, Within(1, 1000)] = 1
    result: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator with all that is needed to use it.

    Attributes:
      recipe: that it was trained with.
      shape: `(h, w, c)` of its images.
      classes: names of the labels, or None.
      network: from latents `[n, latent]` (and labels) to pixels `[n, h, w, c]` in [-1, 1].
      run: the folder of the run that made it, if it came from one.
      result: the `final` event of that run, if it has ended.
    """

    recipe: Recipe
    shape: tuple[int, int, int]
    classes: tuple[str, ...] | None
    network: Pytree
    run: Path | None = None
    result: dict[str, Any] | None = None

    @property
    def latent(self) -> int:
        """Dimension of the latent space."""
        return self.recipe.architecture.latent

    @property
    def members(self) -> int:
        """Networks that it draws from: 1, or more for a mixture."""
        return len(self.network.members) if isinstance(self.network, Mixture) else 1

    @cached_property
    def sampler(self) -> Sampler:
        """Compiled once, with the first images that it draws."""
        return Sampler.make(self.recipe.architecture, len(self.classes or ()))

    def sample(self, n: int, seed: int = 0, labels: Any = None) -> UInt8[np.ndarray, "n h w c"]:
        """Draws `n` images, uint8 `[n, h, w, c]`; the same for the same seed.

        Args:
          n: at least 1.
          seed: of the latents.
          labels: for a conditional generator: `n` class numbers, or one for all; left out, the classes in turn.

        Raises:
          UsageError: `n` below 1, or labels that this generator does not have.
        """
        if n < 1:
            raise UsageError(f"cannot draw {n} images: ask for at least one.")
        return self.sampler(self.network, self.sampler.latents(n, seed), self._labels(n, labels))

    def _labels(self, n: int, labels: Any) -> np.ndarray | None:
        if labels is None:
            return None
        if self.classes is None:
            raise UsageError(
                "this generator was trained without labels: leave them out, or train with `mulligan fit --labels`."
            )
        chosen = np.asarray(labels)
        if chosen.shape not in ((), (n,)) or not np.isin(chosen, np.arange(len(self.classes))).all():
            raise UsageError(f"labels must be one or {n} whole numbers from 0 to {len(self.classes) - 1}.")
        return np.broadcast_to(chosen, n)

    def save(self, path: Path | str) -> None:
        """Writes the generator into a folder, for `mulligan.load`: weights as safetensors, the rest as JSON."""
        folder = make_folder(Path(path))
        checkpoint.write(folder / WEIGHTS, checkpoint.arrays_of(self.network, "gen"), {})
        described = {"format": FORMAT, "recipe": self.recipe.to_json(), "shape": list(self.shape)}
        write_sealed(
            folder / MODEL,
            described
            | {"classes": self.classes and list(self.classes), "members": self.members, "result": self.result},
        )


def blank(recipe: Recipe, shape: tuple[int, int, int], classes: int, members: int = 1) -> Pytree:
    """A generator network with the right shapes and no training, to load weights into."""
    gen = build(recipe.architecture, shape, classes, jax.random.key(0)).gen
    return gen if members == 1 else Mixture((gen,) * members, jnp.full(members, 1 / members))


def load(path: Path | str) -> Generator:
    """The generator in a folder that `Generator.save` wrote, or the best one of a run, finished or not.

    Raises:
      MulliganError: neither, damaged, or written by a newer version.
    """
    folder = Path(path)
    if not (folder / MODEL).is_file():
        return _best_of_run(RunFolder.open(folder))
    described = schema.read(ModelDocument, read_sealed(folder / MODEL), str(folder / MODEL), extra="ignore")
    if described.format > FORMAT:
        raise newer_format(folder, described.format, FORMAT)
    run = folder if (folder / "run.json").is_file() else None
    saved = checkpoint.read(folder / WEIGHTS)
    return replace(_assembled(described, saved, "gen", folder / WEIGHTS), run=run, result=described.result)


def _best_of_run(folder: RunFolder) -> Generator:
    saved, _ = checkpoint.newest(folder.path / "checkpoints")
    if saved is None:
        raise MulliganError(
            f"{folder.path} has no checkpoint yet: let it train for longer: {command('resume', folder.path)}"
        )
    task = folder.document("task")
    classes = task["classes"] and tuple(task["classes"])
    described = ModelDocument(FORMAT, folder.document("recipe"), tuple(task["shape"]), classes)
    best = _assembled(described, saved, "best", folder.path / "checkpoints")
    latents = np.random.default_rng(0).standard_normal((SETTLING, best.latent), np.float32)
    return replace(best, network=with_batch_statistics(best.network, jnp.asarray(latents)))


def _assembled(described: ModelDocument, saved: checkpoint.Checkpoint, prefix: str, where: Path) -> Generator:
    recipe, classes = Recipe.from_json(described.recipe), described.classes
    empty = blank(recipe, described.shape, len(classes or ()), described.members)
    network = inference_mode(checkpoint.restored(empty, saved.arrays, prefix))
    checkpoint.require_finite(network, where)
    return Generator(recipe, described.shape, classes, network)
