"""`mulligan prove`: what the images of a generator are worth, and what they give away, on images it never saw."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError
from mulligan.events import Listener, ProofAdvanced
from mulligan.game.step import pixels
from mulligan.metrics.embed import Embedding, load_embedding
from mulligan.networks.architecture import build
from mulligan.proof.classifier import STEPS, Examples
from mulligan.proof.intervals import Estimate, ranking
from mulligan.proof.leakage import matched, near_copies, nearness_attack
from mulligan.proof.sentence import sentence
from mulligan.proof.usefulness import Usefulness, usefulness
from mulligan.tasks.images import read_task
from mulligan.tasks.splits import FEWEST
from mulligan.tasks.task import LabelledImages, Split, Task
from mulligan.training import checkpoint
from mulligan.training.engine import Sampler
from mulligan.training.generator import Generator, load
from mulligan.training.run import FORMAT, RunFolder

DOCUMENT = "proof"  # its name in the run folder
SEEDS = 5
FIRST_SEED = 30_010  # of the latents; nothing else in a run draws from it
REALS = 10_000  # real images that train a classifier, at most
SYNTHETIC = (1000, 5000)  # images generated for each seed: as many as there are real ones, but within these bounds
TESTED = 5000  # real test images, at most
ATTACKED = 2000  # training images, and images never trained on, that an attack is tried on, at most
DRAWN = 500  # images at a time, between two signs of progress
JUDGED = 100  # images at a time that a discriminator judges


@dataclass(frozen=True)
class Subject:
    """A generator, the images it was trained on and those it never saw."""

    generator: Generator
    task: Task
    known: bool  # the task is the run's own, so that its test split was never trained on


def prove(source: Generator | Path | str, data: Any, listener: Listener = lambda event: None) -> dict[str, Any]:
    """See `mulligan.prove`.

    Args:
      source: a generator, or where one is.
      data: of its run; images that it never saw are taken from their validation and test splits.
      listener: told how far the proof is.

    Returns:
      The document that is kept beside the run, in plain values (docs/run-folder.md).

    Raises:
      MulliganError: the data are not those of the run, or hold too few images that it never saw.
    """
    started = time.monotonic()
    subject = read_subject(source if isinstance(source, Generator) else load(source), data)
    embedding = load_embedding()
    task, (least, most) = subject.task, SYNTHETIC
    drawn = _drawn(subject.generator, embedding, min(max(len(task.train), least), most), listener)
    listener(ProofAdvanced(stage="reading real images", share=0.7).to_json())
    # Attacks are tried on images that were held out from the very images that train: the test split may be of another
    # origin where the source brings its own, and an attack must not live on that.
    reals = (_some(task.train, REALS), _some(task.test, TESTED), _some(task.validation, ATTACKED))
    train, test, held_out = (
        Examples(
            embedding(part.images),
            np.zeros(len(part.images), np.int32) if part.labels is None else part.labels.astype(np.int32),
        )
        for part in reals
    )
    found = None
    if task.classes is not None:
        listener(ProofAdvanced(stage=f"training {3 * SEEDS} classifiers", share=0.8).to_json())
        found = usefulness(train, drawn, test)
    listener(ProofAdvanced(stage="attacking", share=0.95).to_json())
    every = np.concatenate([examples.features for examples in drawn])
    copies = near_copies(every, train.features, held_out.features)
    members, others = matched(train.labels[:ATTACKED], held_out.labels[:ATTACKED])
    attacks = {"nearest neighbour": nearness_attack(train.features[members], held_out.features[others], every)}
    by_discriminator = discriminator_attack(subject)
    if by_discriminator is not None:
        attacks["discriminator"] = by_discriminator
    return {
        "format": FORMAT,
        "sentence": sentence(found, copies, attacks, task.classes or (), len(test.labels)),
        "embedding": embedding.name,
        "usefulness": None if found is None else _described(found, task.classes or ()),
        "copies": {**copies._asdict(), "excess": copies.excess._asdict(), "found": copies.found},
        "attacks": {name: attack._asdict() for name, attack in attacks.items()},
        "known": subject.known,
        "n_train": len(train.labels),
        "n_test": len(test.labels),
        "n_held_out": len(held_out.labels),
        "n_synthetic": len(drawn[0].labels),
        "seeds": SEEDS,
        "steps": STEPS,
        "spent": round(time.monotonic() - started, 3),
    }


def read_subject(generator: Generator, data: Any) -> Subject:
    """The generator with its data, read as its run read them.

    Raises:
      MulliganError: other images, another shape or other classes than the generator's, or too few of them unseen.
    """
    labels = generator.classes is not None
    size: int | None = generator.shape[0]
    if generator.run is not None:
        size = RunFolder.open(generator.run).document("run")["options"]["size"]
    task = read_task(data, size=size, labels=labels)
    if generator.run is not None and task.hash != RunFolder.open(generator.run).document("task")["hash"]:
        raise MulliganError(
            f"{data} holds other images than {generator.run} was trained on, so nobody knows which of them it never "
            "saw: give the data of the run."
        )
    if (task.shape, task.classes) != (generator.shape, generator.classes):
        raise MulliganError(f"the images or classes of {data} are not those that the generator draws.")
    if min(len(task.validation), len(task.test)) < FEWEST:
        raise MulliganError(
            f"{data} leaves {len(task.test)} images for a test and {len(task.validation)} for validation; "
            f"a proof needs at least {FEWEST} of each."
        )
    return Subject(generator, task, generator.run is not None)


def discriminator_attack(subject: Subject) -> Estimate | None:
    """Tells training images from others by the score of the run's last discriminator; None where there is none.

    Both kinds come mixed in each batch, for some discriminators look at a batch as a whole.

    Raises:
      MulliganError: the checkpoint is damaged, or fewer than two images are left on either side.
    """
    disc = _discriminator(subject)
    if disc is None:
        return None
    parts = [_some(part, ATTACKED) for part in (subject.task.train, subject.task.validation)]
    labels, classes = [part.labels for part in parts if part.labels is not None], None
    if len(labels) == len(parts):
        chosen = matched(*labels)
        parts = [LabelledImages(part.images[rows], None) for part, rows in zip(parts, chosen, strict=True)]
        classes = np.concatenate([each[rows] for each, rows in zip(labels, chosen, strict=True)])
    images = np.concatenate([part.images for part in parts])
    order = np.random.default_rng(0).permutation(len(images))
    judge = jax.jit(lambda images, labels: disc(pixels(images), labels))
    logits = np.empty(len(images))
    for start in range(0, len(order), JUDGED):
        rows = np.resize(order[start : start + JUDGED], JUDGED)  # the last batch is filled up with its own images
        chosen = None if classes is None else jnp.asarray(classes[rows], jnp.int32)
        logits[rows] = np.asarray(judge(jnp.asarray(images[rows]), chosen))
    return ranking(logits[: len(parts[0].images)], logits[len(parts[0].images) :])


def _discriminator(subject: Subject) -> Any:
    """The run's newest discriminator."""
    generator = subject.generator
    saved = checkpoint.newest(generator.run / "checkpoints")[0] if generator.run else None
    if saved is None:
        return None
    recipe = generator.recipe
    blank = build(recipe.architecture, generator.shape, len(generator.classes or ()), jax.random.key(0)).disc
    try:
        return checkpoint.restored(blank, saved.arrays, "state.disc")
    except MulliganError:  # of models whose weights are kept otherwise
        return None


def _drawn(generator: Generator, embedding: Embedding, number: int, listener: Listener) -> list[Examples]:
    """Features of generated images, new ones for each seed, of all classes alike."""
    classes = len(generator.classes or ())
    sampler = Sampler.make(generator.recipe.architecture, classes)
    labels = (np.arange(number) % max(classes, 1)).astype(np.int32)
    drawn = []
    for seed in range(SEEDS):
        latents, features = sampler.latents(number, FIRST_SEED + seed), []
        for start in range(0, number, DRAWN):
            part = slice(start, start + DRAWN)
            features.append(embedding(sampler(generator.network, latents[part], labels[part] if classes else None)))
            share = 0.7 * (seed + min(start + DRAWN, number) / number) / SEEDS
            stage = f"drawing {number:,} images, seed {seed + 1} of {SEEDS}"
            listener(ProofAdvanced(stage=stage, share=share).to_json())
        drawn.append(Examples(np.concatenate(features), labels))
    return drawn


def _some(split: Split, most: int) -> LabelledImages:
    """At most so many images of a split, drawn at random."""
    order = np.random.default_rng(0).permutation(len(split))[:most]
    return split.take(order)


def _described(found: Usefulness, names: tuple[str, ...]) -> dict[str, Any]:
    """As it is kept."""
    return {
        "verdict": found.verdict,
        "accuracy": {source: estimate._asdict() for source, estimate in found.accuracy.items()},
        "gain": found.gain._asdict(),
        "replacement": found.replacement._asdict(),
        "classes": [
            {
                "name": names[each.label],
                "n_train": each.n_train,
                "n_test": each.n_test,
                **each.accuracy,
                "gain": each.gain._asdict(),
            }
            for each in found.classes
        ],
        "harmed": [names[each.label] for each in found.harmed],
    }
