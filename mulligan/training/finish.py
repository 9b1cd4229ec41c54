"""The end of a run: the averages compared, the best one scored once on the test split, drawn and saved."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from mulligan.events import FinalScored, TotalCost
from mulligan.files import replace_file
from mulligan.grid import save_grid
from mulligan.metrics.distances import neighbours
from mulligan.metrics.memorisation import distances_to
from mulligan.metrics.score import Reference
from mulligan.networks.keras import with_batch_statistics
from mulligan.networks.mixture import Mixture
from mulligan.tasks.task import Task
from mulligan.training.budget import Allowance, choice_allowance
from mulligan.training.by_class import class_scores
from mulligan.training.choice import choose
from mulligan.training.evaluation import TRAIN_REALS, Evaluator, examples, own_rows
from mulligan.training.generator import Generator, data_of
from mulligan.training.latents import spherical
from mulligan.training.loop import Loop

SAMPLES, COLUMNS = 100, 10
WALKS, WALK_STEPS = 8, 10
SHOWN, NEAREST = 12, 4  # samples shown beside their nearest training images
TYPICAL = 1000  # unseen images whose distance to the training images is what is usual
SEED = 1
SETTLING = 2000  # samples that moving statistics are taken of, where a network has such


def finish(loop: Loop, allowance: Allowance | None = None) -> Generator:
    """Chooses, scores, draws and saves the generator of a run that has ended.

    Args:
      loop: the run.
      allowance: for comparing averages; None for what the run's budget has left.

    Raises:
      MulliganError: the run's folder cannot be written.
    """
    choice = choose(loop, allowance or choice_allowance(loop.now.progress, loop.budget))
    sampler = replace(loop.sampler, prior=choice.prior)
    gen = with_batch_statistics(choice.gen, jnp.asarray(sampler.latents(SETTLING, SEED)))
    evaluator = Evaluator.make(loop.task, sampler, "test", loop.folder.embedding())
    known = evaluator.known(loop.task)
    scores = evaluator.final(known, gen)
    real = loop.task.judge("test")[1]
    if loop.task.classes is not None and real.labels is not None:
        scores |= class_scores(sampler, gen, evaluator.reference.embedding, real, loop.task.classes)

    folder = loop.folder.path / "final"
    save_grid(folder / "samples.png", sampler(gen, sampler.latents(SAMPLES, SEED)), COLUMNS)
    # Along arcs: what lies between two normal latents on a line is shorter than any that were trained on.
    walker = gen.members[int(gen.weights.argmax())] if isinstance(gen, Mixture) else gen  # near latents may have others
    ends = sampler.latents(2 * WALKS, SEED)
    walks = np.concatenate([spherical(a, b, WALK_STEPS) for a, b in zip(ends[::2], ends[1::2], strict=True)])
    labels = np.repeat(np.arange(WALKS), WALK_STEPS) % sampler.classes if sampler.classes else None
    save_grid(folder / "interpolation.png", sampler(walker, walks, labels), WALK_STEPS)
    write_neighbours(folder / "neighbours.npz", loop.task, evaluator.fakes(gen, SHOWN), known)

    chosen = {"average": choice.average, "best_nimg": choice.nimg}
    loop.emit(FinalScored(**chosen, **scores, cost=cost(loop)))
    result = {**chosen, **scores, "cost": cost(loop)}
    task = loop.task
    data = data_of(loop.folder)
    generator = Generator(
        loop.recipe, task.shape, task.classes, gen, loop.folder.path, result, data, prior=choice.prior
    )
    generator.save(loop.folder.path)
    return generator


def cost(loop: Loop) -> TotalCost:
    """What the run took, and all that was tried before it."""
    progress, elsewhere = loop.now.progress, loop.spec.spent_by_others
    return {
        "seconds": round(loop.seconds() + elsewhere.seconds, 3),
        "training_seconds": round(progress.training_seconds, 3),
        "evaluation_seconds": round(progress.evaluation_seconds, 3),
        "images": progress.spent_nimg + elsewhere.images,
        "flops": progress.spent_nimg * progress.flops_per_image + elsewhere.flops,
    }


def write_neighbours(path: Path, task: Task, samples: UInt8[np.ndarray, "k h w c"], known: Reference) -> None:
    """Writes samples beside their nearest training images; keys as in docs/run-folder.md.

    Args:
      path: an `.npz` file, which is replaced.
      task: of the run.
      samples: of its generator.
      known: the training images, by their features.

    Raises:
      OSError: it cannot be written.
    """
    embedding = known.embedding
    near, distance = neighbours(embedding(samples), known.features, min(NEAREST, len(known.features)))
    judge, held_out = task.judge("validation")
    own = own_rows(task.train, TYPICAL) if judge == "train" else None
    typical = distances_to(known.features, embedding(examples(held_out, TYPICAL)), own)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        samples=samples,
        nearest=examples(task.train, TRAIN_REALS)[near],
        distance=distance.astype(np.float32),
        typical=np.float32(np.median(typical)),
    )
    replace_file(path, content.getvalue())
