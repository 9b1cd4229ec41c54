"""Follow-the-regularised-leader over `k` arms.

Round `t` plays `w_t = argmin_w <L + hint, w> + psi(w) / eta_t` over the simplex, where `L` is the sum of
the losses seen so far. A regulariser `psi` (entropy or Tsallis, around any prior) and a rate `eta_t`
(fixed, decaying, adaptive) make a player: `entropic`, `adahedge`, `tsallis`. All are pure functions on
arrays, for use under `jit`, `vmap` and `scan`.

Feedback may come late, in part or not at all, and arms may come and go; one rule serves all. Where an arm's
loss is not known it is taken to be the player's own, so that the arm neither gains nor falls behind. The
regret to an arm is then over the rounds in which it was seen (Freund, Schapire, Singer and Warmuth 1997:
experts that sleep).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mulligan.online.regularisers import (
    ENTROPY,
    TSALLIS,
    Arms,
    Objective,
    Regulariser,
    Scalar,
    excess,
    least,
    times,
)
from mulligan.types import Ftrl

GivenArms = Float[Array | np.ndarray, " k"]


class SimplexState(NamedTuple):
    """What a player remembers. Losses are relative to the leader's, so that they stay exact in float32."""

    log_prior: Arms
    losses: Arms  # sums of losses, minus the least of them
    regret: Scalar  # the player's own sum of losses, minus the same
    gap: Scalar  # sum over rounds of what not knowing the round's losses cost (AdaHedge's Delta)
    rounds: Scalar  # rounds observed
    awake: Bool[Array, " k"]  # arms that can be played


Rate = Callable[[SimplexState], Scalar]  # 1 / eta in the next round: the strength of the regulariser


def fixed(eta: float | Scalar) -> Rate:
    """A constant rate `eta` > 0, for losses of known scale: `sqrt(8 ln k / rounds)` for [0, 1]."""
    return lambda state: jnp.ones_like(state.gap) / eta


def decaying(scale: float | Scalar) -> Rate:
    """`eta_t = scale / sqrt(t)` in round `t` = 1, 2, ...: needs no horizon, but losses of known scale."""
    return lambda state: jnp.sqrt(state.rounds + 1) / scale


def adaptive(span: float | Scalar) -> Rate:
    """`eta_t = span / gap`: needs no horizon, and to shift or scale all losses changes nothing.

    de Rooij et al. 2014, arXiv 1301.0534, equation 8 (AdaHedge). With late feedback and hints: Flaspohler
    et al. 2021, arXiv 2106.06885, section 5 (AdaHedgeD). Any regulariser: Orabona and Pal 2015, arXiv
    1502.05744.

    Args:
      span: the value of the regulariser at which the regret is to be least: `ln k` serves every arm around a
        uniform prior; less bets on the prior.
    """
    return lambda state: state.gap / span


def entropic(prior: GivenArms, rate: Rate) -> Ftrl:
    """Exponential weights: `w` proportional to `prior * exp(-eta_t * (L + hint))` over the arms awake.

    The regulariser is `KL(w, prior)`, so at a fixed rate and losses in [0, 1] the regret to any comparator
    `u` is at most `KL(u, prior) / eta + eta / 8 * rounds` (Cesa-Bianchi and Lugosi 2006, theorem 2.2): a
    good prior pays.

    Args:
      prior: weights of the arms at the start, >= 0, not all 0; need not sum to 1.
      rate: `fixed`, `decaying` or `adaptive`.

    Returns:
      A player; see `player`.

    Example:
      >>> hedge = entropic(jnp.ones(2), fixed(math.log(3)))
      >>> weights = hedge.play(hedge.observe(hedge.init(), jnp.array([0.0, 1.0])))
      >>> [round(float(weight), 3) for weight in weights]
      [0.75, 0.25]
    """
    return player(prior, ENTROPY, rate)


def adahedge(prior: GivenArms) -> Ftrl:
    """AdaHedge with a prior, hints and late feedback: `entropic` at the `adaptive` rate with span `ln k`.

    The regret to any comparator `u` is at most `gap * (1 + KL(u, prior) / ln k)`. With a uniform prior,
    prompt feedback and losses of range `s` that is at most `s * (sqrt(rounds * ln k) + 4/3 ln k + 2)` (de
    Rooij et al. 2014, arXiv 1301.0534, theorem 8).
    """
    return entropic(prior, adaptive(math.log(max(len(prior), 2))))


def tsallis(prior: GivenArms, rate: Rate | None = None) -> Ftrl:
    """Tsallis-INF: for feedback from the played arm alone, made an estimate by `importance_weighted`.

    The regulariser is `-4 sum_i sqrt(k prior_i w_i)`, so `w_i = 4 k prior_i / (eta_t (L_i - x))**2` with
    the `x` at which they sum to 1. At the default rate the expected regret is at most `4 sqrt(k * rounds) +
    1` for a uniform prior and losses in [0, 1], and logarithmic in the rounds when they are stochastic
    (Zimmert and Seldin 2021, arXiv 1807.07623, theorem 1).

    Args:
      prior: weights of the arms at the start, >= 0, not all 0; need not sum to 1.
      rate: `decaying(2.0)` by default; `adaptive(4 * (sqrt(k) - 1))` for losses >= 0 of unknown scale.
    """
    return player(prior, TSALLIS, decaying(2.0) if rate is None else rate)


def importance_weighted(loss: float | Scalar, arm: int | Int[Array, ""], weights: Arms) -> Arms:
    """An unbiased estimate of all losses from the played arm's: `loss / weights[arm]` there, 0 elsewhere.

    Args:
      loss: of the arm that was played, >= 0.
      arm: its index, drawn from `weights`.
      weights: what `play` gave in that round.
    """
    return jnp.where(jnp.arange(weights.shape[0]) == arm, loss / weights[arm], 0.0)


def player(prior: GivenArms, regulariser: Regulariser, rate: Rate) -> Ftrl:
    """A player of the game with `k` arms, of whom one at least must be awake in every round.

    `init() -> SimplexState`.

    `play(state, hint=0) -> w [k]`: the weights of the next round, 0 for arms asleep. `hint` [k], finite, is a
    guess of its losses: the better, the smaller the regret; a perfect one costs nothing.

    `observe(state, loss, hint=0, played=None) -> state`: takes the losses [k] of one round, finite, or NaN
    where there is no feedback. `hint` is what `play` was given in that round. When the feedback is late and
    other rounds were observed in between, `played` is the state that `play` was given.
    """

    def init() -> SimplexState:
        log_prior = jax.nn.log_softmax(jnp.log(jnp.asarray(prior, jnp.float32)))
        losses, zero = jnp.zeros_like(log_prior), jnp.zeros((), jnp.float32)
        return SimplexState(log_prior, losses, regret=zero, gap=zero, rounds=zero, awake=jnp.isfinite(log_prior))

    def lead(state: SimplexState, hint: GivenArms | float) -> Arms:
        return regulariser.leader(Objective(state.log_prior, state.losses + hint, rate(state)))

    def play(state: SimplexState, hint: GivenArms | float = 0.0) -> Arms:
        return jax.nn.softmax(jnp.where(state.awake, lead(state, hint), -jnp.inf))

    def observe(
        state: SimplexState,
        loss: GivenArms,
        hint: GivenArms | float = 0.0,
        played: SimplexState | None = None,
    ) -> SimplexState:
        played, loss = state if played is None else played, jnp.asarray(loss, jnp.float32)
        log_w = lead(played, hint)
        seen = played.awake & ~jnp.isnan(loss)
        heard = seen.any()
        share = jax.nn.softmax(jnp.where(seen, log_w, -jnp.inf))
        own = jnp.where(heard, jnp.sum(times(share, loss)), 0.0)
        loss = jnp.where(seen, loss, own)
        after = Objective(state.log_prior, state.losses + loss, rate(played))
        base = least(*after[:2])
        # What it cost to play `w` and not `v`, the leader at the same rate that knows the round's loss: AdaHedge's
        # mixability gap, and with hints or late feedback what takes its place (Flaspohler et al. 2021, arXiv
        # 2106.06885, section 5). It is `min(F(w) - F(v), <loss, w - v>)`.
        log_v = regulariser.leader(after)
        linear = jnp.sum((jnp.exp(log_w) - jnp.exp(log_v)) * (loss - jnp.min(loss)))
        gap = jnp.maximum(jnp.minimum(excess(regulariser, after, log_w, log_v), linear), 0.0)
        return state._replace(
            losses=after.losses - base,
            regret=state.regret + own - base,
            gap=state.gap + gap,
            rounds=state.rounds + heard,
        )

    return Ftrl(init, play, observe)


def join(state: SimplexState, arms: Bool[Array, " k"]) -> SimplexState:
    """`arms` enter as new: with their prior, as if they had always had the player's own losses."""
    return state._replace(losses=jnp.where(arms, state.regret, state.losses), awake=state.awake | arms)


def leave(state: SimplexState, arms: Bool[Array, " k"]) -> SimplexState:
    """`arms` fall asleep: they are not played, and keep their standing against the player."""
    return state._replace(awake=state.awake & ~arms)


def wake(state: SimplexState, arms: Bool[Array, " k"]) -> SimplexState:
    """`arms` are back, with the standing that they left with."""
    return state._replace(awake=state.awake | arms)
