"""Paths among latents keep their length and have no corners."""

import numpy as np
import pytest

from mulligan.errors import UsageError
from mulligan.training.latents import SPREAD, LatentPrior, closed_path, spherical, truncated


def test_a_closed_path_has_no_corners_and_no_end():
    path = closed_path(200, 32, turns=4, seed=1)
    strides = np.diff(np.concatenate([path, path[:1]]), axis=0)
    bends = np.diff(np.concatenate([strides, strides[:1]]), axis=0)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 32**0.5, rtol=1e-5)
    assert np.linalg.norm(bends, axis=1).max() < 0.3 * np.linalg.norm(strides, axis=1).mean()
    assert np.linalg.norm(path[100] - path[0]) > 10 * np.linalg.norm(strides, axis=1).mean()


def test_more_turns_go_farther():
    def length(turns):
        path = closed_path(400, 32, turns, seed=1)
        return np.linalg.norm(np.diff(path, axis=0), axis=1).sum()

    assert 3 < length(8) / length(2) < 5


def test_points_of_a_path_are_spread_as_latents_are():
    points = np.stack([closed_path(7, 16, turns=3, seed=seed)[3] for seed in range(3000)])
    np.testing.assert_allclose(points.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(points.T), np.eye(16), atol=0.12)


def test_opposite_and_equal_ends_of_a_great_circle():
    end = np.array([3.0, 4.0], np.float32)
    np.testing.assert_allclose(spherical(end, end, 3), [end] * 3)
    np.testing.assert_allclose(spherical(end, 2 * end, 3)[1], 1.5 * end)


def test_truncation_scales_towards_the_mean():
    latents = np.random.default_rng(0).standard_normal((4, 3))
    np.testing.assert_allclose(truncated(latents, 0.5), latents / 2, rtol=1e-6)
    for refused in (-0.1, 3.1, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 3"):
            truncated(latents, refused)


def normal(n, d=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def test_latents_are_drawn_around_points_as_often_as_these_weigh():
    points, weights = (
        np.array([[10.0] * 3, [-10.0] * 3, [0.0] * 3], np.float32),
        np.array([0.25, 0.75, 0.0], np.float32),
    )
    drawn = LatentPrior(points, weights).around(normal(4000), np.random.default_rng(1).random(4000))
    assert drawn.dtype == np.float32
    above = drawn.mean(1) > 0
    assert above.mean() == pytest.approx(0.25, abs=0.03)
    middle = (1 - SPREAD**2) ** 0.5 * 10
    np.testing.assert_allclose(drawn[above].mean(0), middle, atol=0.1)
    np.testing.assert_allclose(drawn[above].std(0), SPREAD, rtol=0.1)


def test_many_normal_points_of_equal_weights_make_normal_latents():
    prior = LatentPrior(normal(5000, seed=1), np.full(5000, 1 / 5000, np.float32))
    drawn = prior.around(normal(5000), np.random.default_rng(2).random(5000))
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.1)


def test_the_last_share_has_a_point_whatever_the_weights_sum_to():
    points = np.array([[1.0], [2.0]], np.float32)
    drawn = LatentPrior(points, np.array([0.3, 0.3], np.float32)).around(
        np.zeros((3, 1), np.float32), np.array([0.0, 0.49, 1.0])
    )
    assert (drawn[:, 0] / drawn[0, 0]).round(6).tolist() == [1, 1, 2]
