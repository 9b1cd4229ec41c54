"""What players on the simplex play: closed forms, the papers' own formulas, and the promises of `Ftrl`."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from online.games import (
    ARMS,
    ROUNDS,
    adahedge,
    decaying,
    fixed,
    play_all,
    priors,
    seeds,
    sequences,
    settled,
)

from mulligan.online import simplex
from mulligan.online.regularisers import ENTROPY, TSALLIS, Objective, excess


@settled
@given(prior=priors, losses=sequences(), hints=sequences(), eta=st.floats(1e-3, 10))
def test_entropic_plays_its_closed_form(prior, losses, hints, eta):
    weights, _ = fixed(prior, eta, losses, hints)
    before = np.cumsum(losses, 0, dtype=np.float64) - losses
    expected = prior * np.exp(-eta * (before + hints - (before + hints).min(1, keepdims=True)))
    np.testing.assert_allclose(weights, expected / expected.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


@settled
@given(prior=priors, losses=sequences())
def test_decaying_rate_falls_with_the_root_of_the_round(prior, losses):
    weights, _ = decaying(prior, losses)
    eta = np.sqrt(8 * np.log(ARMS) / np.arange(1, ROUNDS + 1))[:, None]
    before = np.cumsum(losses, 0, dtype=np.float64) - losses
    expected = prior * np.exp(-eta * (before - before.min(1, keepdims=True)))
    np.testing.assert_allclose(weights, expected / expected.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


def adahedge_reference(losses):
    """AdaHedge as in de Rooij et al. 2014, figure 1, in float64: weights, sum of mixability gaps."""
    rounds, arms = losses.shape
    before, gap, weights = np.zeros(arms), 0.0, []
    for t in range(rounds):
        behind = before - before.min()
        w = (behind == 0).astype(float) if gap == 0 else np.exp(-behind * np.log(arms) / gap)
        weights.append(w / w.sum())
        after = before + losses[t]
        if gap == 0:
            mix = after.min() - before.min()
        else:
            eta = np.log(arms) / gap
            mix = -np.log(weights[-1] @ np.exp(-eta * (losses[t] - losses[t].min()))) / eta + losses[t].min()
        gap += max(weights[-1] @ losses[t] - mix, 0.0)
        before = after
    return np.array(weights), gap


@settled
@given(seed=seeds)
def test_adahedge_agrees_with_the_paper(seed):
    # Multiples of 1/8: sums are exact in float32, so that ties at an infinite rate are ties.
    losses = np.random.default_rng(seed).integers(0, 9, (ROUNDS, ARMS)) / 8
    expected, gap = adahedge_reference(losses)
    weights, state = adahedge(np.ones(ARMS, np.float32), losses.astype(np.float32), np.zeros_like(losses, np.float32))
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-5)
    assert float(state.gap) == pytest.approx(gap, rel=1e-4)


@settled
@given(
    seed=seeds,
    strength=st.sampled_from([0.03125, 1.0, 32.0]),
    skew=st.sampled_from([0.3, 1.0, 4.0]),
    evenness=st.sampled_from([0.02, 1.0]),
)
def test_tsallis_leader_agrees_with_bisection(seed, strength, skew, evenness):
    random = np.random.default_rng(seed)
    losses, prior = 30 * random.random(32) ** skew - 10, random.dirichlet(evenness * np.ones(32)) + 1e-6
    losses = np.float64(np.float32(losses))  # what the player is told: near ties hang on the last digit
    q, y = 32 * prior / prior.sum(), (losses - losses.min()) / (2 * strength)
    low, high = 0.0, 32.0
    for _ in range(80):
        x = (low + high) / 2
        low, high = (x, high) if np.sum(q / (y + x) ** 2) > 1 else (low, x)
    objective = Objective(jnp.log(jnp.float32(prior / prior.sum())), jnp.float32(losses), jnp.float32(strength))
    log_w = leaders_and_excess(TSALLIS, objective, jnp.zeros(32))[0]
    np.testing.assert_allclose(np.exp(log_w), q / (y + x) ** 2, rtol=2e-4, atol=0 if evenness == 1.0 else 2e-5)


@settled
@given(seed=seeds, size=st.sampled_from([1e-4, 1e-2, 0.1, 2.0]))
def test_divergence_keeps_its_digits_however_near_the_weights(seed, size):
    """`KL(w, v) + sum v - sum w`, summed in float64 from the same float32 logarithms."""
    random = np.random.default_rng(seed)
    log_v = jax.nn.log_softmax(jnp.asarray(3 * random.normal(size=8), jnp.float32))
    log_w = log_v + jnp.asarray(size * random.normal(size=8), jnp.float32)
    w, v = (np.exp(np.asarray(log, np.longdouble)) for log in (log_w, log_v))
    expected = np.sum(w * (np.asarray(log_w, np.longdouble) - np.asarray(log_v)) - w + v)
    got = divergence(log_v, log_w, log_v).sum()
    assert float(got) == pytest.approx(float(expected), rel=1e-5 if size <= 1e-2 else 1e-3)


divergence = jax.jit(ENTROPY.divergence)

PSI = {
    "entropy": (ENTROPY, lambda w, prior: np.sum(w * np.log(w / prior))),
    "tsallis": (TSALLIS, lambda w, prior: -4 * np.sum(np.sqrt(ARMS * prior * w))),
}


@partial(jax.jit, static_argnums=0)
def leaders_and_excess(regulariser, objective, change):
    """The leader before the losses change, the one after, and by how much it is better after."""
    before = regulariser.leader(objective)
    objective = objective._replace(losses=objective.losses + change)
    after = regulariser.leader(objective)
    return before, after, excess(regulariser, objective, before, after)


@pytest.mark.parametrize("name", PSI)
@settled
@given(
    prior=priors,
    losses=hnp.arrays(np.float32, ARMS, elements=st.floats(0, 10, width=32)),
    change=hnp.arrays(np.float32, ARMS, elements=st.floats(-1, 1, width=32)),
    strength=st.sampled_from([0.125, 1.0, 8.0, 64.0]),
)
def test_excess_is_the_difference_of_the_objective(name, prior, losses, change, strength):
    regulariser, psi = PSI[name]
    objective = Objective(jnp.log(prior / prior.sum()), jnp.asarray(losses), jnp.float32(strength))
    log_w, log_v, got = leaders_and_excess(regulariser, objective, change)
    w, v, prior = (np.exp(np.asarray(log, np.float64)) for log in (log_w, log_v, objective.log_prior))
    w, v = w / w.sum(), v / v.sum()
    after = np.asarray(losses, np.float64) + change
    expected = (w - v) @ after + strength * (psi(w, prior) - psi(v, prior))
    assert float(got) == pytest.approx(expected, rel=2e-2, abs=1e-6 * (strength + np.abs(after).max()))


PLAYERS = {
    "fixed": lambda prior: simplex.entropic(prior, simplex.fixed(0.3)),
    "decaying": lambda prior: simplex.entropic(prior, simplex.decaying(1.0)),
    "adahedge": simplex.adahedge,
    "tsallis": simplex.tsallis,
    "tsallis adaptive": lambda prior: simplex.tsallis(prior, simplex.adaptive(4.0)),
}


@pytest.mark.parametrize("name", PLAYERS)
def test_contract(name):
    """Weights on the simplex; types kept; jit equals eager; vmap equals a loop; an arm without prior stays out."""
    make = PLAYERS[name]
    losses = np.random.default_rng(0).random((12, ARMS)).astype(np.float32)
    prior = np.array([1, 2, 3, 0], np.float32)
    player = make(prior)
    state = player.init()
    for loss in losses[:3]:
        weights = player.play(state)
        assert float(weights.sum()) == pytest.approx(1, rel=1e-5)
        assert float(weights[3]) == 0
        assert all(math.isfinite(leaf) for leaf in state.losses)
        state = player.observe(state, loss)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(name), state, player.init())

    weights, last = jax.jit(partial(play_all, player))(losses[:3])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), last, state)

    many = np.stack([prior, prior[::-1]])
    both, _ = jax.vmap(lambda prior: play_all(make(prior), losses[:3]))(many)
    np.testing.assert_allclose(both[0], weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PLAYERS)
def test_the_first_play_is_the_prior(name):
    prior = np.array([1, 2, 5], np.float32)
    player = PLAYERS[name](prior)
    np.testing.assert_allclose(player.play(player.init()), prior / 8, rtol=1e-5)


@pytest.mark.parametrize("name", PLAYERS)
def test_only_the_shares_of_the_prior_count(name):
    """Weights three times as large are the same prior, in what is played and in what each round costs."""
    prior = np.array([0.5, 0.3, 0.2], np.float32)
    one, other = PLAYERS[name](prior), PLAYERS[name](3 * prior)
    states = one.init(), other.init()
    for loss in ([0.1, 0.9, 0.4], [0.7, 0.2, 0.3]):
        states = one.observe(states[0], jnp.array(loss)), other.observe(states[1], jnp.array(loss))
        np.testing.assert_allclose(one.play(states[0]), other.play(states[1]), rtol=1e-5)
    np.testing.assert_allclose(states[0].gap, states[1].gap, rtol=1e-4)
    assert float(jnp.exp(states[1].log_prior).sum()) == pytest.approx(1)


def test_what_is_guessed_of_an_arm_without_prior_blurs_no_order_among_the_others():
    player = simplex.adahedge(np.array([0, 1, 1], np.float32))
    weights = player.play(player.init(), jnp.array([-1e9, 0.0, 0.5]))
    np.testing.assert_allclose(weights, [0, 1, 0], atol=1e-6)


def test_a_long_game_stays_exact():
    """A million rounds: arms a hair apart are told apart, which sums of losses in float32 could not do."""
    player = simplex.entropic(np.ones(2, np.float32), simplex.fixed(0.01))

    def step(state, _):
        return player.observe(state, jnp.array([0.5, 0.5001])), None

    state, _ = jax.jit(partial(jax.lax.scan, step, length=1_000_000))(player.init(), None)
    assert float(state.losses[1]) == pytest.approx(100, rel=1e-2)
