"""One trial: a recipe trained on a task for a fixed number of operations, and its curve.

Nothing is saved on the way and nothing is rescued: what the recipe does by itself is what is to be learned. Its curve
is taken at numbers of operations that are the same for all recipes on images of one shape, so that curves can be
compared; a longer trial of the same recipe and seed goes through the same points.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError, first_line
from mulligan.game.step import Data, GanState, initial_state
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.fidelity import reference_flops, rungs
from mulligan.meta.space.space import VERSION
from mulligan.meta.store.record import DONE, FAILED, METRICS, Point, Trial
from mulligan.metrics.score import Reference, validation_metrics
from mulligan.networks.layers import ImageShape
from mulligan.networks.pretrained import initial_networks, load_initial
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.task import Split, Task
from mulligan.training.device import device_name
from mulligan.training.engine import Engine, Sampler, compile_engine, make_game
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.progress import Progress
from mulligan.training.session import Session, advance, evaluate
from mulligan.types import Key, Pytree

MOST_IMAGES = 16  # times those of the reference recipe, that a cheaper recipe sees
POOL, POOL_BYTES = 65_536, 2**27  # images on the device, at most
CHUNKS = 4  # between two rungs, at least: after each it is checked that all is well
REALS, FAKES = 1000, 500  # images that an evaluation compares: half of what a run's do, for a third of the time
PROGRAMS = 16  # compiled at a time: some 10 MB each


@dataclass(frozen=True)
class TrialSpec:
    """What is to be tried: `images` of the reference recipe fix the operations that the recipe may take."""

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
        return reference_flops(self.task.shape, self.images)

    @property
    def step_nimg(self) -> int:
        return self.recipe.batch * self.recipe.disc_steps


def run_trial(spec: TrialSpec) -> Trial:
    """Trains, evaluates on the validation split, and tells how it went. A failure is a trial too."""
    began = time.monotonic()
    runner = TrialRunner(spec)
    for rung in rungs(spec.images):
        if runner.advance(rung) is None:
            break
    return Trial(
        task=spec.task.hash,
        recipe_json=spec.recipe.to_json(),
        seed=spec.seed,
        budget=spec.budget,
        status=runner.status,
        reason=runner.reason,
        cost=runner.cost() | {"seconds": round(time.monotonic() - began, 3)},
        curve=tuple(runner.curve),
        code=version("mulligan"),
        space=VERSION,
        device=device_name(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class TrialRunner:
    """A trial on its way.

    Attributes:
      curve: points so far.
      gen: the averaged generator of the last of them, until training goes on.
      progress: what was trained and evaluated.
      status, reason: as in a `Trial`.
    """

    def __init__(self, spec: TrialSpec):
        self.spec = spec
        self.curve: list[Point] = []
        self.gen: Pytree = None
        self.status = DONE
        self.reason: str | None = None
        self.flops_per_image = 0.0
        self.progress = Progress()
        self.cpu_seconds = self.compile_seconds = 0.0
        self._session: Session | None = None

    def advance(self, rung: float) -> Point | None:
        """Trains on for as many operations as the reference recipe takes for `rung` images in all, and evaluates.

        None where it cannot go on; `reason` says why.
        """
        try:
            session = self._session = self._session or self._start()
            self._train(session, self._images(rung))
            if self.reason:
                return None
            averages = session.engine.game.averager.value(self._state.averages)
            self.gen = next(iter(averages.values()), self._state.gen)
            scores, self.progress = evaluate(session, self.gen, self.progress)
            figures, nimg = {name: scores[name] for name in METRICS}, self.progress.nimg
            point = Point(nimg, nimg * self.flops_per_image, round(self.progress.training_seconds, 3), figures)
            self.curve.append(point)
            return point
        except MulliganError as error:
            self.status, self.reason = FAILED, str(error)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            self.status, self.reason = FAILED, f"the device gave up: {first_line(error)}"
        return None

    def _start(self) -> Session:
        spec, recipe, task = self.spec, self.spec.recipe, self.spec.task
        self.flops_per_image = footprint(recipe, task.shape, spec.classes).flops_per_image
        began = time.monotonic()
        split = pool(task)
        feed = Feed(split, spec.classes > 0 and split.labels is not None, spec.seed, 0)
        game = make_game(recipe, task.shape, spec.classes, float(self._images(spec.images)))
        static = replace(recipe, hyperparameters=Hyperparameters(), schedules=())  # the recipe without what is traced
        programs = _programs(static, task.shape, spec.classes, feed.images)
        state = programs.start(jax.random.key(spec.seed), recipe.hyperparameters)
        self._state = state._replace(schedule=game.schedule.init(recipe.hyperparameters))
        evaluator = replace(_evaluator_of(task), sampler=programs.sampler)
        self.compile_seconds = time.monotonic() - began
        return Session(feed, programs.engine, evaluator, spec.step_nimg)

    def _images(self, rung: float) -> int:
        """Images that this recipe sees for the operations of `rung` reference images."""
        affordable = reference_flops(self.spec.task.shape, 1) * rung / self.flops_per_image
        return int(min(affordable, MOST_IMAGES * rung))

    def _train(self, session: Session, until: int) -> None:
        """Trains on until so many images were seen."""
        steps = max(1, round((until - self.progress.nimg) / self.spec.step_nimg))
        edges = np.linspace(0, steps, CHUNKS + 1).round().astype(int)
        for part in (int(part) for part in np.diff(edges) if part):
            busy = time.process_time()
            self._state, info, self.progress = advance(session, self._state, part, self.progress)
            self.cpu_seconds += time.process_time() - busy
            if not info.finite:
                self.status = FAILED
                self.reason = f"a loss or a weight was no longer finite after {self.progress.nimg:,} images"
                return
            if self.progress.training_seconds > self.spec.seconds:
                self.reason = f"stopped at the limit of {self.spec.seconds:g} s"
                return

    def cost(self) -> dict[str, float]:
        return {
            "images": self.progress.nimg,
            "flops": self.progress.nimg * self.flops_per_image,
            "training_seconds": round(self.progress.training_seconds, 3),
            "training_cpu_seconds": round(self.cpu_seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "evaluation_seconds": round(self.progress.evaluation_seconds, 3),
        }


@lru_cache(maxsize=2)  # trials on a task share what lies on the device
def pool(task: Task) -> Split:
    """The training images, repeated or cut to a number that depends on their shape alone.

    So one compiled program serves all tasks of a shape. Repeated over and over, each image is drawn nearly as often
    as any other.
    """
    size = min(POOL, POOL_BYTES // int(np.prod(task.shape)))
    train = task.train.take(np.random.default_rng(0).permutation(len(task.train))[:size])
    rows = np.resize(np.arange(len(train.images)), size)
    return Split(train.images[rows], None if train.labels is None else train.labels[rows])


class _Programs(NamedTuple):
    """What all recipes share that differ by hyperparameters and schedules alone."""

    start: Callable[[Key, Hyperparameters], GanState]
    engine: Engine
    sampler: Sampler


@lru_cache(maxsize=PROGRAMS)
def _programs(static: Recipe, shape: ImageShape, classes: int, images: int) -> _Programs:
    """Compiles for a pool of `images` images; every program has run once, so that timings are of training alone."""
    game = make_game(static, shape, classes, 1.0)

    learned = load_initial(static, shape)

    def make(key: Key, hyperparameters: Hyperparameters) -> GanState:
        network_key, game_key = jax.random.split(key)
        networks = initial_networks(static, shape, classes, network_key, learned)
        return initial_state(game, networks.gen, networks.disc, hyperparameters, game_key)

    start = jax.jit(make)
    state = start(jax.random.key(0), static.hyperparameters)
    labels = jnp.zeros(images, jnp.int32) if classes else None
    engine = compile_engine(game, state, Data(jnp.zeros((images, *shape), jnp.uint8), labels))
    sampler = Sampler.make(static.architecture, classes)
    sampler(state.gen, sampler.latents(1, 0))
    return _Programs(start, engine, sampler)


@lru_cache(maxsize=64)
def _evaluator_of(task: Task) -> Evaluator:
    """An evaluator whose real images are embedded once for all trials on a task in this process."""
    made = Evaluator.make(task, Sampler.make(Architecture(), len(task.classes or ())), "validation")
    reference = Reference(made.reference.embedding, made.reference.features[:REALS])
    validation_metrics(reference, np.zeros((FAKES, *task.shape), np.uint8))  # compiles what every evaluation runs
    return replace(made, reference=reference, n=FAKES, copied=None)
