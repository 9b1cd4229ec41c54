"""Gradients of what a long inner run comes to, with respect to the parameters that steer it.

The inner run is unrolled a truncation at a time, and its loss is the sum over the truncations. `persistent` and `whole`
are unbiased (but for the Gaussian smoothing), `truncated` and `differentiated` over less than the run are not: they do
not see what a truncation does to those after it. Tests hold all of them against a quadratic game whose gradient is
known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mulligan.errors import optional_import
from mulligan.types import Key, Pytree

Parameters = Float[Array, " d"]


class InnerProblem(NamedTuple):
    """What is steered.

    `init(key) -> state`, a fresh inner run; `unroll(parameters [d], state) -> (state, loss [])`, one truncation,
    without randomness of its own: keys are in the state, so that runs of one key see the same noise. A run has
    `truncations` of them, and `size` is the number of parameters.
    """

    init: Callable[[Key], Pytree]
    unroll: Callable[[Parameters, Pytree], tuple[Pytree, Float[Array, ""]]]
    truncations: int
    size: int


class GradientEstimate(NamedTuple):
    """A gradient, and the mean loss of the truncations that it was made of."""

    gradient: Parameters
    loss: Float[Array, ""]


class Estimator(NamedTuple):
    """`init(key) -> memory`; `estimate(parameters, memory, key) -> (GradientEstimate, memory)`. Both are jit clean.

    An estimate covers `truncations` of the run; the gradient of all of it is the sum over the estimates of one run.
    """

    init: Callable[[Key], Any]
    estimate: Callable[[Parameters, Any, Key], tuple[GradientEstimate, Any]]
    truncations: int


class Particles(NamedTuple):
    """Inner runs on their way: `2 pairs` of them; the second half see the first half's keys, and its noise mirrored."""

    runs: Pytree
    stage: Int[Array, ""]  # truncations behind them
    search: Any  # of evosax: among others the perturbations added up since the runs began


def persistent(inner: InnerProblem, deviation: float, pairs: int) -> Estimator:
    """Persistent evolution strategies (Vicol et al. 2021, arXiv 2112.13835, equation 9), by evosax.

    Every truncation has its own perturbation, and its loss is credited to the sum of those since the run began: an
    estimate a truncation rather than a run, for a variance that grows with the truncations behind.

    Args:
      deviation: of the perturbations, > 0.
      pairs: of runs, >= 1.

    Raises:
      MulliganError: evosax is not installed.
    """
    return _searching(inner, deviation, pairs, remembered=inner.truncations)


def truncated(inner: InnerProblem, deviation: float, pairs: int) -> Estimator:
    """Evolution strategies a truncation at a time, that forget what they did in the truncations before: biased.

    Arguments as of `persistent`.

    Raises:
      MulliganError: evosax is not installed.
    """
    return _searching(inner, deviation, pairs, remembered=1)


def whole(inner: InnerProblem, deviation: float, pairs: int) -> Estimator:
    """Evolution strategies over whole runs, each with one perturbation (Salimans et al. 2017, arXiv 1703.03864).

    Arguments as of `persistent`.

    Raises:
      MulliganError: evosax is not installed.
    """

    unroll = lambda parameters, state: _unrolled(inner, parameters, state, inner.truncations)  # noqa: E731
    estimator = _searching(inner._replace(unroll=unroll, truncations=1), deviation, pairs, remembered=1)
    return estimator._replace(truncations=inner.truncations)


def differentiated(inner: InnerProblem, runs: int, truncations: int) -> Estimator:
    """The mean gradient of `runs` runs through `truncations` truncations, whatever these owe to the parameters before.

    Over the whole run it is exact; over less it is biased (truncated backpropagation), and cheap.
    """

    def init(key: Key) -> tuple[Pytree, Int[Array, ""]]:
        return jax.lax.map(inner.init, jax.random.split(key, runs)), jnp.zeros((), jnp.int32)

    def estimate(parameters: Parameters, memory: Any, key: Key) -> tuple[GradientEstimate, Any]:
        states, stage = memory
        states = jax.lax.cond(stage == 0, lambda: init(key)[0], lambda: states)

        def one(state: Pytree) -> tuple[Parameters, Float[Array, ""], Pytree]:
            def loss(parameters: Parameters) -> tuple[Float[Array, ""], Pytree]:
                after, total = _unrolled(inner, parameters, state, truncations)
                return total, after

            (total, after), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
            return gradient, total, after

        gradients, losses, states = jax.lax.map(one, states)
        memory = states, (stage + truncations) % inner.truncations
        return GradientEstimate(gradients.mean(axis=0), losses.mean() / truncations), memory

    return Estimator(init, estimate, truncations)


def _unrolled(
    inner: InnerProblem, parameters: Parameters, state: Pytree, truncations: int
) -> tuple[Pytree, Float[Array, ""]]:
    """The sum of the losses of several truncations."""
    state, losses = jax.lax.scan(lambda state, _: inner.unroll(parameters, state), state, None, truncations)
    return state, losses.sum()


def _searching(inner: InnerProblem, deviation: float, pairs: int, remembered: int) -> Estimator:
    """Evosax's persistent strategies, whose perturbations are forgotten every `remembered` truncations."""
    with optional_import("evosax", "learning a schedule by evolution", "evolution"):
        from evosax.algorithms import PersistentES  # brings flax with it

    # Descent with a rate of 1 from zero: what it comes to is the negative gradient.
    descent = optax.sgd(1.0)
    constant = optax.constant_schedule(deviation)
    strategy = PersistentES(2 * pairs, jnp.zeros(inner.size), descent, constant, metrics_fn=lambda *told: {})
    horizon = strategy.default_params.replace(T=remembered, K=1)

    def begun(key: Key) -> Pytree:
        keys = jax.random.split(key, pairs)
        return jax.lax.map(inner.init, jnp.concatenate([keys, keys]))

    def init(key: Key) -> Particles:
        search = strategy.init(key, jnp.zeros(inner.size), horizon)
        return Particles(begun(key), jnp.zeros((), jnp.int32), _firm(search))

    def estimate(parameters: Parameters, memory: Particles, key: Key) -> tuple[GradientEstimate, Particles]:
        run_key, ask_key, tell_key = jax.random.split(key, 3)
        runs = jax.lax.cond(memory.stage == 0, lambda: begun(run_key), lambda: memory.runs)
        population, asked = strategy.ask(ask_key, memory.search.replace(mean=parameters), horizon)
        runs, losses = jax.lax.map(lambda each: inner.unroll(*each), (population, runs))
        centred = asked.replace(mean=jnp.zeros(inner.size))
        search, _ = strategy.tell(tell_key, population, losses, centred, horizon)
        stage = (memory.stage + 1) % inner.truncations
        return GradientEstimate(-search.mean, losses.mean()), Particles(runs, stage, _firm(search))

    return Estimator(init, estimate, truncations=1)


def _firm(search: Any) -> Any:
    """Python numbers in evosax's state as arrays, so that it keeps its types from one call to the next."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.result_type(leaf)), search)
