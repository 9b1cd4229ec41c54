"""One trial: a recipe trained on a task for a fixed number of operations, and its curve.

Nothing is saved on the way and nothing is rescued: what the recipe does by itself is what is to be learned. Its curve
is taken at numbers of operations that are the same for all recipes on images of one shape, so that curves can be
compared; a longer trial of the same recipe and seed goes through the same points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mulligan.errors import MulliganError, first_line
from mulligan.game.step import Data, GanState, initial_state
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.fidelity import reference_flops, rungs
from mulligan.meta.space.space import VERSION
from mulligan.meta.store.record import DONE, FAILED, METRICS, Point, Trial
from mulligan.metrics.score import Reference, validation_metrics
from mulligan.networks.architecture import computing_in
from mulligan.networks.layers import ImageShape
from mulligan.networks.pretrained import initial_networks, load_initial
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.task import Split, Task
from mulligan.training.device import device_name
from mulligan.training.engine import Engine, Sampler, compile_engine, make_game
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.mesh import member_mesh
from mulligan.training.population import compile_population
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

    @property
    def flops_per_image(self) -> float:
        """Operations."""
        return footprint(self.recipe, self.task.shape, self.classes).flops_per_image

    def nimg_at(self, rung: float) -> int:
        """Images that this recipe sees for the operations of `rung` reference images."""
        affordable = reference_flops(self.task.shape, 1) * rung / self.flops_per_image
        return int(min(affordable, MOST_IMAGES * rung))

    def chunks(self, rung: float, nimg: int) -> list[int]:
        """Steps of each chunk from `nimg` images to a rung."""
        steps = max(1, round((self.nimg_at(rung) - nimg) / self.step_nimg))
        edges = np.linspace(0, steps, CHUNKS + 1).round().astype(int)
        return [int(part) for part in np.diff(edges) if part]


def run_trial(spec: TrialSpec) -> Trial:
    """Trains, evaluates on the validation split, and tells how it went. A failure is a trial too."""
    began = time.monotonic()
    runner = TrialRunner(spec)
    for rung in rungs(spec.images):
        if runner.advance(rung) is None:
            break
    return runner.ended(time.monotonic() - began)


class TrialRunner:
    """A trial on its way.

    Attributes:
      curve: points so far.
      gen: the averaged generator of the last of them, until training goes on.
      progress: what was trained and evaluated; of a trial in a population, its share of the seconds.
      status, reason: as in a `Trial`.
    """

    def __init__(self, spec: TrialSpec):
        self.spec = spec
        self.curve: list[Point] = []
        self.gen: Pytree = None
        self.status = DONE
        self.reason: str | None = None
        self.progress = Progress()
        self.cpu_seconds = self.compile_seconds = 0.0
        self._session: Session | None = None

    def advance(self, rung: float) -> Point | None:
        """Trains on for as many operations as the reference recipe takes for `rung` images in all, and evaluates.

        None where it cannot go on; `reason` says why.
        """
        try:
            if self._session is None:
                began = time.monotonic()
                self._session, [self._state] = open_trials([self])
                self.compile_seconds = time.monotonic() - began
            session = self._session
            self._train(session, rung)
            if self.reason:
                return None
            averages = session.engine.game.averager.value(self._state.averages)
            self.gen = next(iter(averages.values()), self._state.gen)
            return self.judge(session, self.gen)
        except MulliganError as error:
            self.status, self.reason = FAILED, str(error)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            self.status, self.reason = FAILED, f"the device gave up: {first_line(error)}"
        return None

    def judge(self, session: Session, gen: Pytree) -> Point:
        """Evaluates a generator of where the trial stands: the next point of its curve."""
        scores, self.progress = evaluate(session, gen, self.progress)
        figures, nimg = {name: scores[name] for name in METRICS}, self.progress.nimg
        seconds = round(self.progress.training_seconds, 3)
        point = Point.measured(nimg, nimg * self.spec.flops_per_image, seconds, figures)
        self.curve.append(point)
        return point

    def _train(self, session: Session, rung: float) -> None:
        """Trains on to a rung."""
        for part in self.spec.chunks(rung, self.progress.nimg):
            busy = time.process_time()
            self._state, info, self.progress = advance(session, self._state, part, self.progress)
            self.cpu_seconds += time.process_time() - busy
            self.check(bool(info.finite))
            if self.reason:
                return

    def check(self, finite: bool) -> None:
        """Ends the trial, with a reason, where its numbers are finite no longer or its time is up."""
        if not finite:
            self.status = FAILED
            self.reason = f"a loss or a weight was no longer finite after {self.progress.nimg:,} images"
        elif self.progress.training_seconds > self.spec.seconds:
            self.reason = f"stopped at the limit of {self.spec.seconds:g} s"

    def ended(self, seconds: float) -> Trial:
        """The trial as it went, for the experience; it took so many seconds in all."""
        return Trial(
            task=self.spec.task.hash,
            recipe_json=self.spec.recipe.to_json(),
            seed=self.spec.seed,
            budget=self.spec.budget,
            status=self.status,
            reason=self.reason,
            cost=self.cost() | {"seconds": round(seconds, 3)},
            curve=tuple(self.curve),
            code=version("mulligan"),
            space=VERSION,
            device=device_name(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def cost(self) -> dict[str, float]:
        return {
            "images": self.progress.nimg,
            "flops": self.progress.nimg * self.spec.flops_per_image if self.progress.nimg else 0.0,
            "training_seconds": round(self.progress.training_seconds, 3),
            "training_cpu_seconds": round(self.cpu_seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "evaluation_seconds": round(self.progress.evaluation_seconds, 3),
        }


def open_trials(runners: Sequence[TrialRunner]) -> tuple[Session, list[GanState]]:
    """What trains and judges, and the states that the trials begin with.

    Args:
      runners: of trials that one program can train: on one task, of one length, their recipes one `static_part`.

    Returns:
      The session, of a population where there are several, and a state for each.
    """
    spec = runners[0].spec
    split = pool(spec.task)
    mesh = member_mesh(len(runners)) if len(runners) > 1 else None
    feed = Feed(split, spec.classes > 0 and split.labels is not None, spec.seed, 0, mesh=mesh)
    programs = _programs(static_part(spec.recipe), spec.task.shape, spec.classes, feed.images, len(runners), mesh)
    states = []
    for runner in runners:
        recipe, horizon_nimg = runner.spec.recipe, float(runner.spec.nimg_at(spec.images))
        game = make_game(recipe, spec.task.shape, spec.classes, horizon_nimg)
        state = programs.start(jax.random.key(runner.spec.seed), recipe.hyperparameters)
        states.append(state._replace(schedule=game.schedule.init(recipe.hyperparameters)))
    evaluator = replace(_evaluator_of(spec.task), sampler=programs.sampler)
    return Session(feed, programs.engine, evaluator, spec.step_nimg), states


def static_part(recipe: Recipe) -> Recipe:
    """The recipe without what is traced: recipes that have it in common share their programs."""
    return replace(recipe, hyperparameters=Hyperparameters(), schedules=())


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
def _programs(
    static: Recipe, shape: ImageShape, classes: int, images: int, members: int, mesh: Mesh | None
) -> _Programs:
    """Compiles for a pool of `images` images; every program has run once, so that timings are of training alone.

    Args:
      static: the recipe without what is traced.
      shape: of the images.
      classes: 0 for none.
      images: in the pool.
      members: of the population that the engine trains; 1 for a single state, whose leaves have no rows.
      mesh: devices that share the members; None for one.
    """
    game = make_game(static, shape, classes, 1.0)

    learned = load_initial(static, shape)

    def make(key: Key, hyperparameters: Hyperparameters) -> GanState:
        network_key, game_key = jax.random.split(key)
        networks = computing_in(static.precision, initial_networks(static, shape, classes, network_key, learned))
        return initial_state(game, networks.gen, networks.disc, hyperparameters, game_key)

    start = jax.jit(make)
    state = start(jax.random.key(0), static.hyperparameters)
    labels = jnp.zeros(images, jnp.int32) if classes else None
    data = Data(jnp.zeros((images, *shape), jnp.uint8), labels)
    if members == 1:
        engine = compile_engine(game, state, data)
    else:
        rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), state)
        engine = compile_population(game, rows, data, mesh)
    sampler = Sampler.make(static.architecture, classes)
    sampler(state.gen, sampler.latents(1, 0))
    return _Programs(start, engine, sampler)


@lru_cache(maxsize=64)
def _evaluator_of(task: Task) -> Evaluator:
    """An evaluator whose real images are embedded once for all trials on a task in this process."""
    made = Evaluator.make(task, Sampler.make(Architecture(), len(task.classes or ())), "validation")
    reference = Reference(made.reference.embedding, made.reference.joint[:REALS])
    validation_metrics(reference, np.zeros((FAKES, *task.shape), np.uint8))  # compiles what every evaluation runs
    return replace(made, reference=reference, n=FAKES, copied=None)
