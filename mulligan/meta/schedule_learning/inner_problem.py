"""Small GAN runs to learn a schedule on: what `meta.schedule_learning.outer_gradients` steers.

A run is a game of `mulligan.game` on one of a few tasks, from learning rates and gamma drawn far and wide, since a
schedule that is to put them right must see them wrong. Its loss is the logarithm of KID at the ends of its truncations,
which counts a halving the same on every task; a run whose numbers are no longer finite has the worst there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from mulligan.averaging.weights import PLAIN
from mulligan.game.step import Data, GanState, initial_state, pixels, to_bytes
from mulligan.meta.schedule_learning.outer_gradients import InnerProblem, Parameters
from mulligan.metrics.embed import Embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.networks.architecture import build
from mulligan.recipe import Recipe
from mulligan.schedules.closed import schedule
from mulligan.schedules.controller import FACTORS, FEATURES, Controller, exponential
from mulligan.schedules.learned import learned
from mulligan.tasks.task import Task
from mulligan.training.engine import chunk, make_game
from mulligan.types import Key, Pixels

FeatureMap = Callable[[Pixels], Float[Array, "n d"]]  # images in [-1, 1] to features
WEIGHTS = (0.3, 1.0)  # of the losses at the ends of the truncations
FAKES = 256  # a look
POOL, REALS = 2048, 256  # images a task: to train on, and to judge by
LEAST, WORST = 0.003, 20.0  # KID below which all is as good, and that of a failure
SCALE = 10.0  # nats a budget that a parameter of 1 stands for
LIKELY, OTHERS = (
    ("progress", "inverse_time_left", "gen_lr_over_rms", "disc_lr_over_rms"),
    0.3,
)  # features first looked to; the scale of others
SCALES = {"gen_lr": 1.0, "disc_lr": 1.0, "gamma": 0.5, "memory": 0.3, "augment": 0.3, "ema_nimg": 0.3}  # of factors


@dataclass(frozen=True)
class StartRange:
    """What runs begin with: factors on both rates together, on each alone and on gamma, and images; log-uniform."""

    rates: tuple[float, float] = (0.1, 10.0)
    apart: tuple[float, float] = (0.5, 2.0)
    gamma: tuple[float, float] = (0.2, 5.0)
    images: tuple[float, float] = (5_000.0, 14_000.0)


WIDE = StartRange()


class Pool(NamedTuple):
    """Tasks of one shape: images to train on, and features of others to judge by."""

    images: UInt8[Array, "t m h w c"]
    reals: Float[Array, "t r d"]


class Run(NamedTuple):
    """One run on its way."""

    state: GanState
    task: Int[Array, ""]
    steps: Int[Array, ""]  # of a truncation
    stage: Int[Array, ""]  # truncations behind
    latents: Float[Array, "n z"]  # that it is judged by


def embedding_features(embedding: Embedding) -> FeatureMap:
    """Judges images by features of what would be saved of them."""
    return lambda images: embedding.features(to_bytes(images))


def pixel_features(images: Pixels) -> Float[Array, "n d"]:
    """Judges by the pixels themselves: nothing to be proud of, but differentiable."""
    return images.reshape(len(images), -1)


def task_pool(tasks: Sequence[Task], judge: FeatureMap) -> Pool:
    """The tasks' training images, repeated or cut to one number, and features of their validation images.

    Where there are few of the latter, training images stand in.
    """
    images = [task.train.take(np.resize(np.arange(len(task.train)), POOL)).images for task in tasks]
    judges = [task.validation if len(task.validation) >= FAKES else task.train for task in tasks]
    others = [part.take(np.resize(np.arange(len(part)), REALS)).images for part in judges]
    reals = [judge(pixels(jnp.asarray(each))) for each in others]
    return Pool(jnp.asarray(np.stack(images)), jnp.stack(reals))


def gan_problem(
    recipe: Recipe, task_pool: Pool, judge: FeatureMap, start: Controller, span: StartRange = WIDE
) -> InnerProblem:
    """Runs of a recipe on the tasks of a pool, steered by a controller.

    Its parameters are offsets from `start` (see `with_offsets`), whose bounds are ignored: learning is not guarded.
    Where `span.images` is one number, all runs have the same length and `outer_gradients.differentiated` can be
    used.

    Raises:
      MulliganError: no game can be made of the recipe, or one of its schedules has no end.
    """
    h, w, c = task_pool.images.shape[2:]
    shape = (h, w, c)
    plain = make_game(recipe, shape, 0, 1.0)
    free = unguarded(start)
    game = replace(plain, schedule=learned(schedule(recipe.schedules, 1.0), plain.loss, free, 1.0))

    truncation_nimg = len(WEIGHTS) * game.batch * game.disc_steps
    one_length = span.images[0] == span.images[1]
    fixed = max(round(span.images[0] / truncation_nimg), 1)

    def init(key: Key) -> Run:
        draw, task_key, network_key, game_key, latent_key = jax.random.split(key, 5)
        networks = build(recipe.architecture, shape, 0, network_key)
        # Rates and gamma far from where they should be.
        keys, usual = jax.random.split(draw, 4), recipe.hyperparameters
        together = _log_uniform(keys[0], span.rates)
        wide = usual._replace(
            gen_lr=usual.gen_lr * together * _log_uniform(keys[1], span.apart),
            disc_lr=usual.disc_lr * together * _log_uniform(keys[2], span.apart),
            gamma=usual.gamma * _log_uniform(keys[3], span.gamma),
        )
        state = initial_state(game, networks.gen, networks.disc, wide, game_key)
        images = _log_uniform(jax.random.fold_in(draw, 9), span.images)
        steps = jnp.maximum(jnp.round(images / truncation_nimg), 1).astype(jnp.int32)
        return Run(
            state=state._replace(schedule=state.schedule._replace(horizon_nimg=steps * float(truncation_nimg))),
            task=jax.random.randint(task_key, (), 0, task_pool.images.shape[0]),
            steps=steps,
            stage=jnp.zeros((), jnp.int32),
            latents=jax.random.normal(latent_key, (FAKES, game.latent)),
        )

    def unroll(parameters: Parameters, run: Run) -> tuple[Run, Float[Array, ""]]:
        controlled = run.state.schedule._replace(controller=with_offsets(free, parameters))
        before = run.state._replace(schedule=controlled)
        state, info = chunk(game, before, Data(task_pool.images[run.task]), fixed if one_length else run.steps)
        gen = game.averager.value(state.averages).get(PLAIN, state.gen)
        distance = clipped_log_kid(task_pool.reals[run.task], judge(gen(run.latents)))
        loss = jnp.where(info.finite, distance, math.log(WORST)) * jnp.asarray(WEIGHTS)[run.stage]
        return run._replace(state=state, stage=run.stage + 1), loss

    return InnerProblem(init, unroll, len(WEIGHTS), size(free))


def clipped_log_kid(reals: Float[Array, "r d"], fakes: Float[Array, "n d"]) -> Float[Array, ""]:
    """Logarithm of KID between the least and the worst; the worst for what is no number."""
    with jax.default_matmul_precision("float32"):
        found = mmd2_unbiased(reals, fakes)
    return jnp.log(jnp.clip(jnp.where(jnp.isfinite(found), found, WORST), LEAST, WORST))


# --- a controller as one vector


def random_controller(units: int, key: Key) -> Controller:
    """A controller that does nothing, with hidden units that look in random directions."""
    hidden = jax.random.normal(key, (len(FEATURES), units)) / math.sqrt(len(FEATURES))
    return exponential({}, units)._replace(hidden=hidden)


def with_offsets(start: Controller, parameters: Parameters) -> Controller:
    """`start` with these offsets on its weights, each in a unit of its own.

    The units say what is likely to matter, before anything is known: search and decay are alike in all directions.
    """
    ends = np.cumsum([leaf.size for leaf in start[:5]])[:-1]
    moves = zip(start[:5], jnp.split(parameters, ends), _units(start), strict=True)
    changed = [leaf + unit * part.reshape(leaf.shape) for leaf, part, unit in moves]
    return start._replace(**dict(zip(Controller._fields[:5], changed, strict=True)))


def offsets(start: Controller, controller: Controller) -> Parameters:
    """The parameters that steer `start` to `controller`: the inverse of `with_offsets`."""
    moves = zip(controller[:5], start[:5], _units(start), strict=True)
    return jnp.concatenate([jnp.ravel((leaf - base) / unit) for leaf, base, unit in moves])


def size(controller: Controller) -> int:
    """Parameters of a controller."""
    return sum(leaf.size for leaf in controller[:5])


def unguarded(controller: Controller) -> Controller:
    """The controller, answering everywhere."""
    f, k = controller.direct.shape[0], len(FACTORS)
    return controller._replace(
        low=jnp.full(f, -jnp.inf, jnp.float32), high=jnp.full(f, jnp.inf, jnp.float32), fallback=jnp.zeros(k)
    )


def _units(start: Controller) -> tuple[Array, ...]:
    """What a parameter of 1 stands for, of each weight."""
    by_factor = SCALE * jnp.array([SCALES[name] for name in FACTORS])
    by_feature = jnp.array([1.0 if name in LIKELY else OTHERS for name in FEATURES])
    hidden = jnp.ones_like(start.hidden) * by_feature[:, None]
    out = OTHERS * jnp.ones_like(start.out) * by_factor
    return by_factor, by_feature[:, None] * by_factor, hidden, jnp.ones_like(start.offset), out


def _log_uniform(key: Key, ends: tuple[float, float]) -> Float[Array, ""]:
    return jnp.exp(jax.random.uniform(key, (), minval=math.log(ends[0]), maxval=math.log(ends[1])))
