"""The regret that theory allows, on sequences that Hypothesis finds, and its growth."""

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
    ROUNDING,
    ROUNDS,
    adahedge,
    decaying,
    divergences,
    fixed,
    play_all,
    priors,
    regrets,
    seeds,
    sequences,
    settled,
)

from mulligan.online import simplex


@settled
@given(prior=priors, losses=sequences(), eta=st.floats(1e-2, 4))
def test_regret_to_every_arm_is_bounded_by_its_divergence_from_the_prior(prior, losses, eta):
    weights, state = fixed(prior, eta, losses, np.zeros_like(losses))
    bound = divergences(prior) / eta + eta / 8 * ROUNDS
    assert (regrets(weights, losses) <= bound + ROUNDING).all()
    assert float(state.regret) == pytest.approx(regrets(weights, losses).max(), abs=ROUNDING)


def test_a_good_prior_pays():
    """With the prior on the arm that wins, less regret than any rate gives the uniform prior."""
    losses = np.ones((ROUNDS, 16), np.float32)
    losses[:, 3] = 0
    good = np.full(16, 1e-3, np.float32)
    good[3] = 1
    hints = np.zeros_like(losses)
    eta = 0.1
    regret = {
        name: regrets(fixed(prior, eta, losses, hints)[0], losses)[3]
        for name, prior in {"good": good, "uniform": np.ones(16, np.float32)}.items()
    }
    assert regret["good"] <= divergences(good)[3] / eta + eta / 8 * ROUNDS
    assert regret["good"] < regret["uniform"] / 10


@settled
@given(losses=sequences())
def test_decaying_rate_keeps_the_textbook_bound(losses):
    """`2 sqrt(rounds / 2 ln k) + sqrt(ln k / 8)` (Cesa-Bianchi and Lugosi 2006, theorem 2.3)."""
    weights, _ = decaying(np.ones(ARMS, np.float32), losses)
    bound = 2 * math.sqrt(ROUNDS / 2 * math.log(ARMS)) + math.sqrt(math.log(ARMS) / 8)
    assert regrets(weights, losses).max() <= bound + ROUNDING


@settled
@given(prior=priors, losses=sequences(), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_adahedge_keeps_its_bounds_at_any_scale(prior, losses, scale):
    losses = losses * np.float32(scale)
    weights, state = adahedge(prior, losses, np.zeros_like(losses))
    bound = float(state.gap) * (1 + divergences(prior) / math.log(ARMS))
    assert (regrets(weights, losses) <= bound + ROUNDING * scale).all()

    weights, _ = adahedge(np.ones(ARMS, np.float32), losses, np.zeros_like(losses))
    theorem8 = math.sqrt(ROUNDS * math.log(ARMS)) + 4 / 3 * math.log(ARMS) + 2
    assert regrets(weights, losses).max() <= scale * (theorem8 + ROUNDING)


@settled
@given(prior=priors, losses=sequences(), eta=st.floats(1e-2, 4))
def test_perfect_hints_make_the_regret_constant(prior, losses, eta):
    weights, _ = fixed(prior, eta, losses, losses)
    assert (regrets(weights, losses) <= divergences(prior) / eta + ROUNDING).all()
    weights, state = adahedge(prior, losses, losses)
    assert float(state.gap) <= ROUNDING
    assert regrets(weights, losses).max() <= ROUNDING


@settled
@given(prior=priors, losses=sequences(), hints=sequences())
def test_bad_hints_keep_the_adaptive_bound(prior, losses, hints):
    weights, state = adahedge(prior, losses, hints * 100)
    bound = float(state.gap) * (1 + divergences(prior) / math.log(ARMS))
    assert (regrets(weights, losses) <= bound + 10 * ROUNDING).all()
    assert float(state.gap) <= ROUNDS + ROUNDING


@settled
@given(seed=seeds, scale=st.sampled_from([2.0**-10, 4.0, 2.0**20]), shift=st.integers(-8, 8))
def test_adahedge_does_not_see_shift_and_scale(seed, scale, shift):
    random = np.random.default_rng(seed)
    losses = (random.integers(0, 9, (ROUNDS, ARMS)) / 8).astype(np.float32)
    shifts = (shift * random.integers(0, 9, (ROUNDS, 1)) / 8).astype(np.float32)
    hints = np.zeros_like(losses)
    prior = random.random(ARMS, np.float32)
    plain, _ = adahedge(prior, losses, hints)
    moved, _ = adahedge(prior, (losses + shifts) * np.float32(scale), hints)
    np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-5)


def mean_regret(player, rounds, losses_of, copies=256):
    """Mean over many copies of the regret to the best arm after each number of rounds in `rounds`."""

    def regret(key):
        losses = losses_of(key, rounds[-1])
        weights, _ = play_all(player, losses)
        behind = jnp.cumsum(jnp.sum(weights * losses, 1, keepdims=True) - losses, 0)
        return behind.max(1)[jnp.array(rounds) - 1]

    return np.asarray(jax.jit(jax.vmap(regret))(jax.random.split(jax.random.key(0), copies)).mean(0))


def slope(rounds, regret):
    return np.polyfit(np.log(rounds), np.log(regret), 1)[0]


def fair(key, rounds):
    """No arm is better: the sequence on which no player's regret grows slower than the root of the rounds."""
    return jax.random.bernoulli(key, 0.5, (rounds, 2)).astype(jnp.float32)


PROMPT = {
    "decaying": lambda: simplex.entropic(jnp.ones(2), simplex.decaying(2.0)),
    "adahedge": lambda: simplex.adahedge(jnp.ones(2)),
    "tsallis": lambda: simplex.tsallis(jnp.ones(2)),
}


@pytest.mark.parametrize("name", PROMPT)
def test_regret_grows_with_the_root_of_the_rounds(name):
    rounds = [2**power for power in range(5, 13)]
    assert 0.4 < slope(rounds, mean_regret(PROMPT[name](), rounds, fair)) < 0.53


@pytest.mark.parametrize("name", PROMPT)
def test_regret_to_an_adversary_that_answers_the_weights_is_bounded(name):
    """The heavier arm loses, always: to follow the leader costs half of all rounds."""
    player, rounds = PROMPT[name](), 4000

    def step(state, _):
        weights = player.play(state)
        loss = (weights == weights.max()).astype(jnp.float32) * jnp.array([1.0, 0.999])
        return player.observe(state, loss), (weights, loss)

    _, (weights, losses) = jax.jit(partial(jax.lax.scan, step, length=rounds))(player.init(), None)
    assert regrets(weights, losses).max() <= 2 * math.sqrt(rounds)


# Feedback from the played arm alone


def bandit_regret(player, means, keys, scale=1.0):
    """Mean over `keys` of the regret to the best arm when only the played arm's loss is seen; `[rounds]`."""

    def game(key):
        def step(state, now):
            mean, key = now
            weights = player.play(state)
            draw, toss = jax.random.split(key)
            arm = jax.random.categorical(draw, jnp.log(weights))
            loss = scale * jax.random.bernoulli(toss, mean).astype(jnp.float32)
            estimate = simplex.importance_weighted(loss[arm], arm, weights)
            return player.observe(state, estimate), jnp.sum(weights * mean) - mean

        behind = jax.lax.scan(step, player.init(), (means, jax.random.split(key, means.shape[0])))[1]
        return jnp.cumsum(behind, 0)

    return np.asarray(jax.jit(jax.vmap(game))(keys).mean(0).max(1))


@pytest.mark.parametrize(
    "rate",
    [
        pytest.param(None, id="decaying", marks=pytest.mark.slow),
        pytest.param(simplex.adaptive(4 * (math.sqrt(4) - 1)), id="adaptive"),
    ],
)
def test_tsallis_bounds_the_regret_of_bandits(rate):
    rounds, arms = 4096, 4
    keys = jax.random.split(jax.random.key(1), 64)
    block = (jnp.arange(rounds) // 256) % arms
    switching = 1.0 - 0.9 * jax.nn.one_hot(block, arms)
    stochastic = jnp.tile(jnp.array([0.3, 0.5, 0.5, 0.6]), (rounds, 1))
    player = simplex.tsallis(jnp.ones(arms), rate)
    for means in (switching, stochastic):
        assert bandit_regret(player, means, keys)[-1] <= 4 * math.sqrt(arms * rounds) + 1


def test_tsallis_regret_is_logarithmic_when_one_arm_is_better():
    rounds = 8192
    means = jnp.tile(jnp.array([0.25, 0.75]), (rounds, 1))
    regret = bandit_regret(simplex.tsallis(jnp.ones(2)), means, jax.random.split(jax.random.key(2), 64))
    checkpoints = 2 ** np.arange(7, 14)
    assert slope(checkpoints, regret[checkpoints - 1]) < 0.3
    assert regret[-1] < 60


def test_adaptive_bandits_do_not_see_the_scale():
    keys = jax.random.split(jax.random.key(3), 4)
    means = jnp.tile(jnp.array([0.2, 0.5, 0.8]), (500, 1))
    player = simplex.tsallis(jnp.ones(3), simplex.adaptive(4 * (math.sqrt(3) - 1)))
    small, large = (bandit_regret(player, means, keys, scale) for scale in (1.0, 1024.0))
    np.testing.assert_allclose(small, large, rtol=1e-2)


@given(
    weights=hnp.arrays(np.float32, ARMS, elements=st.floats(2**-7, 1, width=32)),
    loss=hnp.arrays(np.float32, ARMS, elements=st.floats(0, 10, width=32)),
)
@settled
def test_importance_weighting_is_unbiased(weights, loss):
    weights = jnp.asarray(weights / weights.sum())
    estimates = [simplex.importance_weighted(float(loss[arm]), arm, weights) for arm in range(ARMS)]
    np.testing.assert_allclose(weights @ np.array(estimates), loss, rtol=1e-4, atol=1e-6)
