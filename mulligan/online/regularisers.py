"""Regularisers on the simplex: what follow-the-regularised-leader minimises besides the losses.

Weights come and go as logarithms, so that an arm far behind keeps its place and an arm without prior stays
out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Arms = Float[Array, " k"]
Scalar = Float[Array, ""]

NEWTON_STEPS = 6  # reach the precision of float32 for priors and losses of any spread


class Objective(NamedTuple):
    """`F(w) = <losses, w> + strength * psi(w)`, where `psi` is a regulariser around the prior."""

    log_prior: Arms
    losses: Arms
    strength: Scalar  # 1 / eta, >= 0; at 0 the leader is the prior among the arms of least loss


class Regulariser(NamedTuple):
    """A convex `psi` on the simplex, least at the prior."""

    leader: Callable[[Objective], Arms]  # the logarithm of the argmin of F
    value: Callable[[Arms, Arms], Arms]  # (log_prior, log_w) -> terms whose sum is psi(w), but for a constant
    divergence: Callable[[Arms, Arms, Arms], Arms]  # (log_prior, log_w, log_v) -> terms of psi's Bregman divergence


def excess(regulariser: Regulariser, objective: Objective, log_w: Arms, log_v: Arms) -> Scalar:
    """`F(w) - F(v)`, where `v` is the leader: `strength` times the divergence of `w` from `v`, to all digits.

    Where the two are far apart the divergence may be infinite and the strength 0: there the plain difference.
    """
    log_prior, losses, strength = objective
    w, v = jnp.exp(log_w), jnp.exp(log_v)
    near = strength * regulariser.divergence(log_prior, log_w, log_v)
    psi = regulariser.value(log_prior, log_w) - regulariser.value(log_prior, log_v)
    far = times(w - v, losses - least(log_prior, losses)) + strength * psi
    close = jnp.max(jnp.where(w + v > 0, jnp.abs(log_w - log_v), 0.0)) < 1.0
    return jnp.sum(jnp.where(close, near, far))


def _entropic_leader(objective: Objective) -> Arms:
    """`w_i` proportional to `prior_i * exp(-losses_i / strength)`."""
    return jax.nn.log_softmax(objective.log_prior - _behind(objective))


def _entropic_value(log_prior: Arms, log_w: Arms) -> Arms:
    """`KL(w, prior)`."""
    return times(jnp.exp(log_w), log_w - log_prior)


def _entropic_divergence(log_prior: Arms, log_w: Arms, log_v: Arms) -> Arms:
    """`KL(w, v) = sum_i v_i (r ln r - r + 1)` with `r = w_i / v_i`: no term is negative."""
    ratio = jnp.where(jnp.isfinite(log_w), log_w - log_v, 0.0)
    series = ratio**2 * (1 / 2 + ratio * (1 / 3 + ratio * (1 / 8 + ratio / 30)))
    return times(jnp.exp(log_v), jnp.where(jnp.abs(ratio) < 0.05, series, jnp.exp(ratio) * (ratio - 1) + 1))


def _tsallis_leader(objective: Objective) -> Arms:
    """`w_i = q_i / (y_i + x)**2` with `q = k prior`, `y = losses / (2 strength)`, and `x` by Newton's method.

    `x` solves `(sum_i w_i)**-1/2 = 1`, whose left side is concave in `x` (a power mean): from the left,
    Newton's method rises to the root without passing it. It starts at the larger of two bounds: what one arm alone
    would need, and, by Jensen's inequality, the value for arms that are all as far behind as the mean.
    """
    q, y = _scaled_prior(objective.log_prior), _behind(objective) / 2

    def newton(_: int | Array, x: Scalar) -> Scalar:
        w = q / (y + x) ** 2
        total = jnp.sum(w)
        return x + (total**1.5 - total) / jnp.sum(w / (y + x))

    alone, alike = jnp.max(jnp.sqrt(q) - y), math.sqrt(len(q)) - jnp.mean(q * y)
    x = jax.lax.fori_loop(0, NEWTON_STEPS, newton, jnp.maximum(alone, alike), unroll=True)
    return jax.nn.log_softmax(jnp.log(q) - 2 * jnp.log(y + x))


def _tsallis_value(log_prior: Arms, log_w: Arms) -> Arms:
    """`-4 sum_i sqrt(q_i w_i)`."""
    return -4 * jnp.sqrt(_scaled_prior(log_prior)) * jnp.exp(log_w / 2)


def _tsallis_divergence(log_prior: Arms, log_w: Arms, log_v: Arms) -> Arms:
    """`2 sum_i sqrt(q_i / v_i) (sqrt(w_i) - sqrt(v_i))**2`."""
    root_w, root_v = jnp.exp(log_w / 2), jnp.exp(log_v / 2)
    return times(2 * jnp.sqrt(_scaled_prior(log_prior)), (root_w - root_v) ** 2 / root_v)


ENTROPY = Regulariser(_entropic_leader, _entropic_value, _entropic_divergence)
TSALLIS = Regulariser(_tsallis_leader, _tsallis_value, _tsallis_divergence)


def least(log_prior: Arms, losses: Arms) -> Scalar:
    """The least loss of an arm that the prior allows."""
    return jnp.min(jnp.where(jnp.isfinite(log_prior), losses, jnp.inf))


def times(weights: Arms, values: Arms) -> Arms:
    """`weights * values`, where a weight of 0 makes 0 of anything."""
    return jnp.where(weights != 0, weights * values, 0.0)


def _behind(objective: Objective) -> Arms:
    """How far each arm is behind the leader, over the strength. At strength 0 that is 0 or very much.

    Not infinite: when the leader cannot be played, the order of the others still counts. Nor negative: only an arm that
    the prior rules out can be ahead of the leader.
    """
    behind = jnp.maximum(objective.losses - least(objective.log_prior, objective.losses), 0.0)
    most = jnp.max(behind)
    most = jnp.where(most > 0, most, 1.0)
    return behind / most / jnp.maximum(objective.strength / most, 1e-30)


def _scaled_prior(log_prior: Arms) -> Arms:
    return log_prior.shape[0] * jnp.exp(log_prior)
