"""Learning a schedule: outer descent on the weights of a controller, and the region in which it may be trusted.

Every update takes the mean gradient of several games (`inner_problem`), played side by side, by evolution strategies or
through short unrolls (`outer_gradients`). Progress is saved; after an interruption all goes on but for the runs
under way, which begin anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from safetensors.numpy import save

from mulligan.errors import MulliganError
from mulligan.events import Listener
from mulligan.files import replace_file
from mulligan.meta.schedule_learning.outer_gradients import Estimator, GradientEstimate, InnerProblem, Parameters
from mulligan.schedules.controller import FACTORS, FEATURES, Controller, exponential
from mulligan.training import checkpoint
from mulligan.types import Key

MARGIN = 0.25  # of what was seen of a feature, that the region goes beyond it on each side
OUTLIERS = 0.02  # share of the runs whose extremes do not count, on each side
KEPT = 0.9  # of the running average of the parameters, an update
SAVED = 5  # updates between two saves of the progress


@dataclass(frozen=True)
class ScheduleLearningConfig:
    """How to learn.

    Attributes:
      updates: outer steps.
      rate: of Adam at first; it nears zero in half a cosine.
      decay: decoupled weight decay, towards parameters of zero.
      seed: of all randomness.
    """

    updates: int
    rate: float = 0.03
    decay: float = 0.01
    seed: int = 0


class OuterProgress(NamedTuple):
    """What outer descent keeps."""

    parameters: Parameters
    optimiser: Any
    average: Parameters  # of the parameters, over the last ten updates or so: what is learned
    updates: Int[Array, ""]  # done


class TrustRegion(NamedTuple):
    """Bounds of every feature."""

    low: Float[Array, " f"]
    high: Float[Array, " f"]


def learn_schedule(
    games: Mapping[str, Estimator],
    size: int,
    plan: ScheduleLearningConfig,
    folder: Path,
    tell: Listener,
    begin: Parameters | None = None,
) -> Parameters:
    """Descends the games' mean loss, from `begin` or from where `folder` left off; the averaged parameters.

    Args:
      games: estimators by name, each on a thread of its own.
      size: of the parameters.
      folder: for `progress.safetensors`, written now and then.
      tell: called after each update with its number, `update`, the games' `losses`, and the
        `gradient_norm`.
      begin: parameters to begin with; zero if not given.

    Raises:
      MulliganError: what the folder holds is damaged, or of other parameters.
    """
    optimiser = descent(plan)
    begin = jnp.zeros(size) if begin is None else begin
    progress = OuterProgress(begin, optimiser.init(begin), begin, jnp.zeros((), jnp.int32))
    if (saved := folder / "progress.safetensors").exists():
        progress = checkpoint.restored(progress, checkpoint.read(saved).arrays, "progress")
    key = jax.random.key(plan.seed)
    estimates = {name: jax.jit(game.estimate) for name, game in games.items()}
    memories = {name: game.init(jax.random.fold_in(key, index)) for index, (name, game) in enumerate(games.items())}
    move = jax.jit(lambda progress, gradient: moved(optimiser, progress, gradient))

    def played(name: str, update: int) -> GradientEstimate:
        own_key = jax.random.fold_in(jax.random.fold_in(key, 1000 + update), list(games).index(name))
        estimate, memories[name] = estimates[name](progress.parameters, memories[name], own_key)
        return jax.block_until_ready(estimate)

    with ThreadPoolExecutor(len(games)) as threads:
        for update in range(int(progress.updates), plan.updates):
            found = list(threads.map(lambda name, update=update: played(name, update), games))
            gradient = jnp.stack([estimate.gradient for estimate in found]).mean(axis=0)
            progress = move(progress, gradient)
            losses = {name: float(estimate.loss) for name, estimate in zip(games, found, strict=True)}
            tell({"update": update, "losses": losses, "gradient_norm": float(jnp.linalg.norm(gradient))})
            if (update + 1) % SAVED == 0 or update + 1 == plan.updates:
                folder.mkdir(parents=True, exist_ok=True)
                checkpoint.write(saved, checkpoint.arrays_of(progress, "progress"), {})
    return progress.average


def descent(plan: ScheduleLearningConfig) -> optax.GradientTransformation:
    """Adam for noisy gradients of a few hundred numbers."""
    rate = optax.cosine_decay_schedule(plan.rate, plan.updates)
    return optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=plan.decay)


def moved(optimiser: optax.GradientTransformation, progress: OuterProgress, gradient: Parameters) -> OuterProgress:
    """One outer step; a gradient that is no number is left out."""
    gradient = jnp.where(jnp.isfinite(gradient).all(), gradient, 0.0)
    move, state = optimiser.update(gradient, progress.optimiser, progress.parameters)
    parameters = jnp.asarray(optax.apply_updates(progress.parameters, move))
    kept = jnp.minimum(KEPT, (1 + progress.updates) / (10 + progress.updates))
    average = kept * progress.average + (1 - kept) * parameters
    return OuterProgress(parameters, state, average, progress.updates + 1)


def trust_region(games: Sequence[InnerProblem], parameters: Parameters, runs: int, key: Key) -> TrustRegion:
    """What a controller sees of each feature in `runs` whole runs of every game, a little widened.

    The games must be those that it was learned in (`inner_problem`); runs that failed do not count.

    Raises:
      MulliganError: every run failed.
    """

    def extremes(game: InnerProblem, key: Key) -> tuple[Array, Array]:
        run, _ = jax.lax.scan(lambda run, _: game.unroll(parameters, run), game.init(key), None, game.truncations)
        return run.state.schedule.least, run.state.schedule.most

    seen = []
    for index, game in enumerate(games):
        keys = jax.random.split(jax.random.fold_in(key, index), runs)
        seen.append(jax.jit(lambda keys, game=game: jax.lax.map(partial(extremes, game), keys))(keys))
    least, most = np.concatenate([low for low, _ in seen]), np.concatenate([high for _, high in seen])
    fine = np.isfinite(least).all(axis=1) & np.isfinite(most).all(axis=1)
    if not fine.any():
        raise MulliganError("every run failed, so there is no region to trust this schedule in: learn for longer.")
    low = np.quantile(least[fine], OUTLIERS, axis=0)
    high = np.quantile(most[fine], 1 - OUTLIERS, axis=0)
    wider = MARGIN * (high - low) + 1e-3
    return TrustRegion(jnp.asarray(low - wider, jnp.float32), jnp.asarray(high + wider, jnp.float32))


def with_trust_region(controller: Controller, trust_region: TrustRegion, decays: Mapping[str, float]) -> Controller:
    """The controller, guarded: outside of the region factors go by these decays, as those of `exponential`."""
    return controller._replace(low=trust_region.low, high=trust_region.high, fallback=exponential(decays).bias)


def save_controller(folder: Path, name: str, controller: Controller, card: Mapping[str, Any]) -> None:
    """Writes `schedule-NAME.safetensors` and its card, which `schedules.learned` reads.

    Args:
      card: what it was learned from; names of features and factors and the weights' SHA-256 are added.

    Raises:
      MulliganError: the folder cannot be written.
    """
    weights = save({field: np.asarray(array) for field, array in controller._asdict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    known = {**card, "features": FEATURES, "factors": FACTORS, "sha256": digest}
    replace_file(folder / f"schedule-{name}.safetensors", weights)
    replace_file(folder / f"schedule-{name}.json", (json.dumps(known, indent=1) + "\n").encode())
