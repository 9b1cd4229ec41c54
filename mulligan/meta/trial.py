"""One trial: a recipe trained on a task for a fixed number of operations, and its curve.

Nothing is saved on the way and nothing is rescued: what the recipe does by itself is what is to be learned. Its curve
is taken at numbers of operations that are the same for all recipes on images of one shape, so that curves can be
compared; a longer trial of the same recipe and seed goes through the same points.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError
from mulligan.game.state import Data, GanState
from mulligan.meta.footprint import footprint
from mulligan.meta.record import DONE, FAILED, Point, Trial
from mulligan.meta.space import VERSION
from mulligan.networks.layers import ImageShape
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.task import Task
from mulligan.training.engine import Engine, Sampler, compile_engine, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.types import Pytree

YARDSTICK = Recipe(  # never changes: budgets are counted in images of it
    architecture=Architecture(gen_width=16, disc_width=16), hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3)
)
FIRST_LOOK = 1000  # images of the yardstick
GROWTH = 2**0.5  # from one look to the next
MOST_IMAGES = 16  # times those of the yardstick, that a cheaper recipe sees
POOL, POOL_BYTES = 65_536, 2**27  # images on the device, at most
CHUNKS = 4  # between two looks, at least: after each it is checked that all is well
METRICS = ("kid", "kid_low", "kid_high", "frechet", "diversity")


@dataclass(frozen=True)
class Assignment:
    """What is to be tried: `images` of the yardstick fix the operations that the recipe may take."""

    task: Task
    recipe: Recipe
    seed: int
    images: int
    seconds: float = 600.0  # limit of the training time

    @property
    def classes(self) -> int:
        return len(self.task.classes or ())

    @property
    def budget(self) -> float:
        """Operations."""
        return budget_flops(self.task.shape, self.images)

    @property
    def step_nimg(self) -> int:
        return self.recipe.batch * self.recipe.disc_steps


def budget_flops(shape: ImageShape, images: int) -> float:
    """The operations with which the yardstick sees `images` images of this shape."""
    return footprint(YARDSTICK, shape).flops_per_image * images


def looks(images: int) -> list[float]:
    """When a trial is evaluated, in images of the yardstick.

    Example:
      >>> [round(look) for look in looks(4000)]
      [1000, 1414, 2000, 2828, 4000]
    """
    number = round(np.log(images / FIRST_LOOK) / np.log(GROWTH))
    return [images / GROWTH**back for back in range(max(number, 0), -1, -1)]


def run_trial(assignment: Assignment) -> Trial:
    """Trains, evaluates on the validation split, and tells how it went. A failure is a trial too."""
    began = time.monotonic()
    course = _Course(assignment)
    try:
        reason = course.run()
        status = DONE if reason is None or reason.startswith("stopped") else FAILED
    except MulliganError as error:
        status, reason = FAILED, str(error)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        status, reason = FAILED, f"the device gave up: {str(error).splitlines()[0]}"
    return Trial(
        task=assignment.task.hash,
        recipe_json=assignment.recipe.to_json(),
        seed=assignment.seed,
        budget=assignment.budget,
        status=status,
        reason=reason,
        cost=course.cost() | {"seconds": round(time.monotonic() - began, 3)},
        curve=tuple(course.curve),
        code=version("mulligan"),
        space=VERSION,
        device=device(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Course:
    """A trial on its way."""

    def __init__(self, assignment: Assignment):
        self.assignment = assignment
        self.curve: list[Point] = []
        self.flops_per_image = 0.0
        self.nimg = 0
        self.seconds = self.cpu_seconds = self.compile_seconds = self.evaluation_seconds = 0.0

    def run(self) -> str | None:
        """Trains to the end; why it ended before, or None."""
        assignment, recipe, task = self.assignment, self.assignment.recipe, self.assignment.task
        self.flops_per_image = footprint(recipe, task.shape, assignment.classes).flops_per_image
        began = time.monotonic()
        game = make_game(recipe, task.shape, assignment.classes, float(self._images(assignment.images)))
        state = start_state(game, recipe, task.shape, assignment.classes, assignment.seed)
        data = pool(task, assignment.classes > 0)
        engine = compile_engine(game, state, data)
        sampler = Sampler.make(recipe.architecture, assignment.classes)
        evaluator = replace(_judge(task), sampler=sampler)
        evaluator.warm(state.gen)
        self.compile_seconds = time.monotonic() - began
        for look in looks(assignment.images):
            state, reason = self._train(engine, state, data, self._images(look))
            if reason:
                return reason
            averages = game.averager.value(state.averages)
            self._look(evaluator, next(iter(averages.values()), state.gen))
        return None

    def _images(self, look: float) -> int:
        """Images that this recipe sees for the operations of `look` images of the yardstick."""
        affordable = budget_flops(self.assignment.task.shape, 1) * look / self.flops_per_image
        return int(min(affordable, MOST_IMAGES * look))

    def _train(self, engine: Engine, state: GanState, data: Data, until: int) -> tuple[GanState, str | None]:
        """Trains on until so many images were seen."""
        steps = max(1, round((until - self.nimg) / self.assignment.step_nimg))
        for part in _parts(steps, CHUNKS):
            began, busy = time.monotonic(), time.process_time()
            state, info = engine.chunk(state, data, part)
            finite = bool(info.finite)  # waits for the chunk
            self.seconds += time.monotonic() - began
            self.cpu_seconds += time.process_time() - busy
            self.nimg += part * self.assignment.step_nimg
            if not finite:
                return state, f"a loss or a weight was no longer finite after {self.nimg:,} images"
            if self.seconds > self.assignment.seconds:
                return state, f"stopped at the limit of {self.assignment.seconds:g} s"
        return state, None

    def _look(self, evaluator: Evaluator, gen: Pytree) -> None:
        began = time.monotonic()
        scores = evaluator(gen)
        self.evaluation_seconds += time.monotonic() - began
        figures = {name: scores[name] for name in METRICS}
        self.curve.append(Point(self.nimg, self.nimg * self.flops_per_image, round(self.seconds, 3), figures))

    def cost(self) -> dict[str, float]:
        return {
            "images": self.nimg,
            "flops": self.nimg * self.flops_per_image,
            "training_seconds": round(self.seconds, 3),
            "training_cpu_seconds": round(self.cpu_seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "evaluation_seconds": round(self.evaluation_seconds, 3),
        }


def pool(task: Task, labelled: bool) -> Data:
    """The training images, repeated or cut to a number that depends on their shape alone.

    So one compiled program serves all tasks of a shape. Repeated over and over, each image is drawn nearly as often
    as any other.
    """
    size = min(POOL, POOL_BYTES // int(np.prod(task.shape)))
    train = task.train.take(np.random.default_rng(0).permutation(len(task.train))[:size])
    rows = np.resize(np.arange(len(train.images)), size)
    labels = jnp.asarray(train.labels[rows]) if labelled and train.labels is not None else None
    return Data(jnp.asarray(train.images[rows]), labels)


def device() -> str:
    """What a trial runs on, in a word or two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = jax.devices()[0].device_kind
    return f"{kind}, {cores} cores" if jax.default_backend() == "cpu" else kind


@lru_cache(maxsize=8)
def _judge(task: Task) -> Evaluator:
    """An evaluator whose real images are embedded once for all trials on a task in this process."""
    return Evaluator.make(task, Sampler.make(Architecture(), len(task.classes or ())), "validation")


def _parts(steps: int, parts: int) -> Iterator[int]:
    """`steps` in `parts` parts as equal as can be; empty ones are left out."""
    edges = np.linspace(0, steps, parts + 1).round().astype(int)
    return (int(part) for part in np.diff(edges) if part)
