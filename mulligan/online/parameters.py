"""Follow-the-regularised-leader over parameters, as Optax transformations.

Each plays `w_{t+1} = argmin_w <g_1 + ... + g_t + hint, w> + R_t(w)` with a regulariser `R_t` around a
centre, so that a learned centre and a learned scale are a regulariser that was learned (Khodak, Balcan and
Talwalkar 2019, arXiv 1906.02717). The updates are `w_{t+1} - w_t`: they must be applied as they are, with
nothing chained behind them, and `update` needs the parameters.

Unlike the mirror-descent family, a change of the rate reaches back: it weighs all gradients so far anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mulligan.types import Pytree

Number = float | Float[Array, ""]
Rate = Number | Callable[[Int[Array, ""]], Any]  # a number, or a function of updates made


class FtrlState(NamedTuple):
    """What linearised FTRL remembers."""

    count: Int[Array, ""]  # updates made
    centre: Pytree
    scale: Pytree
    total: Pytree  # sum of all gradients


class AdaptiveState(NamedTuple):
    """What FTRL with an adaptive scale remembers."""

    count: Int[Array, ""]
    centre: Pytree
    total: Pytree
    squares: Pytree  # sum of all squared gradients


class ProximalState(NamedTuple):
    """What FTRL-proximal remembers; `linear` and `squares` are called `z` and `n` in the paper."""

    count: Int[Array, ""]
    centre: Pytree
    linear: Pytree
    squares: Pytree


def ftrl(rate: Rate, centre: Pytree = None, scale: Pytree = None) -> optax.GradientTransformation:
    """Linearised FTRL with `R(w) = sum_i (w_i - centre_i)**2 / (2 * rate * scale_i)`.

    So `w_{t+1} = centre - rate * scale * (g_1 + ... + g_t)`: dual averaging, which is gradient descent when
    rate and scale are constant and the run starts at the centre (Shalev-Shwartz 2012, section 2.3). On
    linear losses the regret to any `u` is at most `R(u) + rate / 2 * sum_t sum_i scale_i g_{t,i}**2`.

    Args:
      rate: > 0; a function of the number of updates made for one that changes.
      centre: like the parameters; the parameters given to `init` by default.
      scale: like the parameters, > 0; 1 by default.

    Raises:
      ValueError: (its `update`) no parameters were given.
    """
    return _linearised(rate, centre, scale, hint=jnp.zeros_like)


def optimistic_ftrl(rate: Rate, centre: Pytree = None, scale: Pytree = None) -> optax.GradientTransformation:
    """`ftrl` that takes the last gradient as a hint of the next: `w_{t+1} = centre - rate * scale * (sum g
    + g_t)`.

    At a constant rate it is optimistic mirror descent, `w_{t+1} = w_t - rate * scale * (2 g_t - g_{t-1})`
    (Rakhlin and Sridharan 2013, arXiv 1311.1869; Daskalakis et al. 2018, arXiv 1711.00141), which converges
    on the bilinear game where gradient descent diverges. Arguments as of `ftrl`.

    Raises:
      ValueError: (its `update`) no parameters were given.
    """
    return _linearised(rate, centre, scale, hint=lambda gradient: gradient)


def adaptive_ftrl(rate: Rate, centre: Pytree = None, epsilon: Number = 1e-8) -> optax.GradientTransformation:
    """`ftrl` whose scale is learned while it runs: `1 / (epsilon + sqrt(g_1**2 + ... + g_t**2))` for each
    parameter.

    AdaGrad in its dual-averaging form (Duchi, Hazan and Singer 2011, section 3, the primal-dual update
    without a further regulariser). When no gradient exceeds `epsilon`, the regret on linear losses to any
    `u` is at most `sum_i (u_i - centre_i)**2 * (epsilon + root_i) / (2 * rate) + rate * root_i`, where
    `root_i` is the root of the sum of squares.

    Args:
      rate: > 0; how far a parameter goes whose gradients all agree, over the root of their number.
      centre: like the parameters; the parameters given to `init` by default.
      epsilon: > 0.

    Raises:
      ValueError: (its `update`) no parameters were given.
    """

    def init(params: Pytree) -> AdaptiveState:
        zeros, count = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32)
        return AdaptiveState(count, _own(params, centre), zeros, jax.tree.map(jnp.copy, zeros))

    def lead(gradients: Pytree, state: AdaptiveState, params: Pytree, eta: Any) -> tuple[Pytree, AdaptiveState]:
        total = jax.tree.map(jnp.add, state.total, gradients)
        squares = jax.tree.map(lambda n, g: n + g**2, state.squares, gradients)
        leader = lambda c, g, n: c - eta * g / (epsilon + jnp.sqrt(n))  # noqa: E731
        return jax.tree.map(leader, state.centre, total, squares), state._replace(total=total, squares=squares)

    return _following(rate, init, lead)


def ftrl_proximal(
    rate: Rate,
    l1: Number = 0.0,
    l2: Number = 0.0,
    centre: Pytree = None,
    power: float = 0.5,
    initial_squares: float = 0.1,
) -> optax.GradientTransformation:
    """FTRL-proximal: each round's quadratic is around that round's play, and L1 makes exact zeros.

    `w_{t+1} = argmin_w <z, w> + l1 |w| + (n**power / (2 rate) + l2) w**2` for each parameter, with `n` the
    sum of squared gradients and `z` the sum of `g_s - (n_s**power - n_{s-1}**power) / rate * w_s`. The rule
    of `keras.optimizers.Ftrl`, where `power` is called `-learning_rate_power` (McMahan et al. 2013, "Ad
    click prediction", algorithm 1, whose lambda_2 is `2 * l2`).

    Args:
      rate: > 0.
      l1: strength of `|w - centre|`, >= 0: parameters whose `|z|` is no more are at the centre
        (at 0 exactly).
      l2: strength of `(w - centre)**2`, >= 0.
      centre: like the parameters; zeros by default.
      power: of the sum of squares, >= 0; 0 keeps the rate constant.
      initial_squares: the sum of squares before the first gradient, > 0 unless `l2` is.

    Raises:
      ValueError: (its `update`) no parameters were given.
    """

    def init(params: Pytree) -> ProximalState:
        zeros, count = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32)
        squares = jax.tree.map(lambda leaf: jnp.full_like(leaf, initial_squares), params)
        return ProximalState(count, _own(zeros, centre), zeros, squares)

    def lead(gradients: Pytree, state: ProximalState, params: Pytree, eta: Any) -> tuple[Pytree, ProximalState]:
        squares = jax.tree.map(lambda n, g: n + g**2, state.squares, gradients)

        def accumulate(z: Array, g: Array, before: Array, after: Array, w: Array, c: Array) -> Array:
            return z + g - (after**power - before**power) / eta * (w - c)

        def leader(z: Array, n: Array, c: Array) -> Array:
            return c + (jnp.clip(z, -l1, l1) - z) / (n**power / eta + 2 * l2)

        linear = jax.tree.map(accumulate, state.linear, gradients, state.squares, squares, params, state.centre)
        leaders = jax.tree.map(leader, linear, squares, state.centre)
        return leaders, state._replace(linear=linear, squares=squares)

    return _following(rate, init, lead)


def _linearised(
    rate: Rate, centre: Pytree, scale: Pytree, hint: Callable[[Array], Array]
) -> optax.GradientTransformation:
    def init(params: Pytree) -> FtrlState:
        ones, zeros = jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.zeros_like, params)
        return FtrlState(jnp.zeros((), jnp.int32), _own(params, centre), _own(ones, scale), zeros)

    def lead(gradients: Pytree, state: FtrlState, params: Pytree, eta: Any) -> tuple[Pytree, FtrlState]:
        total = jax.tree.map(jnp.add, state.total, gradients)
        leader = lambda c, s, g, last: c - eta * s * (g + hint(last))  # noqa: E731
        return jax.tree.map(leader, state.centre, state.scale, total, gradients), state._replace(total=total)

    return _following(rate, init, lead)


def _following(
    rate: Rate,
    init: Any,  # a protocol of Optax that cannot be checked while running
    lead: Callable[[Pytree, Any, Pytree, Any], tuple[Pytree, Any]],
) -> optax.GradientTransformation:
    """The transformation that goes to the leader: `lead(gradients, state, params, eta) -> (leader, state)`."""

    def update(updates: Pytree, state: Any, params: Pytree | None = None) -> tuple[Pytree, Any]:
        if params is None:
            raise ValueError("FTRL plays points, not steps: call update(gradients, state, params).")
        eta = rate(state.count) if callable(rate) else rate
        leader, after = lead(updates, state, params, eta)
        return jax.tree.map(jnp.subtract, leader, params), after._replace(count=state.count + 1)

    return optax.GradientTransformation(init, update)


def _own(default: Pytree, given: Pytree | None) -> Pytree:
    """A copy, so that the state shares no buffer with the parameters (a shared one could not be donated)."""
    return jax.tree.map(jnp.array, default if given is None else given)
