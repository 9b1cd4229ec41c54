"""Rebuilt power averages against those tracked directly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.averaging import Snapshot, exponent, power, rebuild
from mulligan.averaging.posthoc import coefficients
from mulligan.errors import MulliganError

STEPS, BATCH, TRACKED = 4000, 64, (0.05, 0.10)


def run(kind):
    """Iterates `[steps, 100]`: a random walk, or a run that settles while its iterates stay noisy."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(STEPS, 100))
    walk = np.cumsum(noise, 0) / np.sqrt(STEPS)
    settling = (1 - np.exp(-np.arange(STEPS)[:, None] / 800)) * random.normal(size=100)
    return jnp.asarray({"walk": walk, "settling": settling + 0.05 * walk + 0.2 * noise}[kind], jnp.float32)


def track(width, path):
    """The power average after every step."""
    averager = power(width)

    def step(state, now):
        state = averager.update(state, now[0], now[1], 0.0)
        return state, averager.value(state)

    return np.asarray(jax.lax.scan(step, averager.init(path[0]), (path, BATCH * jnp.arange(1, STEPS + 1)))[1])


def snapshots_of(path, count):
    steps = [STEPS * (i + 1) // count for i in range(count)]
    tracked = {width: track(width, path) for width in TRACKED}
    return [Snapshot(BATCH * t, width, {"w": tracked[width][t - 1]}) for width in TRACKED for t in steps]


@pytest.mark.parametrize("kind", ["walk", "settling"])
@pytest.mark.parametrize(("count", "widths"), [(8, (0.04, 0.07, 0.15)), (16, (0.03, 0.07, 0.20))])
def test_rebuilt_within_one_per_cent_of_tracked(kind, count, widths):
    path = run(kind)
    snapshots = snapshots_of(path, count)
    for width in widths:
        direct = track(width, path)[-1]
        rebuilt = rebuild(snapshots, BATCH * STEPS, width)["w"]
        assert rebuilt.dtype == np.float32
        assert np.linalg.norm(rebuilt - direct) < 0.01 * np.linalg.norm(direct)
        # And to take the nearest tracked width instead would be four times as far off.
        nearest = min(np.linalg.norm(track(tracked, path)[-1] - direct) for tracked in TRACKED)
        assert np.linalg.norm(rebuilt - direct) < 0.25 * nearest


def test_can_be_rebuilt_at_earlier_times():
    path = run("walk")
    middle = STEPS // 2
    direct = track(0.07, path)[middle - 1]
    rebuilt = rebuild(snapshots_of(path, 16), BATCH * middle, 0.07)["w"]
    assert np.linalg.norm(rebuilt - direct) < 0.01 * np.linalg.norm(direct)


def test_a_snapshot_is_its_own_reconstruction():
    np.testing.assert_allclose(coefficients([5e4, 1e5, 1e5], [0.05, 0.05, 0.10], 1e5, 0.05), [0, 1, 0], atol=1e-6)


def test_coefficients_are_the_least_squares_over_time():
    """The same problem on a fine grid, solved by numpy."""
    times, widths = [0.5, 0.5, 1.0, 1.0], [0.05, 0.1, 0.05, 0.1]
    s = (np.arange(100_000) + 0.5) / 100_000
    profile = lambda t, w: (exponent(w) + 1) / t * np.where(s <= t, s / t, 0) ** exponent(w)  # noqa: E731
    basis = np.stack([profile(t, w) for t, w in zip(times, widths, strict=True)], 1)
    solution = np.linalg.lstsq(basis, profile(0.9, 0.15), rcond=None)[0]
    np.testing.assert_allclose(coefficients(times, widths, 0.9, 0.15), solution / solution.sum(), rtol=1e-3)


def test_mistakes_are_told():
    with pytest.raises(MulliganError, match="from no snapshots"):
        rebuild([], 1e5, 0.1)
