"""Players on the simplex against closed forms, a second implementation, and the regret that theory allows."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp, softmax

from mulligan.online import simplex
from mulligan.online.regularisers import ENTROPY, TSALLIS, Objective, excess

ROUNDS, ARMS = 48, 4
ROUNDING = 1e-3  # of sums of 48 float32 losses, and to spare

seeds = st.integers(0, 2**32 - 1)
priors = hnp.arrays(np.float32, ARMS, elements=st.floats(2**-10, 1, width=32))
settled = settings(deadline=None, max_examples=50)


@st.composite
def sequences(draw):
    """Losses in [0, 1], `[ROUNDS, ARMS]`: anything at all, independent draws, or a leader that switches."""
    kind = draw(st.sampled_from(["any", "pattern", "stochastic", "switching"]))
    unit = st.floats(0, 1, width=32)
    if kind == "any":
        return draw(hnp.arrays(np.float32, (ROUNDS, ARMS), elements=unit))
    if kind == "pattern":
        pattern = draw(hnp.arrays(np.float32, (draw(st.integers(1, 8)), ARMS), elements=st.sampled_from([0, 0.5, 1])))
        return np.resize(pattern, (ROUNDS, ARMS))
    random = np.random.default_rng(draw(seeds))
    means = random.random((ROUNDS, ARMS))
    means = means[:1] if kind == "stochastic" else means[(np.arange(ROUNDS) // draw(st.integers(2, 24)))]
    return (random.random((ROUNDS, ARMS)) < means).astype(np.float32)


def play_all(player, losses, hints=None):
    """Plays every round with prompt feedback; weights `[rounds, arms]` and the last state."""
    hints = jnp.zeros_like(losses) if hints is None else hints

    def step(state, now):
        loss, hint = now
        return player.observe(state, loss, hint), player.play(state, hint)

    state, weights = jax.lax.scan(step, player.init(), (losses, hints))
    return weights, state


@jax.jit
def fixed(prior, eta, losses, hints):
    return play_all(simplex.entropic(prior, simplex.fixed(eta)), losses, hints)


@jax.jit
def decaying(prior, losses):
    return play_all(simplex.entropic(prior, simplex.decaying(math.sqrt(8 * math.log(ARMS)))), losses)


@jax.jit
def adahedge(prior, losses, hints):
    return play_all(simplex.adahedge(prior), losses, hints)


def regrets(weights, losses):
    """The player's losses minus each arm's, `[arms]`, in float64."""
    weights, losses = np.asarray(weights, np.float64), np.asarray(losses, np.float64)
    return np.sum(weights * losses) - losses.sum(0)


def divergences(prior):
    """`KL(u, prior)` for every arm as comparator `u`."""
    return -np.log(prior / prior.sum(dtype=np.float64))


# What is played


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
@given(seed=seeds, strength=st.sampled_from([0.03125, 1.0, 32.0]), skew=st.sampled_from([0.3, 1.0, 4.0]))
def test_tsallis_leader_agrees_with_bisection(seed, strength, skew):
    random = np.random.default_rng(seed)
    losses, prior = 30 * random.random(32) ** skew - 10, random.dirichlet(np.ones(32)) + 1e-6
    q, y = 32 * prior / prior.sum(), (losses - losses.min()) / (2 * strength)
    low, high = 0.0, 32.0
    for _ in range(80):
        x = (low + high) / 2
        low, high = (x, high) if np.sum(q / (y + x) ** 2) > 1 else (low, x)
    objective = Objective(jnp.log(jnp.float32(prior / prior.sum())), jnp.float32(losses), jnp.float32(strength))
    log_w = leaders_and_excess(TSALLIS, objective, jnp.zeros(32))[0]
    np.testing.assert_allclose(np.exp(log_w), q / (y + x) ** 2, rtol=2e-4)


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
    assert float(got) == pytest.approx(float(expected), rel=1e-3)


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


# Regret


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


@pytest.mark.parametrize("rate", [None, simplex.adaptive(4 * (math.sqrt(4) - 1))], ids=["decaying", "adaptive"])
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


# Late and missing feedback; arms that come and go


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
    log_prior, span = np.log(prior / prior.sum()), math.log(ARMS)
    least = lambda total, strength: -strength * logsumexp(log_prior - (total - total.min()) / strength) + total.min()  # noqa: E731
    leader = lambda total, strength: softmax(log_prior - (total - total.min()) / strength)  # noqa: E731
    gap, weights, strengths = 0.0, [], []
    for t in range(len(losses) + delay):
        strengths.append(max(gap / span, 1e-30))
        weights.append(leader(losses[: max(t - delay, 0)].sum(0), strengths[-1]))
        if t >= delay:
            w, strength, loss, total = (
                weights[t - delay],
                strengths[t - delay],
                losses[t - delay],
                losses[: t - delay + 1].sum(0),
            )
            objective = w @ total + strength * np.sum(
                np.where(w > 0, w * (np.log(np.maximum(w, 1e-300)) - log_prior), 0)
            )
            linear = (w - leader(total, strength)) @ loss
            gap += max(min(objective - least(total, strength), linear), 0.0)
    return np.array(weights[: len(losses)]), gap


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


# The promises of `Ftrl`

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


def test_a_long_game_stays_exact():
    """A million rounds: arms a hair apart are told apart, which sums of losses in float32 could not do."""
    player = simplex.entropic(np.ones(2, np.float32), simplex.fixed(0.01))

    def step(state, _):
        return player.observe(state, jnp.array([0.5, 0.5001])), None

    state, _ = jax.jit(partial(jax.lax.scan, step, length=1_000_000))(player.init(), None)
    assert float(state.losses[1]) == pytest.approx(100, rel=1e-2)
