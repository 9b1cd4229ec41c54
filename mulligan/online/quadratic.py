"""A convex quadratic over the simplex, minimised by follow-the-regularised-leader on its gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.online.regularisers import Arms, Scalar
from mulligan.online.simplex import GivenArms, entropic, fixed

Matrix = Float[Array, "k k"]
GivenMatrix = Float[Array | np.ndarray, "k k"]

ROUNDS, RESTARTS = 500, 12
ROUNDING = 2e-7  # of an objective, relative to the quadratic's range: what is no worse by more is as good
REVIVAL = 1e-4  # share of the uniform weights in a new start, so that an arm given up too early can return


def minimise_quadratic(quadratic: GivenMatrix, linear: GivenArms) -> Arms:
    """The weights `w` on the simplex that minimise `w' quadratic w / 2 - linear' w`.

    The player of `entropic` sees in round `t` the gradient, weighted by `t`, at the mean of its plays, so weighted
    too: Nesterov's acceleration as a game (Wang and Abernethy 2018, arXiv 1807.10455), whose mean is within
    `8 * smoothness * KL(w, start) / rounds**2` of the least. Then it starts again from that mean.

    Args:
      quadratic: symmetric and positive semi-definite.
      linear: of the same size as its side.

    Returns:
      float32 weights, >= 0, summing to 1, never worse than all weight on one arm, and just that where it is as good.
      The objective is within about 1e-7 of the least, relative to the range of the quadratic's entries.

    Example:
      >>> [round(float(w), 3) for w in minimise_quadratic(jnp.diag(jnp.array([1.0, 3.0])), jnp.zeros(2))]
      [0.75, 0.25]
    """
    return _minimise(jnp.asarray(quadratic, jnp.float32), jnp.asarray(linear, jnp.float32))


def approach_quadratic(quadratic: GivenMatrix, linear: GivenArms) -> Arms:
    """Weights on the simplex on the way from uniform ones to those of `minimise_quadratic`: `ROUNDS` plays.

    Where the quadratic is an estimate, as good as the least, and nearer to uniform weights; and for many arms sooner.

    Args:
      quadratic: symmetric, and positive semi-definite for weights that add up to 0.
      linear: of the same size as its side.

    Returns:
      float32 weights, >= 0, summing to 1.
    """
    return _approach(jnp.asarray(quadratic, jnp.float32), jnp.asarray(linear, jnp.float32))


@jax.jit
def _approach(quadratic: Matrix, linear: Arms) -> Arms:
    quadratic, linear, smoothness = _centred(quadratic, linear)
    return _accelerated(jnp.full_like(linear, 1 / linear.shape[0]), quadratic, linear, smoothness)


def _centred(quadratic: Matrix, linear: Arms) -> tuple[Matrix, Arms, Scalar]:
    """The same objective on the simplex but for a constant, in the difference from the uniform weights, and how smooth
    it is: what all entries of the quadratic share, often most of them, costs neither rounds nor digits any more.
    """
    rows = quadratic.mean(axis=1)
    quadratic = quadratic - rows[:, None] - rows[None, :] + rows.mean()
    linear = linear - rows
    linear = linear - linear.mean()
    # With the entropy, smoothness is the largest entry. The second term serves an objective that is all but linear.
    return quadratic, linear, jnp.maximum(jnp.abs(quadratic).max(), 1e-6 * jnp.abs(linear).max()) + 1e-30


@jax.jit
def _minimise(quadratic: Matrix, linear: Arms) -> Arms:
    quadratic, linear, smoothness = _centred(quadratic, linear)
    uniform = jnp.full_like(linear, 1 / linear.shape[0])

    def attempt(start: Arms, _: None) -> tuple[Arms, None]:
        mean = _accelerated(start, quadratic, linear, smoothness)
        return (1 - REVIVAL) * mean + REVIVAL * uniform, None

    start, _ = jax.lax.scan(attempt, uniform, None, length=RESTARTS - 1)
    mean = _accelerated(start, quadratic, linear, smoothness)
    candidates = jnp.concatenate([mean[None], jnp.eye(linear.shape[0])])
    objectives = jnp.sum(candidates * (candidates @ quadratic / 2 - linear), axis=1)
    return candidates[jnp.argmin(objectives.at[0].add(ROUNDING * smoothness))]


def _accelerated(start: Arms, quadratic: Matrix, linear: Arms, smoothness: Scalar) -> Arms:
    """The mean of `ROUNDS` plays, the `t`-th weighted by `t`, from the prior `start`."""
    player = entropic(start, fixed(1 / (4 * smoothness)))

    def play(carry: tuple, t: Scalar) -> tuple[tuple, None]:
        state, weighted_sum, w = carry
        # The play to come is not known yet: the last one stands in for it.
        mean = (weighted_sum + t * w) / (t * (t + 1) / 2)
        state = player.observe(state, t * (quadratic @ mean - linear))
        w = player.play(state)
        return (state, weighted_sum + t * w, w), None

    times = jnp.arange(1.0, ROUNDS + 1)
    (_, weighted_sum, _), _ = jax.lax.scan(play, (player.init(), jnp.zeros_like(start), start), times)
    return weighted_sum / weighted_sum.sum()
