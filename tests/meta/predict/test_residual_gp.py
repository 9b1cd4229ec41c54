"""Residuals: agreement with scikit-learn's Gaussian process, kernels found again, and intervals that hold."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from mulligan.meta.predict.curves import FIDELITIES
from mulligan.meta.predict.residual_gp import (
    LEVELS,
    NO_OBSERVATIONS,
    HeldOutResiduals,
    Kernel,
    ResidualModel,
    concatenate,
    condition,
    fit_kernel,
    fit_residual_model,
    observations_of,
)


def drawn(kernel: Kernel, count: int, seed: int = 0) -> np.ndarray:
    points = observations_of(FIDELITIES, 0.0 * FIDELITIES)
    covariance = kernel.covariance(points, points) + kernel.noise**2 * np.eye(len(FIDELITIES))
    return np.random.default_rng(seed).multivariate_normal(np.zeros(len(FIDELITIES)), covariance, count)


def test_agrees_with_scikit_learn():
    kernel = Kernel(0.7, 0.5, 3.0, 0.2)
    where, seen, ahead = np.array([0.0, 1.5, 2.0]), np.array([0.4, -0.3, 0.1]), np.array([3.0, 7.0, 10.0])
    theirs = GaussianProcessRegressor(
        ConstantKernel(0.7**2) + ConstantKernel(0.5**2) * Matern(3.0, nu=0.5) + WhiteKernel(0.2**2), optimizer=None
    )
    mean, deviation = theirs.fit(where[:, None], seen).predict(ahead[:, None], return_std=True)
    ours = condition(kernel, observations_of(where, seen), ahead)
    np.testing.assert_allclose(ours.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(ours.deviation, deviation, rtol=1e-6)


def test_an_unknown_recipe_is_less_certain_until_it_is_seen():
    kernel, ahead = Kernel(0.5, 0.1, 5.0, 0.05), np.array([10.0])
    before = [condition(kernel, NO_OBSERVATIONS, ahead, more).deviation[0] for more in (0.0, 2.0)]
    after = [
        condition(kernel, observations_of(np.array([9.0]), np.array([0.3]), extra_std=more), ahead, more).deviation[0]
        for more in (0.0, 2.0)
    ]
    assert before[1] > 3 * before[0]
    assert after[1] == pytest.approx(after[0], rel=0.05)


def test_a_kernel_is_found_again():
    true = Kernel(1.5, 0.3, 4.0, 0.05)
    curves = drawn(true, 400)
    curves[:200, 11:] = np.nan  # most trials are short
    found = fit_kernel(curves, np.ones(400))
    assert found.level == pytest.approx(true.level, rel=0.15)
    assert found.drift == pytest.approx(true.drift, rel=0.15)
    assert found.noise == pytest.approx(true.noise, rel=0.15)


def test_with_nothing_to_learn_from_the_kernel_is_the_usual_one():
    learned = fit_residual_model(HeldOutResiduals(np.zeros((0, len(FIDELITIES))), np.zeros(0, int), np.zeros(0)))
    assert learned.kernel == Kernel()
    np.testing.assert_allclose(learned.fresh, [-1.886, 0, 1.886], atol=0.01)  # Student's t, of two
    np.testing.assert_allclose(learned.begun, learned.fresh)


@pytest.mark.parametrize("begun", [False, True])
def test_intervals_hold_where_residuals_are_not_normal(begun):
    """Levels of exponential law: skewed, with a heavy tail. Half of the curves teach, the other half judge."""
    rng = np.random.default_rng(1)
    curves = rng.exponential(1.0, (600, 1)) + drawn(Kernel(1e-3, 0.2, 3.0, 0.05), 600)
    learned = fit_residual_model(HeldOutResiduals(curves[:300], np.arange(300), np.full(300, 1 / 20)))
    cut = 5 if begun else 0
    inside = []
    for curve in curves[300:]:
        low, median, high = learned.posterior(observations_of(FIDELITIES[:cut], curve[:cut]), FIDELITIES[10:11])[:, 0]
        inside.append((low <= curve[10] <= high, curve[10] <= median))
    covered, below = np.mean(inside, axis=0)
    assert covered == pytest.approx(0.8, abs=0.07)
    assert below == pytest.approx(0.5, abs=0.12)


def test_quantiles_are_in_order():
    learned = fit_residual_model(HeldOutResiduals(drawn(Kernel(), 50), np.arange(50), np.full(50, 0.2)))
    assert isinstance(learned, ResidualModel)
    assert list(learned.fresh) == sorted(learned.fresh)
    assert len(LEVELS) == len(learned.begun)


def test_trials_on_one_task_tell_of_each_other_as_far_as_they_are_alike():
    """Closed form for two trials without drift or noise: the mean is the shared part of what was seen."""
    for shared in (0.0, 0.6, 1.0):
        kernel = Kernel(level=1.0, drift=1e-9, length=1.0, noise=1e-6, shared=shared)
        told = condition(kernel, observations_of(np.array([3.0]), np.array([2.0]), trial=1), np.array([5.0]))
        assert told.mean[0] == pytest.approx(2.0 * shared, abs=1e-6)
        assert told.deviation[0] == pytest.approx(np.sqrt(1 - shared**2), abs=1e-5)


def test_its_own_points_say_more_than_those_of_others():
    kernel = Kernel(shared=0.5)
    own, other = (
        observations_of(np.array([3.0]), np.array([1.0])),
        observations_of(np.array([3.0]), np.array([-1.0]), trial=1),
    )
    assert condition(kernel, concatenate([own, other]), np.array([4.0])).mean[0] > 0


@pytest.mark.parametrize("shared", [0.1, 0.9])
def test_the_part_that_trials_share_is_found_again(shared):
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.normal(size=60), 5) * np.sqrt(shared) + rng.normal(size=300) * np.sqrt(1 - shared)
    leftover = HeldOutResiduals(
        np.tile(levels[:, None], len(FIDELITIES)), np.repeat(np.arange(60), 5), np.full(300, 0.2)
    )
    assert fit_residual_model(leftover).kernel.shared == pytest.approx(shared, abs=0.1)
