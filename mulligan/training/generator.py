"""A trained generator as people hold it: sample it, save it, load it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from mulligan import schema
from mulligan.commands import command
from mulligan.documents import read_sealed, write_sealed
from mulligan.errors import MulliganError, UsageError, newer_format
from mulligan.files import make_folder, replace_file
from mulligan.grid import grid, png, save_grid
from mulligan.networks.architecture import build
from mulligan.networks.keras import inference_mode, with_batch_statistics
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Recipe
from mulligan.schema import Within
from mulligan.training import checkpoint, hub
from mulligan.training.card import NAME as CARD
from mulligan.training.card import CardFacts, card
from mulligan.training.engine import Sampler
from mulligan.training.latents import LatentPrior, truncated
from mulligan.training.projection import Progress, Projection, Projector
from mulligan.training.run import FORMAT, RunFolder, Shape
from mulligan.types import Pytree

SETTLING = 2000  # samples that moving statistics are taken of, where a run has not ended yet
MODEL, WEIGHTS, PROOF = "generator.json", "generator.safetensors", "proof.json"
PRIOR, MOST_POINTS = "prior", 100_000  # of the names of its arrays, and latents that it can weigh
SAMPLES, GRID_IMAGES = "samples.png", 64  # beside the card on the hub
NOTEBOOK_IMAGES, NOTEBOOK_COLUMNS, NOTEBOOK_PIXELS = 24, 8, 64


@dataclass(frozen=True)
class ModelDocument:
    """What `generator.json` holds at least (docs/run-folder.md)."""

    format: int
    recipe: dict[str, Any]
    shape: Shape
    classes: tuple[str, ...] | None
    members: Annotated[int, Within(1, 1000)] = 1
    result: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    licence: str | None = None
    proof: str | None = None
    points: Annotated[int, Within(0, MOST_POINTS)] = 0


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
      data: `name`, `hash` and `counts` of the images that it was trained on, and names of those that `taught` the
        networks which it began with; None where that is not known.
      licence: of those images, if somebody stated it.
      proof: what `mulligan prove` said in words, if that was asked.
      prior: where latents are drawn; None for normal ones.
    """

    recipe: Recipe
    shape: tuple[int, int, int]
    classes: tuple[str, ...] | None
    network: Pytree
    run: Path | None = None
    result: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    licence: str | None = None
    proof: str | None = None
    prior: LatentPrior | None = None

    def __repr__(self) -> str:
        height, width, channels = self.shape
        parts = [f"{width}x{height}x{channels}"]
        parts += [f"{len(self.classes)} classes"] if self.classes else []
        parts += [f"KID@{self.result['embedding']} {self.result['kid']:.3g}"] if self.result else []
        return f"<mulligan generator: {', '.join([*parts, *([str(self.run)] if self.run else [])])}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows of it: samples."""
        return png(grid(self.sample(NOTEBOOK_IMAGES), NOTEBOOK_COLUMNS, max(1, NOTEBOOK_PIXELS // max(self.shape[:2]))))

    @property
    def latent(self) -> int:
        """Dimension of the latent space."""
        return self.recipe.architecture.latent

    @property
    def members(self) -> int:
        """Networks that it draws from: 1, or more for a mixture."""
        return len(self.network.members) if isinstance(self.network, Mixture) else 1

    def largest_member(self) -> Generator:
        """Of a mixture the network that draws most of its images, as a generator; else this one."""
        if not isinstance(self.network, Mixture):
            return self
        return replace(self, network=self.network.members[int(np.argmax(self.network.weights))])

    @cached_property
    def sampler(self) -> Sampler:
        """Compiled once, with the first images that it draws."""
        return replace(Sampler.make(self.recipe.architecture, len(self.classes or ())), prior=self.prior)

    @cached_property
    def projector(self) -> Projector:
        """Compiled once, with the first images that it finds latents of."""
        return Projector.make(self.sampler, self.network)

    def sample(
        self, n: int, seed: int = 0, labels: Any = None, truncation: float = 1.0
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draws `n` images, uint8 `[n, h, w, c]`; the same for the same seed.

        Args:
          n: at least 1.
          seed: of the latents.
          labels: for a conditional generator: `n` class numbers, or one for all; left out, the classes in turn.
          truncation: factor on the latents, 0 to 3: below 1 more typical and more alike, above it stranger.

        Raises:
          UsageError: `n` below 1, labels that this generator does not have, or another truncation.
        """
        if n < 1:
            raise UsageError(f"cannot draw {n} images: ask for at least one.")
        return self.draw(truncated(self.latents(n, seed), truncation), labels)

    def latents(self, n: int, seed: int = 0) -> Float[np.ndarray, "n latent"]:
        """The latents that `sample` draws, for the network itself or for a model that was exported; float32.

        The first are the same for every `n`. They are normal, or where weights were found for them, drawn around those
        whose images come nearest to the training images (`mulligan.training.reweighting`).
        """
        return self.sampler.latents(n, seed)

    def draw(self, latents: Float[np.ndarray, "n d"], labels: Any = None) -> UInt8[np.ndarray, "n h w c"]:
        """The images of these latents, uint8 `[n, h, w, c]`; labels as for `sample`.

        Raises:
          UsageError: latents of another dimension, or labels that this generator does not have.
        """
        if latents.shape[1] != self.latent:
            raise UsageError(f"latents of this generator have {self.latent} numbers each, not {latents.shape[1]}.")
        return self.sampler(self.network, latents, self._labels(len(latents), labels))

    def project(self, images: Any, labels: Any = None, told: Progress = lambda share: None) -> Projection:
        """Finds latents whose images come near to the given ones; see `mulligan.training.projection`.

        Args:
          images: uint8 `[n, h, w, c]`, n at least 1, of the shape that this generator draws.
          labels: for a conditional generator: `n` class numbers, or one for all; left out, each image gets the class
            that comes nearest.
          told: called now and then with the share that is done.

        Raises:
          UsageError: images of another shape or type, or labels that this generator does not have.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.shape or not len(images):
            wanted = "x".join(map(str, self.shape))
            raise UsageError(
                f"this generator takes uint8 images [n, h, w, c] of {wanted}, not {images.dtype} {list(images.shape)}; "
                "`mulligan project` brings photographs to its shape."
            )
        return self.projector(images, self._labels(len(images), labels), told)

    def class_number(self, name: str) -> int:
        """The number of the class of this name.

        Raises:
          UsageError: it knows no such class.
        """
        if name not in (self.classes or ()):
            known = f"it knows {', '.join(self.classes)}" if self.classes else "it was trained without labels"
            raise UsageError(f"this generator has no class {name!r}: {known}.")
        return (self.classes or ()).index(name)

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

    def save(self, path: Path | str, licence: str | None = None) -> None:
        """Writes the generator into a folder, for `mulligan.load`: weights (safetensors), the rest (JSON), and a card.

        Args:
          path: the folder; what `save` wrote there before is replaced.
          licence: of the images that it was trained on, such as `CC-BY-4.0`; None for what was stated before.

        Raises:
          MulliganError: the folder cannot be made or written.
        """
        folder = make_folder(Path(path))
        self._written(folder, licence).write_card(folder / CARD)

    def _written(self, folder: Path, licence: str | None) -> Generator:
        """Writes all but the card; the generator with the licence that is stated, as it is written."""
        stated = replace(self, licence=licence or self.licence)
        arrays = checkpoint.arrays_of(self.network, "gen")
        arrays |= {f"{PRIOR}.{name}": array for name, array in self.prior._asdict().items()} if self.prior else {}
        checkpoint.write(folder / WEIGHTS, arrays, {})
        described = {"format": FORMAT, "recipe": self.recipe.to_json(), "shape": list(self.shape)}
        described |= {"classes": self.classes and list(self.classes), "members": self.members, "result": self.result}
        described |= {"data": self.data, "licence": stated.licence, "proof": self.proof}
        described |= {"points": len(self.prior.points) if self.prior else 0}
        write_sealed(folder / MODEL, described)
        return stated

    def write_card(self, file: Path, name: str | None = None, picture: str | None = None) -> None:
        """Writes a card: what it was trained on, how good it is by which protocol, its limits, how to load it.

        Args:
          file: Markdown, such as `card.md`.
          name: by which it is loaded; the file's folder where not given.
          picture: a file beside the card that shows samples.

        Raises:
          OSError: the file cannot be written.
        """
        facts = CardFacts(
            self.recipe,
            self.shape,
            self.classes,
            self.members,
            self.data,
            self.licence,
            self.result,
            self.proof,
            name or str(file.parent),
            picture,
        )
        replace_file(file, card(facts).encode())

    def push_to_hub(self, name: str, private: bool = False, licence: str | None = None) -> str:
        """Puts the generator on the Hugging Face hub, with its card and a grid of samples; its address there.

        `mulligan.load("hf:user/name")` takes it from there. Its weights may reveal training images.

        Args:
          name: `user/name`.
          private: whether a new repository is seen by its owner alone.
          licence: of the images that it was trained on; None for what was stated before.

        Raises:
          UsageError: no such name.
          MulliganError: huggingface_hub is not installed, or the hub refuses.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            stated = self._written(folder, licence)
            save_grid(folder / SAMPLES, self.sample(GRID_IMAGES))
            stated.write_card(folder / "README.md", f"{hub.PREFIX}{name}", SAMPLES)
            return hub.upload(folder, name, private)


def blank(recipe: Recipe, shape: tuple[int, int, int], classes: int, members: int = 1) -> Pytree:
    """A generator network with the right shapes and no training, to load weights into."""
    gen = build(recipe.architecture, shape, classes, jax.random.key(0)).gen
    return gen if members == 1 else Mixture((gen,) * members, jnp.full(members, 1 / members))


def load(path: Path | str) -> Generator:
    """The generator in a folder that `Generator.save` wrote, or the best one of a run, finished or not.

    `hf:user/name` names one on the Hugging Face hub.

    Raises:
      MulliganError: neither, damaged, or written by a newer version.
    """
    folder = hub.download(str(path), (MODEL, WEIGHTS)) if str(path).startswith(hub.PREFIX) else Path(path)
    if not (folder / MODEL).is_file():
        return _best_of_run(RunFolder.open(folder))
    described = schema.read(ModelDocument, read_sealed(folder / MODEL), str(folder / MODEL), extra="ignore")
    if described.format > FORMAT:
        raise newer_format(folder, described.format, FORMAT)
    # A folder with a run in it is that run's own; one that `save` or the hub made stands for itself.
    run = folder if (folder / "run.json").is_file() else None
    saved = checkpoint.read(folder / WEIGHTS)
    proof = described.proof
    if run is not None and (run / PROOF).is_file():
        proof = read_sealed(run / PROOF)["sentence"]
    known = {"result": described.result, "data": described.data, "licence": described.licence, "proof": proof}
    return replace(_assembled(described, saved, "gen", folder / WEIGHTS), run=run, **known)


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
    return replace(best, network=with_batch_statistics(best.network, jnp.asarray(latents)), data=data_of(folder))


def data_of(folder: RunFolder) -> dict[str, Any]:
    """What a generator tells of the images that a run trained on."""
    task, run = folder.document("task"), folder.document("run")
    return {name: task[name] for name in ("name", "hash", "counts")} | {"taught": list(run.get("taught", ()))}


def _assembled(described: ModelDocument, saved: checkpoint.Checkpoint, prefix: str, where: Path) -> Generator:
    recipe, classes = Recipe.from_json(described.recipe), described.classes
    empty = blank(recipe, described.shape, len(classes or ()), described.members)
    network = inference_mode(checkpoint.restored(empty, saved.arrays, prefix))
    checkpoint.require_finite(network, where)
    prior = None
    if described.points:
        shapes = {"points": (described.points, recipe.architecture.latent), "weights": (described.points,)}
        zeros = {name: jnp.zeros(shape) for name, shape in shapes.items()}
        found = checkpoint.restored(zeros, saved.arrays, PRIOR)
        checkpoint.require_finite(found, where)
        prior = LatentPrior(**{name: np.asarray(array) for name, array in found.items()})
    return Generator(recipe, described.shape, classes, network, prior=prior)
