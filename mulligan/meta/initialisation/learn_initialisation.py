"""Learns initial weights from the tasks of some sources until the time is up, and can be killed at any instant.

The same call goes on where the last one stopped, and ends bit for bit where it would have ended. Beside the file there
is a folder of checkpoints, which may be deleted once nothing more is to be learned.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import UInt8

from mulligan.errors import MulliganError
from mulligan.files import make_folder
from mulligan.meta.initialisation.adaptation import unlearned
from mulligan.meta.initialisation.episodes import Deal, pool_of
from mulligan.meta.initialisation.features import Eyes, blank_eyes, learn_eyes
from mulligan.meta.initialisation.objectives import likeness
from mulligan.meta.initialisation.outer import SCALING, Learning, Lesson, Study, go_on, outer_adam, start
from mulligan.meta.initialisation.pretrained import Start, grown, inner_of, reaching, read_start, write_start
from mulligan.networks.convolution import lowered
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.descriptor import describe
from mulligan.tasks.families import read_family
from mulligan.training import checkpoint
from mulligan.training.device import cache_programs

Listener = Callable[[dict[str, Any]], None]
SAVE_SECONDS = 60.0  # between checkpoints, about
BEFORE = "before.safetensors"
STEPS = "steps"  # the folder of checkpoints
NETWORKS = Architecture(gen_width=16, disc_width=8)
INNER = Recipe(  # played on a new task: what docs/few-images.md measured
    NETWORKS,
    penalty="none",
    batch=8,
    averages=(),
    matching=1.0,
    hyperparameters=Hyperparameters(gen_lr=1.0, disc_lr=1.0, gamma=0.0),
)
JOINT = Recipe(  # played on all tasks together
    NETWORKS, batch=16, averages=(), hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3, gamma=2.0)
)


@dataclass(frozen=True)
class Curriculum:
    """How initial weights are learned. The defaults are what was measured to be best (docs/few-images.md).

    Attributes:
      recipe: of the inner game; its learning rates are in units of the learned scale.
      algorithm: a name in `meta.initialisation.outer.OUTER`.
      updates: of the inner game while learning, which each costs; `played` of them later, for more of them do better.
      tasks: of an outer step.
      support, query: images of an episode; a task must have as many of both together.
      fakes: samples that are compared with the query.
      scale: of all parameters before anything is learned, or of layers that what comes before did not have.
      rate, beta1: of the outer Adam.
      over: outer steps in which the rate rises, in a fiftieth of them, and falls to a twentieth (half a cosine); None
        for a constant rate.
      halflife: of the running average of what is learned, in outer steps.
      eyes: steps in which the outer objective's features are learned.
      reach: of latents in what is written, times: below 1, samples differ less than while learning.
      turns: a task turned by quarters or mirrored is a task of its own (square images only).
      before: what is learned first, for so many outer steps, or half of the time if that is less; this begins from its
        weights, and from its scale if it learns one. Its networks may be smaller: they are grown then.
      seed: of everything.
    """

    recipe: Recipe = INNER
    algorithm: str = "maml"
    updates: int = 5
    played: int = 10
    tasks: int = 4
    support: int = 4
    query: int = 12
    fakes: int = 24
    scale: float = 0.02
    rate: float = 2e-3
    beta1: float = 0.9
    over: int | None = None
    halflife: float = 1000.0
    eyes: int = 2000
    reach: float = 1.0
    turns: bool = True
    before: tuple[Curriculum, int] | None = None
    seed: int = 0


TOGETHER = Curriculum(JOINT, "multitask", updates=1, rate=2e-3, beta1=0.0, halflife=300.0, eyes=1)
HALFWAY = Curriculum(before=(TOGETHER, 3000))
TAUGHT = Curriculum(updates=10, rate=1e-3, before=(HALFWAY, 6900))
BROAD = Curriculum(  # what made the weights that ship: minutes of a GPU, and days of a CPU
    dataclasses.replace(INNER, architecture=Architecture(gen_width=32, disc_width=16, gen_depth=1)),
    updates=10,
    tasks=32,
    scale=1e-4,
    rate=6e-4,
    over=3600,
    eyes=10_000,
    reach=0.65,
    before=(TAUGHT, 3600),
)


@dataclass(frozen=True)
class Course:
    """What is to be learned from, for how long, and where it is written.

    Attributes:
      sources: as `tasks.families.read_family` takes them.
      out: the file of the learned weights.
      seconds: of learning, over all calls.
      steps: outer steps after which it ends, whatever the time; None for no limit.
      size: side that all images are resampled to.
    """

    sources: Sequence[str]
    out: Path
    seconds: float
    curriculum: Curriculum = TAUGHT
    steps: int | None = None
    size: int | None = None


def learn_initialisation(course: Course, listener: Listener = lambda event: None) -> dict[str, Any]:
    """Learns until the time is up, and writes what was learned at every checkpoint.

    Args:
      listener: called with an event for every source read and at every checkpoint.

    Returns:
      `place` of the file, `tasks` and `images` it was learned from, `steps`, `episodes` and `seconds` of learning.

    Raises:
      MulliganError: a source cannot be used, or the file was begun with others.
    """
    cache_programs()
    event, _ = _learned(course, _pool(course, listener), listener)
    return event | {"place": str(course.out)}


def _learned(course: Course, pool: UInt8[np.ndarray, "t n h w c"], listener: Listener) -> tuple[dict[str, Any], float]:
    """What comes before, where something does, in half of the time at most, then this.

    Returns:
      The last event of this, and the seconds of it all.
    """
    spent = 0.0
    if course.curriculum.before is not None:
        curriculum, steps = course.curriculum.before
        steps = 0 if (_beside(course.out) / STEPS).is_dir() else steps  # what comes after has begun already
        out, seconds = _beside(course.out) / BEFORE, course.seconds / 2
        first = dataclasses.replace(course, out=out, curriculum=curriculum, steps=steps, seconds=seconds)
        _, spent = _learned(first, pool, listener)
    classroom = _Classroom(dataclasses.replace(course, seconds=course.seconds - spent), pool)
    while not classroom.over():
        classroom.lesson()
        listener(classroom.event())
    return classroom.event(), spent + classroom.seconds


def _pool(course: Course, listener: Listener) -> UInt8[np.ndarray, "t n h w c"]:
    wanted = course.curriculum.support + course.curriculum.query
    tasks = []
    for source in course.sources:
        family = read_family(source, size=course.size, least=2)
        tasks += family.tasks
        images = sum(len(task.train) for task in family.tasks)
        listener({"kind": "source", "name": source, "tasks": len(family.tasks), "images": images})
    return pool_of(tasks, wanted)


class _Classroom:
    """Learning on its way."""

    def __init__(self, course: Course, pool: UInt8[np.ndarray, "t n h w c"]):
        self.course, self.pool = course, jnp.asarray(pool)
        self.folder = make_folder(_beside(course.out))
        self.identity = _identity(course.curriculum, pool)
        h, w, c = pool.shape[2:]
        self.shape = (h, w, c)
        self.curriculum = dataclasses.replace(
            course.curriculum, turns=course.curriculum.turns and self.shape[0] == self.shape[1]
        )
        self.loss, self.seconds, self.sequence = 0.0, 0.0, 0
        self.study = _study(self.curriculum)
        self.state = self._begun()
        self.steps_a_lesson = 1

    @cached_property
    def program(self) -> Any:
        """Compiled outer steps: `(state, pool, steps) -> (state, loss)`. What is over needs neither it nor its eyes."""
        inner = inner_of(self.curriculum.recipe, self.shape, self.curriculum.updates)
        lesson = Lesson(inner, likeness(self._eyes(), inner.game.latent, self.curriculum.fakes))
        program = jax.jit(lambda state, pool, steps: go_on(lesson, self.study, state, pool, steps), donate_argnums=0)
        with lowered("matmul"):  # each task of a batch has kernels of its own
            return program.lower(self.state, self.pool, jnp.int32(1)).compile()

    def over(self) -> bool:
        return self.seconds >= self.course.seconds or self._left() <= 0

    def lesson(self) -> None:
        """Outer steps for about as long as lies between two checkpoints; then one is written."""
        program, began = self.program, time.monotonic()  # compiling is not learning
        steps = min(self.steps_a_lesson, self._left())
        self.state, loss = program(self.state, self.pool, jnp.int32(steps))
        self.loss = float(loss)
        spent = time.monotonic() - began
        if not np.isfinite(self.loss):
            raise MulliganError(
                "learning initial weights met numbers that are not finite: lower the rate or the scale."
            )
        self.seconds += spent
        left = max(self.course.seconds - self.seconds, 0.0)
        self.steps_a_lesson = max(1, int(steps / spent * min(SAVE_SECONDS, left)))
        self._save()

    def event(self) -> dict[str, Any]:
        steps = int(self.state.steps)
        episodes = steps * self.curriculum.tasks
        return {
            "kind": "lesson",
            "steps": steps,
            "episodes": episodes,
            "tasks": len(self.pool),
            "images": int(np.prod(self.pool.shape[:2])),
            "loss": round(self.loss, 6),
            "seconds": round(self.seconds, 3),
            "speed": round(episodes / self.seconds, 3) if self.seconds else None,
        }

    def _left(self) -> int:
        return 2**31 - 1 if self.course.steps is None else self.course.steps - int(self.state.steps)

    def _eyes(self) -> Eyes:
        path, key = self.folder / "eyes.safetensors", jax.random.key(self.curriculum.seed)
        turns = self.curriculum.turns
        if path.is_file():
            saved = checkpoint.read(path)
            self._check(saved.progress["identity"])
            return checkpoint.restored(blank_eyes(self.pool.shape, key), saved.arrays, "eyes")
        eyes = learn_eyes(self.pool, turns, self.curriculum.eyes, key)
        checkpoint.write(path, checkpoint.arrays_of(eyes, "eyes"), {"identity": self.identity})
        return eyes

    def _begun(self) -> Learning:
        net_key, key = jax.random.split(jax.random.key(self.curriculum.seed))
        fresh = unlearned(self.curriculum.recipe.architecture, self.shape, self.curriculum.scale, net_key)
        if self.curriculum.before is not None:
            earlier = grown(
                read_start(self.folder / BEFORE), self.curriculum.recipe.architecture, self.curriculum.scale, net_key
            )
            scaled = self.curriculum.before[0].algorithm in SCALING
            fresh = earlier if scaled else fresh._replace(centre=earlier.centre)
        state = start(self.study, fresh, key)
        saved, _ = checkpoint.newest(self.folder / STEPS) if (self.folder / STEPS).is_dir() else (None, [])
        if saved is None:
            return state
        self._check(saved.progress["identity"])
        self.seconds, self.sequence = saved.progress["seconds"], saved.progress["sequence"]
        return checkpoint.restored(state, saved.arrays, "learning")

    def _check(self, identity: str) -> None:
        if identity != self.identity:
            raise MulliganError(
                f"{self.course.out} was begun with other images or settings: "
                f"give another file, or delete {self.folder}."
            )

    def _save(self) -> None:
        self.sequence += 1
        folder = make_folder(self.folder / STEPS)
        progress = {"identity": self.identity, "seconds": self.seconds, "sequence": self.sequence}
        path = checkpoint.path_of(folder, self.sequence)
        checkpoint.write(path, checkpoint.arrays_of(self.state, "learning"), progress)
        checkpoint.prune(folder, keep=())
        write_start(self.course.out, self._start())

    def _start(self) -> Start:
        """What was learned so far, as it is used: its average."""
        event = self.event()
        known = ("tasks", "images", "episodes", "seconds")
        saw = {name: event[name] for name in known} | {
            "sources": [Path(source).name for source in self.course.sources],
            "descriptor": self._descriptor(),
            "curriculum": {**dataclasses.asdict(self.curriculum), "recipe": None, "before": None},
        }
        learned = reaching(self.state.average, self.curriculum.reach)
        return Start(learned, self.curriculum.recipe, self.shape, self.curriculum.played, saw)

    def _descriptor(self) -> dict[str, float]:
        images = np.asarray(self.pool[:, 0])
        return describe(int(np.prod(self.pool.shape[:2])), images[:1024], 0)


def _beside(out: Path) -> Path:
    """The folder of what is needed to go on."""
    return out.with_name(out.name + ".learning")


def _study(curriculum: Curriculum) -> Study:
    how = Deal(curriculum.support, curriculum.query, curriculum.turns)
    rate: Any = curriculum.rate
    if curriculum.over is not None:
        rate = optax.warmup_cosine_decay_schedule(0.0, rate, curriculum.over // 50, curriculum.over, 0.05 * rate)
    return Study(
        curriculum.algorithm,
        curriculum.tasks,
        how,
        outer_adam(rate, beta1=curriculum.beta1),
        curriculum.halflife,
    )


def _identity(curriculum: Curriculum, pool: UInt8[np.ndarray, "t n h w c"]) -> str:
    """A name for what is learned from what."""
    hasher = hashlib.sha256(repr(curriculum).encode())
    hasher.update(repr(pool.shape).encode())
    hasher.update(np.ascontiguousarray(pool).data)
    return hasher.hexdigest()[:16]
