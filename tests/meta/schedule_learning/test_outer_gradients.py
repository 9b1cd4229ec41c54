"""Estimators against the exact gradient on quadratic games, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.meta.schedule_learning.outer_gradients import InnerProblem, differentiated, persistent, truncated, whole

STRETCHES, STEPS = 4, 5
START = np.array([1.0, 0.5])
LOG_RATES = np.log([0.15, 0.3])  # of the two players: what is steered
DEVIATION, PAIRS, RUNS = 0.03, 8, 300


def matrix(stiffness, coupling):
    """`min_x max_y stiffness / 2 x^2 + coupling x y - stiffness / 2 y^2`: both players' gradients are `M (x, y)`."""
    return np.array([[stiffness, coupling], [-coupling, stiffness]])


GAMES = {"contracting": matrix(0.5, 1.0), "turning": matrix(0.05, 1.0)}


def quadratic(m):
    """Simultaneous descent on a quadratic game; the loss of a stretch is the squared distance at its end."""

    def unroll(log_rates, state):
        def descend(state, _):
            return state - jnp.exp(log_rates) * (jnp.asarray(m, jnp.float32) @ state), None

        state, _ = jax.lax.scan(descend, state, None, STEPS)
        return state, jnp.sum(state**2)

    return InnerProblem(lambda key: jnp.asarray(START, jnp.float32), unroll, STRETCHES, 2)


def exact(m, forgets=False, log_rates=LOG_RATES):
    """Sum over stretches of the loss's derivative: forward sensitivities in float64, by hand."""
    state, total = START.copy(), np.zeros(2)
    rates = np.exp(log_rates)
    slopes = np.zeros((2, 2))  # of the state, by log rate
    for _ in range(STRETCHES):
        if forgets:
            slopes = np.zeros((2, 2))
        for _ in range(STEPS):
            force = m @ state
            slopes = slopes - rates[:, None] * (m @ slopes) - np.diag(rates * force)
            state = state - rates * force
        total += 2 * state @ slopes
    return total


def sampled(estimator, runs=RUNS):
    """The gradient of whole runs, `[runs, 2]`: the estimates of a run, added up."""
    parameters = jnp.asarray(LOG_RATES, jnp.float32)
    estimates = STRETCHES // estimator.truncations

    def stretch(memory, key):
        estimate, memory = estimator.estimate(parameters, memory, key)
        return memory, estimate.gradient

    @jax.jit
    def run_all(keys):
        return jax.lax.scan(stretch, estimator.init(jax.random.key(0)), keys)[1]

    keys = jax.random.split(jax.random.key(1), runs * estimates)
    return np.asarray(run_all(keys), float).reshape(runs, estimates, 2).sum(axis=1)


def errors(found, truth):
    """How many standard errors the mean is away from the truth, and the standard error itself."""
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return np.abs(found.mean(axis=0) - truth) / error, error


def test_by_hand_is_the_derivative_of_the_closed_form():
    """With one rate for both players the run is a power of a matrix: `w_n = (1 - eta M)^n w_0`."""
    m, rate = GAMES["contracting"], 0.2
    power = np.linalg.matrix_power
    step = np.eye(2) - rate * m
    truth = 0.0
    for n in range(STEPS, STRETCHES * STEPS + 1, STEPS):
        now = power(step, n) @ START
        truth += 2 * now @ (-n * rate * m @ power(step, n - 1) @ START)
    assert exact(m, log_rates=np.log([rate, rate])).sum() == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("name", GAMES)
def test_gradients_through_the_whole_run_are_exact(name):
    [found] = sampled(differentiated(quadratic(GAMES[name]), 1, STRETCHES), runs=1)
    np.testing.assert_allclose(found, exact(GAMES[name]), rtol=1e-4)


@pytest.mark.parametrize("estimator", [persistent, whole])
@pytest.mark.parametrize("name", GAMES)
def test_unbiased_estimators_agree_with_the_exact_gradient(name, estimator):
    truth = exact(GAMES[name])
    away, error = errors(sampled(estimator(quadratic(GAMES[name]), DEVIATION, PAIRS)), truth)
    assert (away < 4).all()
    assert (error < 0.1 * np.abs(truth).max()).all()  # or agreement would mean little


@pytest.mark.parametrize("name", GAMES)
def test_what_forgets_is_biased_and_agrees_with_truncated_backpropagation(name):
    m = GAMES[name]
    short = exact(m, forgets=True)
    [through] = sampled(differentiated(quadratic(m), 1, 1), runs=1)
    np.testing.assert_allclose(through, short, rtol=1e-4)
    found = sampled(truncated(quadratic(m), DEVIATION, PAIRS))
    assert (errors(found, short)[0] < 4).all()
    assert errors(found, exact(m))[0].max() > 6


def test_the_runs_of_a_pair_share_their_key_and_mirror_their_noise():
    """A loss that is linear in the parameters, plus noise of the run's own: the noise cancels, the slope is exact."""

    def unroll(parameters, key):
        return key, jnp.dot(parameters, jnp.array([1.0, -2.0])) + 100 * jax.random.normal(key)

    inner = InnerProblem(lambda key: key, unroll, 1, 2)
    estimator = whole(inner, 0.1, 500)
    estimate, _ = jax.jit(estimator.estimate)(jnp.zeros(2), estimator.init(jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(estimate.gradient, [1.0, -2.0], atol=0.4)


@pytest.mark.parametrize(
    "estimator",
    [lambda inner: persistent(inner, 0.1, 2), lambda inner: differentiated(inner, 2, 1)],
    ids=["es", "bptt"],
)
def test_one_compiled_program_serves_all_estimates(estimator):
    of = estimator(quadratic(GAMES["turning"]))
    estimate, memory, parameters = jax.jit(of.estimate), of.init(jax.random.key(0)), jnp.zeros(2)
    for index in range(STRETCHES + 1):
        found, memory = estimate(parameters, memory, jax.random.key(index))
        parameters = parameters - 0.1 * found.gradient
    assert estimate._cache_size() == 1
