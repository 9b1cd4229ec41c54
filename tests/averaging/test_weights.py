"""Running averages against their weights in closed form, and the promises of `Averager`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mulligan import averaging
from mulligan.errors import MulliganError

STEPS, BATCH = 60, 64


@pytest.fixture(scope="module")
def path():
    """Iterates of a small pytree, `[steps, ...]`, and the images seen after each."""
    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (STEPS, 3, 2)), "b": (jax.random.normal(key, (STEPS,)), None)}
    return params, BATCH * jnp.arange(1, STEPS + 1)


def run(averager, path, halflife_nimg=500.0):
    """The average after a compiled scan over the path."""
    params, nimg = path

    def step(state, now):
        leaf, seen = now
        return averager.update(state, leaf, seen, halflife_nimg), None

    start = averager.init(jax.tree.map(lambda leaf: jnp.full_like(leaf[0], 1e6), params))
    return averager.value(jax.lax.scan(step, start, (params, nimg))[0])


def weighted(weights, path):
    """The average with the given weights `[steps]`, in float64."""
    weights = np.asarray(weights, np.float64)
    mean = lambda leaf: np.tensordot(weights / weights.sum(), np.asarray(leaf, np.float64), 1)  # noqa: E731
    return jax.tree.map(mean, path[0])


def assert_close(one, other, rtol=1e-4):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), one, other)


def by_factors(keep):
    """Weights of the iterates when step `t` multiplies the average by `keep[t]`."""
    after = np.append(np.cumprod(keep[::-1])[::-1][1:], 1.0)
    return (1 - keep) * after


def test_last_is_the_last_iterate_bit_for_bit(path):
    got = run(averaging.last(), path)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[-1]), got, path[0])


def test_uniform_is_the_mean(path):
    assert_close(run(averaging.uniform(), path), weighted(np.ones(STEPS), path))


def test_ema_follows_the_ramped_half_life(path):
    before = BATCH * np.arange(STEPS)
    keep = 0.5 ** (BATCH / np.maximum(np.minimum(500.0, 0.3 * before), 1e-8))
    assert_close(run(averaging.ema(ramp=0.3), path), weighted(by_factors(keep), path))


@pytest.mark.parametrize("width", [0.05, 0.1, 0.25])
def test_power_weighs_by_a_power_of_time(path, width):
    exponent = averaging.exponent(width)
    edges = (BATCH * np.arange(STEPS + 1.0)) ** (exponent + 1)
    assert_close(run(averaging.power(width), path), weighted(np.diff(edges), path))


@pytest.mark.parametrize("width", [0.05, 0.1, 0.25])
def test_power_has_the_width_asked_for(width):
    time = (np.arange(100_000) + 0.5) / 100_000
    weights = time ** averaging.exponent(width)
    mean = np.average(time, weights=weights)
    assert np.sqrt(np.average((time - mean) ** 2, weights=weights)) == pytest.approx(width, rel=1e-4)


def test_slow_moves_only_at_its_times(path):
    got = run(averaging.slow(every_nimg=10.0 * BATCH, alpha=0.25), path)
    values = np.asarray(path[0]["w"], np.float64)
    slow = values[0]
    for step in range(1, STEPS):
        if (step + 1) % 10 == 0:
            slow = slow + 0.25 * (values[step] - slow)
    np.testing.assert_allclose(got["w"], slow, rtol=1e-5)


def test_the_half_life_is_in_images_whatever_the_batch():
    """A jump seen `halflife_nimg` images ago counts half, for every batch that divides it."""
    for batch in (10, 50, 500):
        averager = averaging.ema(ramp=1e9)
        state = averager.update(averager.init(jnp.float32(0)), jnp.float32(0), 1000, 500.0)
        for nimg in range(1000 + batch, 1501, batch):
            state = averager.update(state, jnp.float32(1), nimg, 500.0)
        assert float(averager.value(state)) == pytest.approx(0.5, rel=1e-5)


def test_shares_stay_exact_late_in_a_long_run():
    """At 100 million images one step of 64 moves the power average by (gamma + 1) 64 / nimg."""
    averager = averaging.power(0.1)
    state = averager.update(averager.init(jnp.float32(0)), jnp.float32(0), 100_000_000, 0.0)
    state = averager.update(state, jnp.float32(1), 100_000_064, 0.0)
    expected = (averaging.exponent(0.1) + 1) * 64 / 100_000_064
    assert float(averager.value(state)) == pytest.approx(expected, rel=1e-3)


@jax.jit
def all_averages(values):
    """Every average after each of `values`, from a start that must leave no trace."""
    averager = averaging.several(list(averaging.AVERAGES))

    def step(state, now):
        state = averager.update(state, now[0], now[1], 1000.0)
        return state, averager.value(state)

    return jax.lax.scan(step, averager.init(jnp.float32(1e9)), (values, 64 * jnp.arange(1, values.size + 1)))[1]


@settings(deadline=None, max_examples=50)
@given(values=hnp.arrays(np.float32, 8, elements=st.floats(-1e3, 1e3, width=32)))
def test_every_average_lies_within_the_iterates(values):
    lowest, highest = np.minimum.accumulate(values) - 1e-3, np.maximum.accumulate(values) + 1e-3
    for name, average in all_averages(values).items():
        assert ((lowest <= average) & (average <= highest)).all(), name


@pytest.mark.parametrize("name", averaging.AVERAGES)
def test_contract(path, name):
    """Structure and dtypes kept; jit equals eager; vmap equals a loop; several equals each by itself."""
    averager = averaging.AVERAGES[name]()
    first, second = (jax.tree.map(lambda leaf, t=t: leaf[t], path[0]) for t in (0, 1))
    state = averager.update(averager.init(first), first, 64, 500.0)
    eager = averager.update(state, second, 128, 500.0)
    assert jax.tree.structure(averager.value(eager)) == jax.tree.structure(first)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(name), eager, state)
    assert_close(jax.jit(averager.update)(state, second, 128, 500.0), eager, rtol=1e-6)
    assert_close(run(averaging.several([name, "last"]), path)[name], run(averager, path), rtol=1e-6)
    halves = jnp.array([100.0, 900.0])
    both = jax.vmap(lambda half: averager.update(state, second, 192, half))(halves)
    for i, half in enumerate(halves):
        one = averager.update(state, second, 192, half)
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], both), one, rtol=1e-6)


def test_state_shares_no_buffer_with_the_parameters():
    params = {"w": jnp.ones(3)}
    state = averaging.several(list(averaging.AVERAGES)).init(params)
    params["w"].delete()
    assert all(float(leaf.sum()) == 3 for leaf in jax.tree.leaves(state) if leaf.ndim)


def test_mistakes_are_told():
    with pytest.raises(MulliganError, match="'swa' is not an average; choose last, ema"):
        averaging.several(["swa"])
    with pytest.raises(MulliganError, match=r"width 0\.5"):
        averaging.power(0.5)
