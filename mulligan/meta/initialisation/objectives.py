"""Outer objectives: how well adapted players do on query images that the inner game never saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.game.matching import Features, energy_distance
from mulligan.game.step import Game, Players
from mulligan.types import Key, Pixels

FeatureMap = Callable[[Pixels], Features]  # what two sets of images are compared by


class QueryObjective(NamedTuple):
    """`losses(players, query, key)`: what the centre and scale of each player minimise; one number where `shared`."""

    losses: Callable[[Players, Pixels, Key], Players]
    shared: bool


def game_objective(game: Game, fakes: int) -> QueryObjective:
    """The adapted players' own game, on query images: each player's start is learned against the other's."""

    def losses(players: Players, query: Pixels, key: Key) -> Players:
        fake = players.gen(jax.random.normal(key, (fakes, game.latent)))
        real = players.disc(jnp.resize(query, fake.shape))
        seen = players.disc(fake)
        return Players(jnp.mean(game.loss.gen(real, seen)), jnp.mean(game.loss.disc(real, seen)))

    return QueryObjective(losses, shared=False)


def energy_objective(features: FeatureMap, latent: int, fakes: int) -> QueryObjective:
    """The energy distance between `fakes` samples of the adapted generator and the query images, summed over features.

    Args:
      features: fixed features; see `meta.initialisation.features`.
    """

    def losses(players: Players, query: Pixels, key: Key) -> Players:
        fake = players.gen(jax.random.normal(key, (fakes, latent)))
        loss = distance(features, query, fake)
        return Players(loss, loss)

    return QueryObjective(losses, shared=True)


def distance(features: FeatureMap, real: Float[Array, "n h w c"], fake: Float[Array, "m h w c"]) -> Float[Array, ""]:
    """The sum of the energy distances between two sets of images, one for each kind of feature."""
    return jnp.sum(jnp.stack([energy_distance(a, b) for a, b in zip(features(real), features(fake), strict=True)]))
