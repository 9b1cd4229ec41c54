"""Scoring a generator while it trains, against images that it does not train on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from mulligan.metrics import EMBEDDING
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.memorisation import memorisation
from mulligan.metrics.score import Reference, final_metrics, make_reference, validation_metrics_of
from mulligan.metrics.selection import KID
from mulligan.tasks.collection import drawn
from mulligan.tasks.task import Split, Task
from mulligan.training.engine import Sampler
from mulligan.training.latents import LatentPrior
from mulligan.types import Pytree

FAKES = 1000  # generated images an evaluation
REALS = 2000  # real images it compares them with, at most
FINAL_FAKES = 2000
TRAIN_REALS = 10_000  # training images that the final score looks for copies of, at most
# Large images are judged by fewer, so that neither seconds nor bytes grow with their pixels.
FAKE_PIXELS, FEWEST_FAKES = 2**23, 250  # of the generated images of an evaluation; the final score takes twice as many
REAL_PIXELS, FEWEST_REALS = 2**24, 1000  # of real images that are held at a time
FEW = 200  # training images up to which every evaluation looks for copies of them
SHIFT = 2  # pixels by which a single image is moved to be compared with
OVERHEAD_FLOPS = 1e10  # bootstrap, transfers, pictures: what a core could compute in that time
LATENT_SEED = 20_010  # evaluations of one run share their latents, so that they differ by the generator alone


@dataclass(frozen=True)
class Evaluator:
    """Scores generators of one run on one split."""

    sampler: Sampler
    reference: Reference
    split: str
    labels: np.ndarray | None  # of the real images, drawn as often as they occur
    n: int  # generated images an evaluation
    latent_seed: int = LATENT_SEED
    copied: Reference | None = None  # few training images, that samples may become copies of
    own: Int[np.ndarray, " n"] | None = None  # rows of the real images among `known`, where training images judge

    @staticmethod
    def make(task: Task, sampler: Sampler, split: str, embedding: str = EMBEDDING) -> Evaluator:
        """An evaluator on `split`, or on what judges in its place where it is too small (`Task.judge`).

        Args:
          task: whose images judge.
          sampler: draws the generators' images.
          split: validation or test.
          embedding: in which images are compared, by name.

        Raises:
          MulliganError: no such embedding.
        """
        judge, part = task.judge(split)
        reference = make_reference(load_embedding(embedding), examples(part, REALS), limit=REALS)
        # One draw for all evaluations, so that they differ by the generator alone.
        labels = None
        if task.classes is not None and task.train.labels is not None:
            labels = np.random.default_rng(LATENT_SEED).choice(task.train.labels, max(FAKES, FINAL_FAKES))
        own = own_rows(task.train, REALS) if judge == "train" else None
        height, width, _ = task.shape
        n = min(FAKES, max(FAKE_PIXELS // (height * width), FEWEST_FAKES))
        evaluator = Evaluator(sampler, reference, judge, labels, n, own=own)
        few = 1 < len(task.train) <= FEW
        return replace(evaluator, copied=evaluator.known(task)) if few else evaluator

    def drawing(self, prior: LatentPrior | None) -> Evaluator:
        """The same evaluator, of images from latents of this prior."""
        return replace(self, sampler=replace(self.sampler, prior=prior))

    def fakes(self, gen: Pytree, n: int) -> np.ndarray:
        """The generator's images for the latents that all evaluations share."""
        labels = None if self.labels is None else self.labels[:n]
        return self.sampler(gen, self.sampler.latents(n, self.latent_seed), labels)

    def features(self, gen: Pytree) -> Float[np.ndarray, "m j"]:
        """Features and pixels, as the reference has them, of the images that an evaluation judges."""
        return self.reference.space(self.fakes(gen, self.n))

    def __call__(self, gen: Pytree) -> dict[str, Any]:
        """The entries of an `evaluation` event that depend on the generator."""
        started = time.monotonic()
        joint = self.features(gen)
        scores = validation_metrics_of(self.reference, joint)
        if self.copied is not None:
            features = self.reference.columns(KID, joint)
            found = memorisation(features, self.copied.features, self.reference.features, self.own)
            scores |= {"memorisation": found._asdict()}
        return {"split": self.split, **scores, "spent": round(time.monotonic() - started, 3)}

    def known(self, task: Task) -> Reference:
        """The training images that copies are looked for among."""
        return make_reference(self.reference.embedding, examples(task.train, TRAIN_REALS), limit=TRAIN_REALS)

    def final(self, known: Reference, gen: Pytree) -> dict[str, Any]:
        """Every metric, once, at the end."""
        fakes = self.fakes(gen, min(FINAL_FAKES, 2 * self.n))
        return {"split": self.split, **final_metrics(self.reference, known, fakes, own=self.own)}

    def flops(self, gen_flops: float, height: int, width: int) -> float:
        """Roughly what one evaluation costs, from a generator's cost an image: for deciding how often to evaluate."""
        kernels = 3 * self.n * REALS * 2 * self.reference.embedding.dimension
        return self.n * (gen_flops + self.reference.embedding.flops(height, width)) + kernels + OVERHEAD_FLOPS


def own_rows(train: Split, n: int) -> Int[np.ndarray, " k"]:
    """Where `examples(train, n)` are among `examples(train, TRAIN_REALS)`; -1 for those that are not.

    Args:
      train: the training images.
      n: of those that judge.

    Returns:
      int [k], k as `examples` gives.
    """
    if len(train) == 1:
        return np.arange(len(examples(train, n)))
    some, known = (drawn(len(train), bounded(wanted, train), 0) for wanted in (n, TRAIN_REALS))
    place = np.minimum(np.searchsorted(known, some), len(known) - 1)
    return np.where(known[place] == some, place, -1)


def bounded(n: int, split: Split) -> int:
    """How many images of a split stand for it where `n` are wanted: fewer of large ones.

    Example:
      >>> [bounded(10_000, Split(np.zeros((1, side, side, 3), np.uint8))) for side in (64, 128, 256)]
      [4096, 1024, 1000]
    """
    height, width = split.whole.shape[1:3]
    return min(n, max(REAL_PIXELS // (height * width), FEWEST_REALS))


def examples(split: Split, n: int) -> UInt8[np.ndarray, "k h w c"]:
    """At most `n` images of a split, as many as `bounded` says; a single one comes with its shifts, for two images are
    the least to compare.
    """
    images = split.sample(bounded(n, split), seed=0)
    if len(images) > 1:
        return images
    moves = [(down, right) for down in (0, -SHIFT, SHIFT) for right in (0, -SHIFT, SHIFT)]
    return np.concatenate([np.roll(images, move, axis=(1, 2)) for move in moves])
