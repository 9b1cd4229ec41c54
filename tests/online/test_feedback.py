"""Late and missing feedback; arms that come and go."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from online.games import (
    ARMS,
    ROUNDING,
    ROUNDS,
    divergences,
    fixed,
    priors,
    regrets,
    seeds,
    sequences,
    settled,
)
from scipy.special import softmax, xlogy

from mulligan.online import simplex


@partial(jax.jit, static_argnums=2)
def delayed(prior, losses, delay):
    """AdaHedge when each round's losses come `delay` rounds later: weights and the state when all have come."""
    player = simplex.adahedge(prior)
    start = player.init()
    queue = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (delay, *leaf.shape)), start)

    def step(carry, now):
        (state, queue), (loss, t) = carry, now
        weights, played = player.play(state), jax.tree.map(lambda leaf: leaf[0], queue)
        queue = jax.tree.map(lambda leaf, new: jnp.concatenate([leaf[1:], new[None]]), queue, state)
        state = jax.lax.cond(t >= delay, lambda: player.observe(state, loss, played=played), lambda: state)
        return (state, queue), weights

    late = jnp.concatenate([jnp.zeros((delay, losses.shape[1])), losses])
    carry, weights = jax.lax.scan(step, (start, queue), (late, jnp.arange(late.shape[0])))
    return weights[: losses.shape[0]], carry[0]


def delayed_reference(prior, losses, delay):
    """AdaHedge with delay (Flaspohler et al. 2021) by its definition, in float64: weights, sum of gaps."""
    prior = prior / prior.sum()

    def leader(total, strength):
        return softmax(np.log(prior) - (total - total.min()) / strength)

    def objective(w, total, strength):
        return w @ total + strength * np.sum(xlogy(w, w / prior))

    gap, plays = 0.0, []
    for t in range(len(losses) + delay):
        strength = max(gap / math.log(ARMS), 1e-30)
        plays.append((leader(losses[: max(t - delay, 0)].sum(0), strength), strength))
        if t >= delay:
            (w, strength), loss, total = plays[t - delay], losses[t - delay], losses[: t - delay + 1].sum(0)
            v = leader(total, strength)
            regularised = objective(w, total, strength) - objective(v, total, strength)
            gap += max(min(regularised, (w - v) @ loss), 0.0)
    return np.array([w for w, _ in plays[: len(losses)]]), gap


@settled
@given(seed=seeds, delay=st.sampled_from([1, 7]))
def test_late_feedback_follows_the_definition(seed, delay):
    random = np.random.default_rng(seed)
    losses, prior = random.integers(0, 9, (ROUNDS, ARMS)) / 8, random.random(ARMS) + 0.1
    expected, gap = delayed_reference(prior, losses, delay)
    weights, state = delayed(prior.astype(np.float32), losses.astype(np.float32), delay)
    np.testing.assert_allclose(weights, expected, rtol=2e-3, atol=1e-5)
    assert float(state.gap) == pytest.approx(gap, rel=1e-3)


@settled
@given(prior=priors, losses=sequences(), delay=st.sampled_from([1, 7]))
def test_late_feedback_keeps_the_adaptive_bound(prior, losses, delay):
    weights, state = delayed(prior, losses, delay)
    assert float(state.rounds) == ROUNDS
    bound = float(state.gap) * (1 + divergences(prior) / math.log(ARMS))
    assert (regrets(weights, losses) <= bound + ROUNDING).all()
    assert float(state.gap) <= 4 * math.sqrt((delay + 1) * ROUNDS) + 4 * (delay + 1)


def test_rounds_without_feedback_change_nothing():
    player = simplex.adahedge(np.ones(3, np.float32))
    state = player.observe(player.init(), jnp.array([0.0, 1.0, 0.5]))
    after = player.observe(state, jnp.full(3, jnp.nan), hint=jnp.array([3.0, 0.0, 1.0]))
    jax.tree.map(np.testing.assert_array_equal, state, after)


@settled
@given(prior=priors, losses=sequences(), seed=seeds, eta=st.floats(1e-2, 4))
def test_regret_to_an_arm_counts_only_the_rounds_in_which_it_was_seen(prior, losses, seed, eta):
    seen = np.random.default_rng(seed).random(losses.shape) < 0.6
    weights, _ = fixed(prior, eta, np.where(seen, losses, np.nan).astype(np.float32), np.zeros_like(losses))
    share = np.where(seen, weights, 0) / np.maximum(np.where(seen, weights, 0).sum(1, keepdims=True), 1e-30)
    own = np.sum(share * losses, 1, keepdims=True)
    regret = np.sum(np.where(seen, own - losses, 0), 0)
    assert (regret <= divergences(prior) / eta + eta / 8 * ROUNDS + ROUNDING).all()


@jax.jit
def with_absent(prior, losses, awake):
    """AdaHedge when only the arms in `awake` `[rounds, arms]` can be played."""
    player = simplex.adahedge(prior)

    def step(state, now):
        loss, awake = now
        state = simplex.wake(simplex.leave(state, ~awake), awake)
        return player.observe(state, loss), player.play(state)

    state, weights = jax.lax.scan(step, player.init(), (losses, awake))
    return weights, state


@settled
@given(prior=priors, losses=sequences(), seed=seeds)
def test_absent_arms_are_not_played_and_lose_nothing(prior, losses, seed):
    awake = np.random.default_rng(seed).random(losses.shape) < 0.6
    awake[:, 0] |= ~awake.any(1)
    weights, state = with_absent(prior, losses, awake)
    assert (np.asarray(weights)[~awake] == 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    regret = np.sum(np.where(awake, np.sum(weights * losses, 1, keepdims=True) - losses, 0), 0)
    bound = float(state.gap) * (1 + divergences(prior) / math.log(ARMS))
    assert (regret <= bound + ROUNDING).all()


def test_without_the_leader_the_next_best_is_followed():
    """Perfect hints keep AdaHedge at an infinite rate; there too the order of the arms behind the leader counts."""
    player = simplex.adahedge(np.array([1, 1, 1], np.float32))
    loss = jnp.array([0.0, 0.25, 0.5])
    state = player.observe(player.init(), loss, hint=loss)
    assert float(state.gap) == 0
    state = simplex.leave(state, jnp.array([True, False, False]))
    np.testing.assert_array_equal(player.play(state), [0, 1, 0])


def test_an_arm_that_joins_starts_from_its_share_of_the_prior():
    """Played by itself later, and it wins: the regret from its entry on obeys the bound of a fresh start."""
    eta, prior = 0.5, np.ones(3, np.float32)
    player = simplex.entropic(prior, simplex.fixed(eta))
    newcomer = jnp.array([False, False, True])
    state = simplex.leave(player.init(), newcomer)
    for _ in range(20):
        assert float(player.play(state)[2]) == 0
        state = player.observe(state, jnp.array([0.5, 0.6, 100.0]))
    state = simplex.join(state, newcomer)
    # To the eye of the newcomer the player has the losses of an arm whose weight is the prior's third.
    behind = np.asarray(state.losses - state.regret)
    np.testing.assert_allclose(behind[2], 0, atol=1e-6)
    np.testing.assert_allclose(player.play(state), np.exp(-eta * behind) / np.exp(-eta * behind).sum(), rtol=1e-4)
    regret = 0.0
    for _ in range(60):
        loss = jnp.array([0.5, 0.6, 0.0])
        regret += float(player.play(state) @ loss)
        state = player.observe(state, loss)
    assert regret <= math.log(3) / eta + eta / 8 * 80
