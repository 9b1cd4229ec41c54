"""Mixtures of generators: the discrepancy against its definition, the weights against SLSQP and known mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mulligan.averaging import Discrepancy, discrepancy, draw_members, mixture_weights
from mulligan.errors import MulliganError
from mulligan.online import minimise_quadratic

seeds = st.integers(0, 2**32 - 1)
MEMBERS, SAMPLES, FEATURES = 4, 40, 3


@jax.jit
def cubic(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def features(random, centre, n=SAMPLES):
    return (random.normal(size=(n, FEATURES)) + centre).astype(np.float32)


def problem(seed, spread=1.0):
    random = np.random.default_rng(seed)
    centres = spread * random.normal(size=(MEMBERS, FEATURES))
    members = [features(random, centre) for centre in centres]
    real = features(random, random.dirichlet(np.ones(MEMBERS)) @ centres)
    return members, real


def test_discrepancy_is_the_unbiased_mmd_of_the_pooled_samples():
    """Of a mixture with two members of half weight each, written out over pairs of samples."""
    members, real = problem(0)
    found = discrepancy(members[:2], real, cubic)
    f = [np.asarray(cubic(a, b), np.float64) for a in members[:2] for b in members[:2]]
    among = lambda k: (k.sum() - np.trace(k)) / (SAMPLES * (SAMPLES - 1))  # noqa: E731
    to_real = [np.mean(cubic(member, real)) for member in members[:2]]
    expected = (
        (among(f[0]) + f[1].mean() + f[2].mean() + among(f[3])) / 4
        - 2 * np.mean(to_real)
        + among(np.asarray(cubic(real, real), np.float64))
    )
    assert found.of(np.array([0.5, 0.5])) == pytest.approx(expected, rel=1e-4)


def test_discrepancy_of_the_same_distribution_is_zero_in_the_mean():
    random = np.random.default_rng(0)
    values = [discrepancy([features(random, 0.0)], features(random, 0.0), cubic).of(np.ones(1)) for _ in range(200)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error


@settings(deadline=None, max_examples=50)
@given(seed=seeds, spread=st.sampled_from([0.0, 0.1, 1.0]))
def test_never_worse_on_validation_than_the_best_member(seed, spread):
    found = discrepancy(*problem(seed, spread), cubic)
    weights = mixture_weights(found, minimise_quadratic)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    assert found.of(weights) <= min(map(found.of, np.eye(MEMBERS)))


def test_a_solver_that_fails_costs_nothing():
    found = discrepancy(*problem(3), cubic)
    worst = np.eye(MEMBERS)[np.argmax([found.of(vertex) for vertex in np.eye(MEMBERS)])]
    weights = mixture_weights(found, lambda quadratic, linear: worst)
    assert found.of(weights) == min(map(found.of, np.eye(MEMBERS)))


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
@example(seed=67211)  # one that is not
def test_agrees_with_slsqp(seed):
    """Where the quadratic is convex as it is, as mostly on members that differ more than their samples are noisy."""
    members, real = problem(seed, spread=3.0)
    found = discrepancy(members, real, cubic)
    keep = np.eye(MEMBERS) - 1 / MEMBERS  # directions in which the sum of the weights stays
    assume(np.linalg.eigvalsh(keep @ found.quadratic @ keep).min() > -1e-9 * np.ptp(found.quadratic))
    weights = mixture_weights(found, minimise_quadratic)
    expected = minimize(
        found.of,
        np.full(MEMBERS, 1 / MEMBERS),
        jac=lambda w: 2 * (found.quadratic @ w - found.linear),
        bounds=[(0, 1)] * MEMBERS,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    ).x
    scale = np.ptp(found.quadratic) + np.ptp(found.linear)
    assert found.of(weights) <= found.of(expected) + 1e-6 * scale


def test_finds_the_proportions_of_a_known_mixture():
    random = np.random.default_rng(0)
    centres = 2 * np.eye(3)
    members = [features(random, centre, 2000) for centre in centres]
    real = np.concatenate([features(random, centre, n) for centre, n in zip(centres, (1000, 600, 400), strict=True)])
    found = discrepancy(members, real, cubic)
    np.testing.assert_allclose(mixture_weights(found, minimise_quadratic), [0.5, 0.3, 0.2], atol=0.05)


def test_solver_is_given_a_convex_quadratic():
    """Equal members make a quadratic of noise, with negative eigenvalues."""
    found = discrepancy(*problem(1, spread=0.0), cubic)
    keep = np.eye(MEMBERS) - 1 / MEMBERS
    least = lambda quadratic: np.linalg.eigvalsh(keep @ quadratic @ keep)[0]  # noqa: E731
    assert least(found.quadratic) < -1e-3
    given = []
    mixture_weights(found, lambda quadratic, linear: given.append(quadratic) or np.full(MEMBERS, 1 / MEMBERS))
    assert least(given[0]) > -1e-9
    for shared in (0.0, -5.0):  # what all entries share is the same for all weights, and makes nothing less convex
        convex = Discrepancy(np.diag([1.0, 2.0, 3.0, 4.0]) + shared, np.zeros(MEMBERS), 0.0)
        mixture_weights(convex, lambda quadratic, linear: given.append(quadratic) or np.full(MEMBERS, 1 / MEMBERS))
        np.testing.assert_allclose(given[-1], convex.quadratic, atol=1e-12)


def test_samples_come_from_members_by_weight():
    drawn = draw_members(jax.random.key(0), jnp.array([0.0, 0.25, 0.75]), 10_000)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 10_000, [0, 0.25, 0.75], atol=0.02)


def test_mistakes_are_told():
    members, real = problem(0)
    for wrong in ([], [members[0][:1]]):
        with pytest.raises(MulliganError, match="at least one member, and two samples"):
            discrepancy(wrong, real, cubic)
