"""The training strategy inside one run: follow-the-regularised-leader over a few ways to change the recipe's numbers.

Two kinds of feedback. In `fork` mode a few strategies train on from the same state for a while, all are judged, and
the leader's continuation is adopted: all losses are seen, at the price of the continuations that are thrown away. Those
that fall behind are given up on the way, so that most of the price is paid for those that are worth it. In `switch`
mode one continuation plays a strategy drawn from the leader's weights between two evaluations, and only that one's
loss is seen. A failure is a loss in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import MulliganError
from mulligan.game.step import Strategy
from mulligan.online.simplex import SimplexState, entropic, fixed, leave, tsallis
from mulligan.training.progress import Evaluation
from mulligan.types import Ftrl

FORK_PARTS = 8  # at whose ends the generators are averaged by which a continuation is judged
SETTLED = 0.25  # of a continuation, before which its generators do not count
FEWEST_STEPS = 4  # of a continuation
CERTAINTY = 10.0  # eta in forks: lower by a factor of e^(1/10) weighs e times as much
BEHIND = 0.1  # of the leader's weight, below which a strategy is given up for the rest of a fork
FAILED = 1.0  # how much worse than the worst strategy a failed one counts, in logarithms


class StrategyArm(NamedTuple):
    """Factors on the recipe's hyperparameters, and the weight that they have before anything is known."""

    factors: Strategy
    prior: float


PLAIN = "as it is"
STRATEGIES = {
    PLAIN: StrategyArm(Strategy(), 2.0),
    "rates / 10": StrategyArm(Strategy(0.1, 0.1, 1.0), 1.0),
    "rates / 3": StrategyArm(Strategy(1 / 3, 1 / 3, 1.0), 1.0),
    "rates x 3": StrategyArm(Strategy(3.0, 3.0, 1.0), 1.0),
    "disc rate / 3": StrategyArm(Strategy(1.0, 1 / 3, 1.0), 1.0),
    "gamma x 5": StrategyArm(Strategy(1.0, 1.0, 5.0), 1.0),
    "gamma / 5": StrategyArm(Strategy(1.0, 1.0, 0.2), 1.0),
}
MODES = ("none", "fork", "switch")


class Fork(NamedTuple):
    """A fork: when, who takes part, and how far.

    Attributes:
      at: share of the run's images after which it is due.
      names: the strategies that take part, each relative to what is in force then.
      rungs: shares of the run's images that each strategy still in it trains on, one after the other.
    """

    at: float
    names: tuple[str, ...]
    rungs: tuple[float, ...]


FORKS = (
    Fork(0.0, (PLAIN, "rates / 10", "rates / 3", "rates x 3"), (0.01, 0.02)),
    Fork(0.15, (PLAIN, "rates / 3"), (0.02,)),
    Fork(0.35, (PLAIN, "rates / 3"), (0.02,)),
    Fork(0.6, (PLAIN, "rates / 3"), (0.02,)),
)


@dataclass(frozen=True)
class Strategist:
    """Follows the leader among `STRATEGIES`; what learns something returns another one.

    Attributes:
      mode: one of `MODES`.
      names: the strategies that the prior allows.
      player: over them.
      state: all that is remembered, which belongs into the checkpoint; () in mode "none".
    """

    mode: str
    names: tuple[str, ...]
    player: Ftrl
    state: SimplexState | tuple[()]

    @staticmethod
    def make(mode: str, prior: Sequence[tuple[str, float]] = ()) -> Strategist:
        """With weights given in `prior` in place of those in `STRATEGIES`; 0 leaves a strategy out.

        Raises:
          MulliganError: an unknown mode or strategy, or a prior without weight.
        """
        if mode not in MODES:
            raise MulliganError(f"{mode!r} is not a way to choose strategies; choose {', '.join(MODES)}.")
        weights = {name: arm.prior for name, arm in STRATEGIES.items()}
        for name, weight in prior:
            if name not in weights or not (math.isfinite(weight) and weight >= 0):
                raise MulliganError(
                    f"a strategy's weight must be 0 or more and its name one of {', '.join(map(repr, weights))}; "
                    f"{name!r}: {weight} is not such a pair."
                )
            weights[name] = weight
        names = tuple(name for name, weight in weights.items() if weight > 0)
        if not names:
            raise MulliganError("all strategies have weight 0: give one of them more.")
        chosen = np.array([weights[name] for name in names], np.float32)
        player = tsallis(chosen) if mode == "switch" else entropic(chosen, fixed(CERTAINTY))
        player = Ftrl(player.init, jax.jit(player.play), jax.jit(player.observe))
        return Strategist(mode, names, player, () if mode == "none" else player.init())

    def weights(self) -> dict[str, float]:
        """What the leader gives each strategy."""
        return dict(zip(self.names, np.asarray(self.player.play(self.state)).tolist(), strict=True))

    def leader(self) -> str:
        """The strategy with the largest weight."""
        weights = self.weights()
        return max(weights, key=weights.__getitem__)

    def drawn(self, seed: int, turn: int) -> str:
        """A strategy drawn from the weights: the same for the same turn of a run."""
        weights = np.array(list(self.weights().values()))
        return self.names[np.random.default_rng([seed, turn]).choice(len(weights), p=weights / weights.sum())]

    def awake(self) -> list[str]:
        """The strategies that have not failed."""
        if isinstance(self.state, SimplexState):
            return [name for name, awake in zip(self.names, np.asarray(self.state.awake), strict=True) if awake]
        return []

    def begun(self, names: Sequence[str], raised: bool = False) -> Strategist:
        """A new game among those of `names` that the prior allows: at different times different strategies are best.

        Where rates were `raised` above the recipe's, nothing is as the recipe says any more, and all weigh the same.
        """
        state = leave(self.player.init(), jnp.array([name not in names for name in self.names]))
        return replace(self, state=state._replace(log_prior=jnp.zeros_like(state.log_prior)) if raised else state)

    def compared(self, evaluations: dict[str, Evaluation | None]) -> tuple[Strategist, dict[str, float]]:
        """Takes what the continuation of each strategy came to, None where it failed; the losses that this means.

        The loss is the logarithm of what selects, so that only ratios count, softened by the width of its interval.

        Args:
          evaluations: by name, of strategies that have just trained from the same state.
        """
        judged = {name: evaluation for name, evaluation in evaluations.items() if evaluation is not None}
        like = next(iter(judged.values()), None)
        seen = {name: _log(evaluation, like) for name, evaluation in judged.items()}
        worst = max(seen.values(), default=0.0) + FAILED
        losses = {name: seen.get(name, worst) for name in evaluations}
        state = self.player.observe(self.state, np.array([losses.get(name, np.nan) for name in self.names]))
        return replace(self, state=state), losses

    def survivors(self, names: Sequence[str]) -> list[str]:
        """Strategies whose weight is at least `BEHIND` times the leader's."""
        weights = self.weights()
        best = max((weights[name] for name in names), default=0.0)
        return [name for name in names if weights[name] >= BEHIND * best]

    def judged(self, name: str, before: Evaluation, after: Evaluation) -> tuple[Strategist, float]:
        """Takes what a strategy made of the metric while it was played alone; its loss in [0, 1], 1/2 for no change.

        Args:
          name: of the strategy.
          before: the evaluation after which it began.
          after: the one that it led to.
        """
        loss = float(np.clip(0.5 + (_log(after, before) - _log(before, before)) / 2, 0, 1))
        # Only the strategy that was played shows its loss: divided by its weight, the estimate is right on average.
        weights = self.weights()
        estimate = [loss / weights[name] if arm == name else 0.0 for arm in self.names]
        return replace(self, state=self.player.observe(self.state, np.array(estimate, np.float32))), loss

    def without(self, name: str) -> Strategist:
        """Gives a strategy up for the rest of the run, unless it is the last one."""
        if not isinstance(self.state, SimplexState) or len(self.awake()) < 2:
            return self
        return replace(self, state=leave(self.state, jnp.array([arm == name for arm in self.names])))


def due(forks: int, spent_nimg: int, horizon_nimg: float) -> Fork | None:
    """The fork that a run that has forked so often should make now."""
    if forks < len(FORKS) and horizon_nimg > 0 and spent_nimg >= FORKS[forks].at * horizon_nimg:
        return FORKS[forks]
    return None


def _log(evaluation: Evaluation, like: Evaluation | None) -> float:
    """Logarithm of a value, which may be zero or negative, raised by half the width of the interval of `like`."""
    like = like or evaluation
    blur = max((like.high - like.low) / 2, 1e-6)
    return math.log(max(evaluation.value, 0.0) + blur)
