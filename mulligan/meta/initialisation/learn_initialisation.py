"""Learns initial weights from the tasks of some sources until the time is up, and can be killed at any instant.

The same call goes on where the last one stopped, and ends bit for bit where it would have ended. Beside the file there
is a folder of checkpoints, which may be deleted once nothing more is to be learned.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
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
from mulligan.events import EpisodesTrained, Listener, SourceRead
from mulligan.files import make_folder
from mulligan.meta.initialisation.adaptation import fresh_initialisation
from mulligan.meta.initialisation.episodes import EpisodeSpec, image_pool
from mulligan.meta.initialisation.features import train_features, untrained_features
from mulligan.meta.initialisation.init_file import (
    PretrainedInit,
    grow,
    inner_game,
    read_pretrained,
    scale_latents,
    write_pretrained,
)
from mulligan.meta.initialisation.objectives import energy_objective
from mulligan.meta.initialisation.outer import (
    LEARN_SCALE,
    MetaObjective,
    OuterConfig,
    OuterState,
    initial_outer_state,
    outer_adam,
    outer_steps,
)
from mulligan.networks.convolution import lowered
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.descriptor import describe
from mulligan.tasks.families import read_family
from mulligan.training import checkpoint
from mulligan.training.device import cache_programs

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
class MetaConfig:
    """How initial weights are learned. The defaults are what was measured to be best (docs/few-images.md).

    Attributes:
      recipe: of the inner game; its learning rates are in units of the learned scale.
      algorithm: a name in `meta.initialisation.outer.OUTER`.
      updates: of the inner game while learning, which each costs.
      test_updates: of the inner game later, for more of them do better.
      tasks: of an outer step.
      support, query: images of an episode; a task must have as many of both together.
      fakes: samples that are compared with the query.
      scale: of all parameters before anything is learned, or of layers that what comes before did not have.
      rate, beta1: of the outer Adam.
      decay_steps: outer steps in which the rate rises, in a fiftieth of them, and falls to a twentieth (half a
        cosine); None for a constant rate.
      halflife: of the running average of what is learned, in outer steps.
      feature_steps: steps in which the outer objective's features are learned.
      latent_scale: of latents in what is written, times: below 1, samples differ less than while learning.
      dihedral: a task turned by quarters or mirrored is a task of its own (square images only).
      before: what is learned first, for so many outer steps, or half of the time if that is less; this begins from its
        weights, and from its scale if it learns one. Its networks may be smaller: they are grown then.
      seed: of everything.
    """

    recipe: Recipe = INNER
    algorithm: str = "maml"
    updates: int = 5
    test_updates: int = 10
    tasks: int = 4
    support: int = 4
    query: int = 12
    fakes: int = 24
    scale: float = 0.02
    rate: float = 2e-3
    beta1: float = 0.9
    decay_steps: int | None = None
    halflife: float = 1000.0
    feature_steps: int = 2000
    latent_scale: float = 1.0
    dihedral: bool = True
    before: tuple[MetaConfig, int] | None = None
    seed: int = 0


MULTITASK = MetaConfig(JOINT, "multitask", updates=1, rate=2e-3, beta1=0.0, halflife=300.0, feature_steps=1)
MAML_5 = MetaConfig(before=(MULTITASK, 3000))
MAML_10 = MetaConfig(updates=10, rate=1e-3, before=(MAML_5, 6900))
SHIPPED_CONFIG = MetaConfig(  # what made the weights that ship: minutes of a GPU, and days of a CPU
    dataclasses.replace(INNER, architecture=Architecture(gen_width=32, disc_width=16, gen_depth=1)),
    updates=10,
    tasks=32,
    scale=1e-4,
    rate=6e-4,
    decay_steps=3600,
    feature_steps=10_000,
    latent_scale=0.65,
    before=(MAML_10, 3600),
)


@dataclass(frozen=True)
class MetaRun:
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
    config: MetaConfig = MAML_10
    steps: int | None = None
    size: int | None = None


def learn_initialisation(run: MetaRun, listener: Listener = lambda event: None) -> dict[str, Any]:
    """Learns until the time is up, and writes what was learned at every checkpoint.

    Args:
      listener: called with an event for every source read and at every checkpoint.

    Returns:
      `place` of the file, `tasks` and `images` it was learned from, `steps`, `episodes` and `seconds` of learning.

    Raises:
      MulliganError: a source cannot be used, or the file was begun with others.
    """
    cache_programs()
    tasks = []
    for source in run.sources:
        family = read_family(source, size=run.size, least=2)
        tasks += family.tasks
        images = sum(len(task.train) for task in family.tasks)
        listener(SourceRead(name=source, tasks=len(family.tasks), images=images).to_json())
    pool = image_pool(tasks, least=run.config.support + run.config.query)
    event, _ = _learned(run, pool, listener)
    return event | {"place": str(run.out)}


def _learned(run: MetaRun, pool: UInt8[np.ndarray, "t n h w c"], listener: Listener) -> tuple[dict[str, Any], float]:
    """What comes before, where something does, in half of the time at most, then this.

    Returns:
      The last event of this, and the seconds of it all.
    """
    spent = 0.0
    if run.config.before is not None:
        config, steps = run.config.before
        steps = 0 if (_beside(run.out) / STEPS).is_dir() else steps  # what comes after has begun already
        out, seconds = _beside(run.out) / BEFORE, run.seconds / 2
        first = dataclasses.replace(run, out=out, config=config, steps=steps, seconds=seconds)
        _, spent = _learned(first, pool, listener)
    trainer = _MetaTrainer(dataclasses.replace(run, seconds=run.seconds - spent), pool)
    while not trainer.finished():
        trainer.train_chunk()
        listener(trainer.event())
    return trainer.event(), spent + trainer.seconds


class _MetaTrainer:
    """Meta-training on its way."""

    def __init__(self, run: MetaRun, pool: UInt8[np.ndarray, "t n h w c"]):
        self.run, self.pool = run, jnp.asarray(pool)
        self.folder = make_folder(_beside(run.out))
        hasher = hashlib.sha256(repr(run.config).encode())
        hasher.update(repr(pool.shape).encode())
        hasher.update(np.ascontiguousarray(pool).data)
        self.identity = hasher.hexdigest()[:16]  # of what is learned from what
        h, w, c = pool.shape[2:]
        self.shape = (h, w, c)
        self.config = config = dataclasses.replace(run.config, dihedral=run.config.dihedral and h == w)
        self.loss, self.seconds, self.sequence = 0.0, 0.0, 0
        rate: Any = config.rate
        if config.decay_steps is not None:
            rate = optax.warmup_cosine_decay_schedule(
                0.0, rate, config.decay_steps // 50, config.decay_steps, 0.05 * rate
            )
        episode = EpisodeSpec(config.support, config.query, config.dihedral)
        optimiser = outer_adam(rate, beta1=config.beta1)
        self.outer_config = OuterConfig(config.algorithm, config.tasks, episode, optimiser, config.halflife)
        self.state = self._initial_state()
        self.steps_per_chunk = 1
        self.last_step = 2**31 - 1 if run.steps is None else run.steps

    @cached_property
    def program(self) -> Any:
        """Compiled outer steps: `(state, pool, steps) -> (state, loss)`.

        One that is finished needs neither it nor its features.
        """
        inner = inner_game(self.config.recipe, self.shape, self.config.updates)
        path, key = self.folder / "features.safetensors", jax.random.key(self.config.seed)
        if path.is_file():
            saved = checkpoint.read(path)
            self._check(saved.progress["identity"])
            features = checkpoint.restored(untrained_features(self.pool.shape, key), saved.arrays, "features")
        else:
            features = train_features(self.pool, self.config.dihedral, self.config.feature_steps, key)
            checkpoint.write(path, checkpoint.arrays_of(features, "features"), {"identity": self.identity})
        objective = MetaObjective(inner, energy_objective(features, inner.game.latent, self.config.fakes))
        program = jax.jit(
            lambda state, pool, steps: outer_steps(objective, self.outer_config, state, pool, steps), donate_argnums=0
        )
        with lowered("matmul"):  # each task of a batch has kernels of its own
            return program.lower(self.state, self.pool, jnp.int32(1)).compile()

    def finished(self) -> bool:
        return self.seconds >= self.run.seconds or int(self.state.steps) >= self.last_step

    def train_chunk(self) -> None:
        """Takes outer steps for about as long as lies between two checkpoints; then writes one.

        Raises:
          MulliganError: the loss is not finite, or the folder cannot be written.
        """
        program, began = self.program, time.monotonic()  # compiling is not learning
        steps = min(self.steps_per_chunk, self.last_step - int(self.state.steps))
        self.state, loss = program(self.state, self.pool, jnp.int32(steps))
        self.loss = float(loss)
        spent = time.monotonic() - began
        if not np.isfinite(self.loss):
            raise MulliganError(
                "learning initial weights met numbers that are not finite: lower the rate or the scale."
            )
        self.seconds += spent
        left = max(self.run.seconds - self.seconds, 0.0)
        self.steps_per_chunk = max(1, int(steps / spent * min(SAVE_SECONDS, left)))
        self._save()

    def event(self) -> dict[str, Any]:
        steps = int(self.state.steps)
        episodes = steps * self.config.tasks
        return EpisodesTrained(
            steps=steps,
            episodes=episodes,
            tasks=len(self.pool),
            images=int(np.prod(self.pool.shape[:2])),
            loss=round(self.loss, 6),
            seconds=round(self.seconds, 3),
            speed=round(episodes / self.seconds, 3) if self.seconds else None,
        ).to_json()

    def _initial_state(self) -> OuterState:
        net_key, key = jax.random.split(jax.random.key(self.config.seed))
        fresh = fresh_initialisation(self.config.recipe.architecture, self.shape, self.config.scale, net_key)
        if self.config.before is not None:
            earlier = grow(
                read_pretrained(self.folder / BEFORE), self.config.recipe.architecture, self.config.scale, net_key
            )
            scaled = self.config.before[0].algorithm in LEARN_SCALE
            fresh = earlier if scaled else fresh._replace(centre=earlier.centre)
        state = initial_outer_state(self.outer_config, fresh, key)
        saved, _ = checkpoint.newest(self.folder / STEPS) if (self.folder / STEPS).is_dir() else (None, [])
        if saved is None:
            return state
        self._check(saved.progress["identity"])
        self.seconds, self.sequence = saved.progress["seconds"], saved.progress["sequence"]
        return checkpoint.restored(state, saved.arrays, "outer")

    def _check(self, identity: str) -> None:
        if identity != self.identity:
            raise MulliganError(
                f"{self.run.out} was begun with other images or settings: give another file, or delete {self.folder}."
            )

    def _save(self) -> None:
        self.sequence += 1
        folder = make_folder(self.folder / STEPS)
        progress = {"identity": self.identity, "seconds": self.seconds, "sequence": self.sequence}
        path = checkpoint.path_of(folder, self.sequence)
        checkpoint.write(path, checkpoint.arrays_of(self.state, "outer"), progress)
        checkpoint.prune(folder, keep=())

        # What was learned so far, as it is used: its average.
        event = self.event()
        known = ("tasks", "images", "episodes", "seconds")
        saw = {name: event[name] for name in known} | {
            "sources": [Path(source).name for source in self.run.sources],
            "descriptor": describe(event["images"], np.asarray(self.pool[:, 0])[:1024], 0),
            "config": {**dataclasses.asdict(self.config), "recipe": None, "before": None},
        }
        learned = scale_latents(self.state.average, self.config.latent_scale)
        pretrained = PretrainedInit(learned, self.config.recipe, self.shape, self.config.test_updates, saw)
        write_pretrained(self.run.out, pretrained)


def _beside(out: Path) -> Path:
    """The folder of what is needed to go on."""
    return out.with_name(out.name + ".learning")
