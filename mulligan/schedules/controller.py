"""A controller: what a run sees of itself, to how fast each of its hyperparameters is to change.

The log of each factor moves at a velocity, in nats a budget, that a small network makes of the features below. With all
weights at zero but the bias, velocities are constant: the article's `eta0 * exp(-eta1 * t)` is the simplest member.
How a controller is called while training is in `mulligan.schedules.learned`; how one is learned in
`mulligan.meta.schedule_learning.learn_schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mulligan.recipe import Hyperparameters
from mulligan.types import Loss, StepInfo

FACTORS = ("gen_lr", "disc_lr", "gamma", "memory", "augment", "ema_nimg")  # memory is 1 / (1 - beta2) of both players
LIMITS = (100.0, 100.0, 30.0, 10.0, 10.0, 10.0)  # of the factors, and of their inverses
FASTEST = 100.0  # nats a budget
FEATURES = (
    "progress",  # share of the budget that is used up
    "inverse_time_left",  # 0.1 / (1.05 - progress): the velocity of a rate that nears zero in a line, but for its scale
    "gen_lr_over_rms",  # log10 of the learning rate over the RMS of the parameters, less its usual value of -2
    "disc_lr_over_rms",
    "gamma",  # log10
    "gen_gap",  # (loss - ideal) / ideal; these six squashed by asinh
    "disc_gap",
    "logit_gap",  # real less fake
    "real_logit_std",
    "fake_logit_std",
    "penalty",  # unweighted
    "accuracy",  # less a half
    "gen_grad_rms",  # log10, less its usual value of -3
    "disc_grad_rms",
    "gen_grad_cosine",
    "disc_grad_cosine",
    "diversity",  # log, 0 where fakes scatter as real images do
    "contrast",
    "edges",
)


class Controller(NamedTuple):
    """The network and the region in which it was learned; all float32.

    Velocities are `bias + x @ direct + tanh(x @ hidden + offset) @ out` for features `x`. Where a feature is below
    `low` or above `high` they are `fallback`.
    """

    bias: Float[Array, " k"]
    direct: Float[Array, "f k"]
    hidden: Float[Array, "f h"]
    offset: Float[Array, " h"]
    out: Float[Array, "h k"]
    low: Float[Array, " f"]
    high: Float[Array, " f"]
    fallback: Float[Array, " k"]


class Ideals(NamedTuple):
    """Both losses where real and fake images are alike."""

    gen: float
    disc: float


def ideals(loss: Loss) -> Ideals:
    """Both players' losses at zero logits.

    Example:
      >>> from mulligan.game.losses import relativistic
      >>> [round(ideal, 3) for ideal in ideals(relativistic())]
      [0.693, 0.693]
    """
    with jax.ensure_compile_time_eval():
        nothing = jnp.zeros(1)
        return Ideals(float(loss.gen(nothing, nothing)[0]), loss.ideal)


def exponential(decays: Mapping[str, float], units: int = 0) -> Controller:
    """The controller whose factors are `exp(-decay * progress)`; factors that are not listed stay at 1.

    Args:
      decays: factor to nats a budget; the article's `eta1` times the images of the whole run.
      units: hidden ones, without weight.

    Example:
      >>> float(velocities(exponential({"gen_lr": 2.0}), jnp.zeros(len(FEATURES)))[0])
      -2.0
    """
    wanted = jnp.asarray([-float(decays.get(name, 0.0)) for name in FACTORS], jnp.float32)
    f, k = len(FEATURES), len(FACTORS)
    return Controller(
        bias=wanted,
        direct=jnp.zeros((f, k)),
        hidden=jnp.zeros((f, units)),
        offset=jnp.zeros(units),
        out=jnp.zeros((units, k)),
        low=jnp.full(f, -jnp.inf, jnp.float32),
        high=jnp.full(f, jnp.inf, jnp.float32),
        fallback=wanted,
    )


def velocities(controller: Controller, features: Float[Array, " f"]) -> Float[Array, " k"]:
    """Nats a budget at which the factors' logs are to move, each within `FASTEST`."""
    units = jnp.tanh(features @ controller.hidden + controller.offset)
    free = controller.bias + features @ controller.direct + units @ controller.out
    chosen = jnp.where(inside(controller, features), free, controller.fallback)
    return jnp.clip(chosen, -FASTEST, FASTEST)


def inside(controller: Controller, features: Float[Array, " f"]) -> Array:
    """Whether every feature lies where the controller was learned; false for one that is no number."""
    return jnp.all((features >= controller.low) & (features <= controller.high))


def features(means: StepInfo, now: Hyperparameters, progress: ArrayLike, ideal: Ideals) -> Float[Array, " f"]:
    """What a controller sees.

    Args:
      means: of what the steps since the last call told.
      now: the hyperparameters in force.
      progress: share of the budget used up, 0 to 1.
    """
    stats, progress = means.stats, jnp.asarray(progress, jnp.float32)
    seen = {
        "progress": progress,
        "inverse_time_left": 0.1 / (1.05 - progress),
        "gen_lr_over_rms": _log10(now.gen_lr) - _log10(stats.gen_param_rms) + 2,
        "disc_lr_over_rms": _log10(now.disc_lr) - _log10(stats.disc_param_rms) + 2,
        "gamma": _log10(now.gamma),
        "gen_gap": jnp.arcsinh((means.gen_loss - ideal.gen) / (abs(ideal.gen) or 1.0)),
        "disc_gap": jnp.arcsinh((means.disc_loss - ideal.disc) / (ideal.disc or 1.0)),
        "logit_gap": jnp.arcsinh(means.real_logit - means.fake_logit),
        "real_logit_std": jnp.arcsinh(stats.real_logit_std),
        "fake_logit_std": jnp.arcsinh(stats.fake_logit_std),
        "penalty": jnp.arcsinh(means.penalty),
        "accuracy": means.accuracy - 0.5,
        "gen_grad_rms": _log10(stats.gen_grad_rms) + 3,
        "disc_grad_rms": _log10(stats.disc_grad_rms) + 3,
        "gen_grad_cosine": stats.gen_grad_cosine,
        "disc_grad_cosine": stats.disc_grad_cosine,
        "diversity": jnp.log(jnp.maximum(stats.diversity, 1e-3)),
        "contrast": stats.contrast,
        "edges": stats.edges,
    }
    return jnp.stack([jnp.asarray(seen[name], jnp.float32) for name in FEATURES])


def applied(values: Hyperparameters, logs: Float[Array, " k"]) -> Hyperparameters:
    """Hyperparameters times the factors of these logarithms, within what their meaning allows."""
    factor = dict(zip(FACTORS, jnp.exp(logs), strict=True))
    return values._replace(
        gen_lr=values.gen_lr * factor["gen_lr"],
        disc_lr=values.disc_lr * factor["disc_lr"],
        gamma=values.gamma * factor["gamma"],
        gen_beta2=_longer(values.gen_beta2, factor["memory"]),
        disc_beta2=_longer(values.disc_beta2, factor["memory"]),
        augment=jnp.minimum(values.augment * factor["augment"], jnp.maximum(values.augment, 0.8)),
        ema_nimg=values.ema_nimg * factor["ema_nimg"],
    )


def limited(logs: Float[Array, " k"]) -> Float[Array, " k"]:
    """Logarithms of factors within `LIMITS`."""
    most = jnp.asarray(np.log(LIMITS), jnp.float32)
    return jnp.clip(logs, -most, most)


def _longer(beta: ArrayLike, factor: ArrayLike) -> Array:
    """The beta of a memory of `factor / (1 - beta)` steps: at least 2, or what it was, and at most 1000."""
    forgotten = jnp.asarray(1 - beta)
    return 1 - jnp.clip(forgotten / factor, jnp.minimum(forgotten, 1e-3), jnp.maximum(forgotten, 0.5))


def _log10(value: ArrayLike) -> Array:
    return jnp.log10(jnp.maximum(value, 1e-12))
