"""The queue of past players: who is in it and when, what it weighs, what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.online.opponents import queue


def player(number):
    """A player known by its number."""
    return {"w": jnp.full((2, 3), float(number)), "b": jnp.float32(number)}


def rounds_of(opponents, rounds):
    """States before each of so many rounds, in which the players are numbered from 1."""

    def step(state, number):
        return opponents.observe(state, player_like(number), player_like(-number)), state

    def player_like(number):
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, number), player(0))

    start = opponents.init(player(0), player(0))
    return jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(1.0, rounds + 1)))(start)


def by_hand(size, spacing, growth, rounds):
    """Who is in the queue before each round, oldest first: the rule in plain Python."""
    held, due, wait, before = [], spacing, spacing, []
    for number in range(1, rounds + 1):
        before.append(list(held))
        if number == due:
            held = [*held, number][-size:]
            wait += growth
            due += wait
    return before


@pytest.mark.parametrize(("size", "spacing", "growth"), [(1, 1, 0), (1, 3, 1), (2, 1, 1), (3, 5, 0), (4, 2, 3)])
def test_the_queue_holds_the_last_of_players_that_are_ever_further_apart(size, spacing, growth):
    opponents = queue(size, spacing, growth)
    _, states = rounds_of(opponents, 60)
    past = jax.vmap(opponents.past)(states)
    for before, share, gens, discs in zip(
        by_hand(size, spacing, growth, 60), past.share, past.gens["b"], past.discs["w"], strict=True
    ):
        found = [int(gen) for gen, weight in zip(gens, share, strict=True) if weight > 0]
        assert sorted(found) == before
        assert sorted(-int(disc[0, 0]) for disc, weight in zip(discs, share, strict=True) if weight > 0) == before
        np.testing.assert_allclose(share[share > 0], 1 / (1 + len(before)), rtol=1e-6)  # as much as the present one


def test_the_pull_fades_with_the_root_of_the_rounds():
    opponents = queue(2, weight_decay=0.3)
    _, states = rounds_of(opponents, 50)
    np.testing.assert_allclose(
        jax.vmap(opponents.past)(states).weight_decay, 0.3 / np.sqrt(np.arange(1, 51)), rtol=1e-6
    )


def test_memory_is_bounded_whatever_the_rounds():
    opponents = queue(3)
    start = opponents.init(player(0), player(0))
    end, _ = rounds_of(opponents, 1000)
    assert jax.tree.map(jnp.shape, end) == jax.tree.map(jnp.shape, start)
    assert jax.tree.map(lambda leaf: leaf.dtype, end) == jax.tree.map(lambda leaf: leaf.dtype, start)
    assert sum(leaf.size for leaf in jax.tree.leaves(start)) == 3 * 2 * 7 + 3


def test_places_that_nobody_has_entered_are_finite_and_count_for_nothing():
    opponents = queue(3)
    past = opponents.past(opponents.init(player(7), player(8)))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(past))
    assert past.share.tolist() == [0.0, 0.0, 0.0]


def test_no_opponents_are_no_queue():
    with pytest.raises(MulliganError, match="cannot have 0 past opponents"):
        queue(0)
