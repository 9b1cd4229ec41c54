"""Many runs of one recipe as one compiled program: a population, meant for an accelerator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.game.step import Data, GanState, initial_state, to_bytes
from mulligan.networks.architecture import Networks, build
from mulligan.networks.convolution import lowered
from mulligan.networks.pretrained import initial_networks, load_initial
from mulligan.recipe import Recipe
from mulligan.training.engine import Engine, compile_engine, make_game
from mulligan.training.population import compile_population
from mulligan.types import Pytree

FAKES = 400  # images that a run draws when it is judged
DRAWN = 100  # of them at a time


@dataclass(frozen=True)
class Numbers:
    """In what the runs of a population differ, besides their images.

    Attributes:
      rate: of both players.
      gamma: of the penalty.
      learned: share of the learned weights that a run begins with, the rest is that of fresh ones; 1 for learned
        weights as they are.
      seed: of fresh weights and batches.
      player: the one that begins with learned weights, "gen" or "disc"; empty for both.
    """

    rate: float
    gamma: float
    learned: float = 0.0
    seed: int = 1
    player: str = ""

    def share(self, player: str) -> float:
        """Of the learned weights, for this player."""
        return self.learned if self.player in ("", player) else 0.0


class Population:
    """Up to `members` runs of a recipe at a time; their convolutions are matrix products, as accelerators like them.

    Args:
      recipe: what all runs have in common, with the learned weights that its `init` names, if any.
      shape: `(h, w, c)` of the images.
      nimg: that each run trains on; schedules end there.
      members: 1 makes a program of one run, as `fit` has it.
      optimiser: in place of the game's own.

    Attributes:
      centre: the learned weights, for images of this shape; zeros where there are none. Others may be put in its place.
    """

    def __init__(
        self,
        recipe: Recipe,
        shape: tuple[int, int, int],
        nimg: float,
        members: int,
        optimiser: Callable[..., Any] | None = None,
    ):
        self.recipe, self.shape, self.members = recipe, shape, members
        self.steps = math.ceil(nimg / recipe.batch)
        game = make_game(recipe, shape, 0, nimg)
        self.game = game if optimiser is None else replace(game, optimiser=optimiser)
        self.centre = _centre(recipe, shape)
        self._state: GanState | None = None
        self._engine: Engine | None = None
        self._begin = self._all(self._first, (None, 0, 0, 0, 0, 0))
        self._draw = self._all(lambda gen, latents: to_bytes(gen(latents)), (0, None))

    def _all(self, one: Callable, axes: tuple[int | None, ...]) -> Callable:
        """`one` for all members, compiled."""

        def lower(*arguments: Any) -> Any:
            with lowered("matmul"):
                return jax.vmap(one, in_axes=axes)(*arguments)

        return jax.jit(one if self.members == 1 else lower)

    def _first(self, centre: Networks, rate: Any, gamma: Any, gen: Any, disc: Any, seed: Any) -> GanState:
        """`gen` and `disc` are the players' shares of the centre."""
        numbers = self.recipe.hyperparameters._replace(gen_lr=rate, disc_lr=rate, gamma=gamma)
        keys = jax.random.split(jax.random.key(seed))
        fresh = build(self.recipe.architecture, self.shape, 0, keys[0])
        mixed = Networks(between(gen, centre.gen, fresh.gen), between(disc, centre.disc, fresh.disc))
        return initial_state(self.game, mixed.gen, mixed.disc, numbers, keys[1])

    def _stacked(self, values: Sequence[Any]) -> Any:
        """One row a member; those that are missing are the first again."""
        filled = [*values, *values[:1] * (self.members - len(values))]
        return jnp.asarray(filled[0] if self.members == 1 else np.stack(filled))

    def compile(self, images: np.ndarray) -> Population:
        """Compiles all of it for training images like these; worth a thread of its own."""
        begun = [self.centre] + [self._stacked([np.float32(0)])] * 4 + [self._stacked([1])]
        state = jax.eval_shape(self._begin, *begun)
        self._begin = self._begin.lower(*begun).compile()
        self._engine = self._compiled(state, Data(self._stacked([images])))
        return self

    def _compiled(self, state: GanState, data: Data) -> Engine:
        if self.members == 1:
            return compile_engine(self.game, state, data)
        return compile_population(self.game, state, data, own_images=True)

    def train(
        self, runs: Sequence[Numbers], images: Sequence[np.ndarray], moments: Sequence[float] = (1.0,)
    ) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """Trains at most `members` runs.

        Args:
          images: that each trains on, uint8 and all of one shape `[n, h, w, c]`.
          moments: shares of the run, rising, at which it is looked at.

        Yields:
          Each moment; what every run draws with its averaged generator, uint8 `[runs, FAKES, h, w, c]`; and whether
          its numbers are finite.
        """
        for moment, finite in self.advance(runs, images, moments):
            gen = self.ends().gen
            batches = (
                jax.random.normal(jax.random.key(70 + i), (DRAWN, self.recipe.architecture.latent))
                for i in range(FAKES // DRAWN)
            )
            drawn = np.concatenate([np.asarray(self._draw(gen, latents)) for latents in batches], axis=-4)
            yield moment, drawn[None] if self.members == 1 else drawn[: len(runs)], finite

    def advance(
        self, runs: Sequence[Numbers], images: Sequence[np.ndarray], moments: Sequence[float] = (1.0,)
    ) -> Iterator[tuple[float, np.ndarray]]:
        """As `train`, but nothing is drawn: each moment, and whether every run's numbers are finite."""
        numbers = [(run.rate, run.gamma, run.share("gen"), run.share("disc")) for run in runs]
        columns = [self._stacked([np.float32(value) for value in column]) for column in zip(*numbers, strict=True)]
        state = self._begin(self.centre, *columns, self._stacked([run.seed for run in runs]))
        data, done = Data(self._stacked(list(images))), 0
        engine = self._engine = self._engine or self._compiled(state, data)
        for moment in moments:
            due = math.ceil(self.steps * moment)
            state, info = engine.chunk(state, data, due - done)
            done, self._state = due, state
            finite = np.asarray(info.finite)
            yield moment, finite[None] if self.members == 1 else finite[: len(runs)]

    def ends(self) -> Networks:
        """The players where they are now, the generator averaged; a row for each member where there are several."""
        assert self._state is not None
        return Networks(self.game.averager.value(self._state.averages)["ema"], self._state.disc)


def between(share: Any, learned: Pytree, fresh: Pytree) -> Pytree:
    """A share of learned weights, the rest of fresh ones."""
    return jax.tree.map(lambda a, b: share * a + (1 - share) * b, learned, fresh)


def _centre(recipe: Recipe, shape: tuple[int, int, int]) -> Networks:
    """What the recipe's `init` names, fitted to the images; zeros for fresh weights."""
    networks = initial_networks(recipe, shape, 0, jax.random.key(0), load_initial(recipe, shape))
    return networks if recipe.init else jax.tree.map(jnp.zeros_like, networks)
