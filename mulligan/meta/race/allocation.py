"""How the budget of a race is shared out among its arms: round after round of small slices.

Before every round an allocation is shown where each arm stands, and says which arms train on, or that the race is over
and who has won. The slices of a round are trained at the same time, each on its share of the machine; what comes of
them is known when all are done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mulligan.online.simplex import entropic, fixed

DECIDED = 0.9  # weight at which the leader has won
SPAN = 3.0  # nats: nobody is taken to be further behind the leader than this


class ArmStatus(NamedTuple):
    """Where an arm stands.

    Attributes:
      slices: that it was given so far.
      predicted: natural logarithm of the value that it is expected to end with if it is given all that is left;
        infinite for one that has nothing to show and can no longer be trained.
      alive: whether it can be trained on; one that has ended may still win.
    """

    slices: int
    predicted: float
    alive: bool = True


class Decision(NamedTuple):
    """The arms that train on, or the one that has won, and the weights of all arms, which sum to 1."""

    arms: tuple[int, ...]
    won: bool
    weights: tuple[float, ...]


class Allocation(NamedTuple):
    """`init() -> state`; `decide(state, statuses) -> (state, Decision)`: the same for the same standings."""

    init: Callable[[], Any]
    decide: Callable[[Any, Sequence[ArmStatus]], tuple[Any, Decision]]


class LeaderState(NamedTuple):
    """What `ftrl` remembers."""

    simplex: Any
    due: Float[np.ndarray, " k"]  # slices that each arm should have had by now: the sums of its weights


def ftrl(prior: Sequence[float], slices: int, lanes: int = 1) -> Allocation:
    """Entropic follow-the-regularised-leader around the prior; what an arm is predicted to end with is its loss.

    Predictions are made for every arm in every round, so all losses are seen, and the last ones are a good hint of the
    next. Losses count from the leader's, in nats, 3 at most; the rate is the textbook's, `sqrt(8 ln k / rounds)`:
    feedback is late by less than a round, and within one nothing is learned, so a round of several slices is one move
    of the player. Slices go to the arms that are furthest behind the sum of their weights, one to each in a round. The
    leader has won with a weight of 0.9, once it was seen, or when the slices are used up.

    Args:
      prior: weights of the arms, > 0; need not sum to 1.
      slices: of the whole race.
      lanes: slices of a round, at most.

    Example:
      >>> race = ftrl([0.7, 0.3], slices=8)
      >>> state, first = race.decide(race.init(), [ArmStatus(0, -3.0), ArmStatus(0, -3.0)])
      >>> first.arms, first.won
      ((0,), False)
    """
    eta = math.sqrt(8 * math.log(max(len(prior), 2)) * lanes / slices)
    hedge = entropic(jnp.asarray(prior, jnp.float32), fixed(eta))
    observe, play = jax.jit(hedge.observe), jax.jit(hedge.play)

    def decide(state: LeaderState, statuses: Sequence[ArmStatus]) -> tuple[LeaderState, Decision]:
        losses = jnp.asarray(_behind(statuses), jnp.float32)
        weights = np.asarray(play(state.simplex, losses), np.float64)
        # Only arms that can still come to something count, where there are any.
        promising = np.array([math.isfinite(status.predicted) for status in statuses])
        weights = np.where(promising, weights, 0.0) if promising.any() else weights
        weights = weights / weights.sum()
        living = [arm for arm, status in enumerate(statuses) if status.alive]
        number = min(lanes, len(living), slices - sum(status.slices for status in statuses))
        due = state.due + max(number, 0) * weights
        state = LeaderState(observe(state.simplex, losses), due)
        leader = int(weights.argmax())
        if (weights[leader] >= DECIDED and statuses[leader].slices) or _over(statuses, slices):
            return state, _won(leader, weights)
        owed = due - [status.slices for status in statuses]
        arms = tuple(sorted(living, key=lambda arm: -owed[arm])[:number])
        return state, Decision(arms, False, tuple(weights.tolist()))

    return Allocation(lambda: LeaderState(hedge.init(), np.zeros(len(prior))), decide)


def halving(prior: Sequence[float], slices: int, lanes: int = 1) -> Allocation:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): each rung drops the worse half.

    All rungs get the same number of slices, so those that stay get ever more; the prior decides between equals.
    """
    rungs = max(1, math.ceil(math.log2(max(len(prior), 2))))

    def decide(dropped: frozenset[int], statuses: Sequence[ArmStatus]) -> tuple[frozenset[int], Decision]:
        order = _ranked(statuses, prior)
        while True:
            left = [arm for arm in order if arm not in dropped]
            if len(left) == 1 or _over(statuses, slices):
                return dropped, _won(left[0], _equal(left, len(prior)))
            rung = math.ceil(math.log2(len(prior) / len(left)))
            each = sum(max(1, slices // rungs // -(-len(prior) // 2**step)) for step in range(rung + 1))
            waiting = [arm for arm in left if statuses[arm].alive and statuses[arm].slices < each]
            if waiting:
                arms = sorted(waiting, key=lambda arm: statuses[arm].slices)[:lanes]
                return dropped, Decision(tuple(arms), False, _equal(left, len(prior)))
            dropped |= set(left[-(len(left) // 2) :])

    return Allocation(frozenset, decide)


def uniform(prior: Sequence[float], slices: int, lanes: int = 1) -> Allocation:
    """Every arm gets as much as any other; the best one has won when the slices are used up."""

    def decide(state: None, statuses: Sequence[ArmStatus]) -> tuple[None, Decision]:
        order = _ranked(statuses, prior)
        living = [arm for arm in order if statuses[arm].alive]
        if len(prior) == 1 or _over(statuses, slices):
            return None, _won(order[0], _equal(order[:1], len(prior)))
        number = min(lanes, slices - sum(status.slices for status in statuses))
        arms = sorted(living, key=lambda arm: statuses[arm].slices)[:number]
        return None, Decision(tuple(arms), False, _equal(living, len(prior)))

    return Allocation(lambda: None, decide)


def single(prior: Sequence[float], slices: int, lanes: int = 1) -> Allocation:
    """No race: the arm with the greatest weight in the prior has won."""
    del slices, lanes
    best = int(np.argmax(prior))
    return Allocation(lambda: None, lambda state, statuses: (state, _won(best, _equal([best], len(prior)))))


ALLOCATIONS: dict[str, Callable[[Sequence[float], int, int], Allocation]] = {
    "ftrl": ftrl,
    "halving": halving,
    "uniform": uniform,
    "single": single,
}


def _behind(statuses: Sequence[ArmStatus]) -> Float[np.ndarray, " k"]:
    """How far each arm is behind the best, in nats; an arm that cannot go on keeps what it reached."""
    predicted = np.array([status.predicted for status in statuses])
    predicted = np.where(np.isfinite(predicted), predicted, np.inf)
    best = predicted.min()
    return np.full(len(predicted), 0.0) if np.isinf(best) else np.minimum(predicted - best, SPAN)


def _ranked(statuses: Sequence[ArmStatus], prior: Sequence[float]) -> list[int]:
    """Arms, the best first."""
    behind = _behind(statuses)
    return sorted(range(len(statuses)), key=lambda arm: (behind[arm], -prior[arm]))


def _over(statuses: Sequence[ArmStatus], slices: int) -> bool:
    """Whether there is nothing left to share out, or nobody to take it."""
    return sum(status.slices for status in statuses) >= slices or not any(status.alive for status in statuses)


def _won(arm: int, weights: Sequence[float] | Float[np.ndarray, " k"]) -> Decision:
    return Decision((arm,), True, tuple(float(weight) for weight in weights))


def _equal(arms: Sequence[int], number: int) -> tuple[float, ...]:
    return tuple(1 / len(arms) if arm in arms else 0.0 for arm in range(number))
