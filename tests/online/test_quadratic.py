"""The quadratic over the simplex against scipy's SLSQP and the conditions of optimality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mulligan.online import approach_quadratic, minimise_quadratic

seeds = st.integers(0, 2**32 - 1)
ARMS = 6


def problem(seed, arms, offset=0.0):
    """A quadratic of any condition, and an optimum that is inside, on a face or pulled out of the simplex."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(arms, 2 * arms)) * 10.0 ** (-3 * random.random(2 * arms) * random.integers(2))
    quadratic = factors @ factors.T / (2 * arms)
    pull = random.choice([0.0, 0.1, 1.0]) * np.abs(quadratic).max() * random.normal(size=arms)
    return quadratic + offset, quadratic @ random.dirichlet(np.ones(arms) / 2) + pull


def objective(weights, quadratic, linear):
    weights = np.asarray(weights, np.float64)
    return weights @ quadratic @ weights / 2 - linear @ weights


def slsqp(quadratic, linear):
    arms = len(linear)
    return minimize(
        objective,
        np.full(arms, 1 / arms),
        args=(quadratic, linear),
        jac=lambda w, *_: quadratic @ w - linear,
        bounds=[(0, 1)] * arms,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(arms)}],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    ).x


@settings(deadline=None, max_examples=60)
@given(seed=seeds, offset=st.sampled_from([0.0, 10.0]))
def test_agrees_with_slsqp(seed, offset):
    quadratic, linear = problem(seed, ARMS, offset)
    got = np.asarray(minimise_quadratic(quadratic, linear), np.float64)
    assert (got >= 0).all()
    assert got.sum() == pytest.approx(1, abs=1e-5)
    got /= got.sum()
    expected = slsqp(quadratic, linear)
    scale = np.ptp(quadratic) + np.ptp(linear)
    assert objective(got, quadratic, linear) - objective(expected, quadratic, linear) <= 1e-6 * scale * (1 + offset)
    if offset == 0 and np.linalg.eigvalsh(quadratic)[0] > 0.05 * np.ptp(quadratic):
        np.testing.assert_allclose(got, expected, atol=2e-3)


@settings(deadline=None, max_examples=60)
@given(seed=seeds)
def test_is_never_worse_than_one_arm(seed):
    quadratic, linear = problem(seed, ARMS)
    best = min(objective(vertex, quadratic, linear) for vertex in np.eye(ARMS))
    scale = np.ptp(quadratic) + np.ptp(linear)
    assert objective(minimise_quadratic(quadratic, linear), quadratic, linear) <= best + 1e-6 * scale


@settings(deadline=None, max_examples=60)
@given(seed=seeds, offset=st.sampled_from([0.0, 10.0]))
def test_an_approach_ends_between_uniform_weights_and_the_least(seed, offset):
    quadratic, linear = problem(seed, ARMS, offset)
    got = np.asarray(approach_quadratic(quadratic, linear), np.float64)
    assert (got >= 0).all()
    assert got.sum() == pytest.approx(1, abs=1e-5)
    least = np.asarray(minimise_quadratic(quadratic, linear), np.float64)
    # Of float32 weights, whose sum is off by more, times the offset, than what is compared.
    ends = (weights / weights.sum() for weights in (np.ones(ARMS), least, got))
    start, end, reached = (objective(weights, quadratic, linear) for weights in ends)
    scale = np.ptp(quadratic) + np.ptp(linear)
    assert end - 1e-5 * scale * (1 + offset) <= reached <= start + 1e-5 * scale * (1 + offset)
    assert reached - end <= 0.01 * (start - end) + 1e-4 * scale * (1 + offset)


def test_diagonal_has_its_closed_form():
    """Minimal variance: weights proportional to the inverse variances."""
    variances = np.array([1.0, 2.0, 4.0, 8.0, 1000.0, 3.0])
    expected = 1 / variances / np.sum(1 / variances)
    np.testing.assert_allclose(minimise_quadratic(np.diag(variances), np.zeros(ARMS)), expected, atol=2e-4)


def test_an_arm_that_does_as_well_alone_is_taken_alone():
    """The least point without the simplex is an arm, so that the objective hardly rises to any side of it."""
    for arm in range(ARMS):
        np.testing.assert_array_equal(minimise_quadratic(np.eye(ARMS), np.eye(ARMS)[arm]), np.eye(ARMS)[arm])


def test_an_objective_without_curvature_takes_the_best_arm():
    got = minimise_quadratic(np.zeros((ARMS, ARMS)), np.array([0.1, 0.3, 0.2, 0.0, -1.0, 0.0]))
    np.testing.assert_array_equal(got, np.eye(ARMS)[1])
    np.testing.assert_array_equal(minimise_quadratic(np.ones((1, 1)), np.ones(1)), [1.0])
