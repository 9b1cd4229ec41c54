"""FTRL over parameters: identities with gradient descent and mirror descent, Keras' rule, regret."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize

from mulligan import online

ROUNDS = 12
PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.25])}
SCALE = np.array([0.5, 1.0, 2.0], np.float32)
settled = settings(deadline=None, max_examples=50)
sequences = hnp.arrays(np.float32, (ROUNDS, 3), elements=st.floats(-1, 1, width=32))
points = hnp.arrays(np.float32, 3, elements=st.floats(-2, 2, width=32))

KINDS = {
    "ftrl": online.ftrl,
    "optimistic": online.optimistic_ftrl,
    "adaptive": online.adaptive_ftrl,
    "proximal": online.ftrl_proximal,
}


def loss(params):
    """No quadratic, and it couples all parameters."""
    return jnp.sum(jnp.cos(params["w"])) + 0.1 * jnp.sum(params["w"] ** 2) + params["b"][0] * jnp.sum(params["w"])


def descend(transformation, rounds=ROUNDS):
    """All iterates of a compiled run on `loss`, stacked."""

    def step(carry, _):
        params, state = carry
        updates, state = transformation.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda p: jax.lax.scan(step, (p, transformation.init(p)), length=rounds)[1])(PARAMS)


def plays(transformation, gradients, start):
    """What is played against given gradients `[rounds, 3]`: the start, then one play after each."""

    def step(carry, g):
        params, state = carry
        updates, state = transformation.update(g, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    after = jax.lax.scan(step, (start, transformation.init(start)), gradients)[1]
    return jnp.concatenate([start[None], after])


@partial(jax.jit, static_argnums=0)
def plays_around(kind, centre, gradients, start):
    made = {
        "ftrl": lambda: online.ftrl(0.3, centre, jnp.asarray(SCALE)),
        "optimistic": lambda: online.optimistic_ftrl(0.3, centre, jnp.asarray(SCALE)),
        "adaptive": lambda: online.adaptive_ftrl(0.3, centre, epsilon=1.0),
        "proximal": lambda: online.ftrl_proximal(0.3, l1=0.5, l2=0.2, centre=centre),
    }[kind]()
    return plays(made, gradients, start)


def assert_close(one, other, atol=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=atol), one, other)


# Identities


def test_constant_rate_and_scale_around_the_start_is_gradient_descent():
    assert_close(descend(online.ftrl(0.05)), descend(optax.sgd(0.05)))


def test_a_scale_is_a_rate_for_each_parameter():
    scale = {"w": jnp.array([[0.5, 2.0], [1.0, 3.0]]), "b": jnp.array([0.1])}
    scaled = optax.stateless(lambda updates, _: jax.tree.map(lambda u, s: -0.05 * s * u, updates, scale))
    assert_close(descend(online.ftrl(0.05, scale=scale)), descend(scaled))


def test_optimistic_ftrl_is_optimistic_mirror_descent():
    """With 0 for the gradient before the first, where optax by default repeats the first."""
    mirror = optax.optimistic_gradient_descent(0.05)

    def init(params):
        state = mirror.init(params)
        return (state[0]._replace(is_initial_step=jnp.array(False)), *state[1:])

    assert_close(descend(online.optimistic_ftrl(0.05)), descend(optax.GradientTransformation(init, mirror.update)))


def test_proximal_without_powers_or_penalties_is_gradient_descent():
    assert_close(descend(online.ftrl_proximal(0.05, centre=PARAMS, power=0.0)), descend(optax.sgd(0.05)))


def test_a_rate_that_falls_weighs_all_gradients_anew():
    """`w = centre - rate_t * sum g`: with `rate_t = 1 / t` and gradients 1 it stays, where gradient descent goes on."""
    played = plays(online.ftrl(lambda count: 1 / (count + 1.0)), jnp.ones((4, 3)), jnp.zeros(3))
    np.testing.assert_allclose(played[1:], -np.ones((4, 3)), rtol=1e-6)


@settled
@given(gradients=sequences, centre=points)
def test_every_play_is_the_leader(gradients, centre):
    """The definitions, minimised by scipy."""
    gradients64 = gradients.astype(np.float64)
    total, roots = gradients64.sum(0), np.sqrt((gradients64**2).sum(0))
    around = {
        "ftrl": lambda w: total @ w + np.sum((w - centre) ** 2 / (2 * 0.3 * SCALE)),
        "optimistic": lambda w: (total + gradients[-1]) @ w + np.sum((w - centre) ** 2 / (2 * 0.3 * SCALE)),
        "adaptive": lambda w: total @ w + np.sum((w - centre) ** 2 * (1 + roots) / (2 * 0.3)),
    }
    for kind, objective in around.items():
        played = plays_around(kind, centre, gradients, jnp.ones(3))
        np.testing.assert_allclose(played[-1], minimize(objective, centre.astype(np.float64)).x, atol=1e-4)


LEADERS = ("ftrl", "optimistic", "adaptive")
RATES = np.linspace(0.1, 0.5, ROUNDS, dtype=np.float32)
SLOPES = np.random.default_rng(0).normal(size=(ROUNDS, 3)).astype(np.float32)
START = np.array([1.0, -2.0, 0.5], np.float32)


def changing_rate(count):
    return jnp.asarray(RATES)[count]


@pytest.mark.parametrize("name", LEADERS)
def test_a_play_is_the_leader_at_the_rate_of_its_own_round(name):
    """Whatever the rates before: that of the first update is the rate of count 0."""
    played = plays(KINDS[name](changing_rate), SLOPES, jnp.asarray(START))
    for t in (0, 5, ROUNDS - 1):
        constant = plays(KINDS[name](float(RATES[t])), SLOPES, jnp.asarray(START))
        np.testing.assert_allclose(played[t + 1], constant[t + 1], rtol=1e-5)


@pytest.mark.parametrize("name", LEADERS)
def test_without_a_centre_the_start_is_the_centre(name):
    start = jnp.asarray(START)
    assert_close(plays(KINDS[name](0.3), SLOPES, start), plays(KINDS[name](0.3, centre=start), SLOPES, start))


# FTRL-proximal


def keras_ftrl(start, gradients, rates, l1, l2, power=0.5, initial=0.1):
    """The update documented for `keras.optimizers.Ftrl`, in float64: all plays; one rate, or one a round."""
    w, z, n, played = start.astype(np.float64), np.zeros(3), np.full(3, initial), [start]
    for g, rate in zip(gradients.astype(np.float64), np.broadcast_to(rates, len(gradients)), strict=True):
        previous, n = n, n + g**2
        z = z + g - (n**power - previous**power) / rate * w
        w = np.where(np.abs(z) <= l1, 0.0, (np.sign(z) * l1 - z) / (n**power / rate + 2 * l2))
        played.append(w)
    return np.array(played)


@partial(jax.jit, static_argnums=4)
def proximal(start, gradients, l1, l2, power):
    return plays(online.ftrl_proximal(0.5, l1, l2, power=power), gradients, start)


@settled
@given(
    start=points,
    gradients=sequences,
    l1=st.sampled_from([0.0, 0.3, 1.0]),
    l2=st.sampled_from([0.0, 0.5]),
    power=st.sampled_from([0.25, 0.5]),
)
def test_proximal_follows_the_rule_of_keras(start, gradients, l1, l2, power):
    expected = keras_ftrl(start, gradients, 0.5, l1, l2, power)
    np.testing.assert_allclose(proximal(start, gradients, l1, l2, power), expected, rtol=1e-5, atol=2e-6)


def test_proximal_takes_a_rate_of_each_round():
    expected = keras_ftrl(START, SLOPES, RATES, 0.3, 0.5)
    played = plays(online.ftrl_proximal(changing_rate, 0.3, 0.5), SLOPES, jnp.asarray(START))
    np.testing.assert_allclose(played, expected, rtol=1e-5, atol=2e-6)


def test_proximal_agrees_with_keras_itself():
    keras = pytest.importorskip("keras")
    random = np.random.default_rng(0)
    gradients, start = random.normal(size=(30, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    variable = keras.Variable(start)
    optimizer = keras.optimizers.Ftrl(0.5, l1_regularization_strength=0.3, l2_regularization_strength=0.5)
    for g in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g)], [variable])
    got = proximal(start, gradients, 0.3, 0.5, 0.5)[-1]
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(variable), rtol=1e-6, atol=1e-6)


@settled
@given(start=points, gradients=sequences)
def test_proximal_leaves_exact_zeros(start, gradients):
    """Where the reference says `|z| <= l1` the parameter is 0 bit for bit, and elsewhere it is not."""
    expected = keras_ftrl(start, gradients, 0.5, 0.3, 0.5)[1:]
    played = np.asarray(proximal(start, gradients, 0.3, 0.5, 0.5))[1:]
    clear = (expected == 0) | (np.abs(expected) > 1e-6)
    np.testing.assert_array_equal(played[clear] == 0, expected[clear] == 0)


@settled
@given(start=points, gradients=sequences, centre=points)
def test_proximal_around_a_centre_is_proximal_around_zero_shifted(start, gradients, centre):
    expected = keras_ftrl(start - centre, gradients, 0.3, 0.5, 0.2) + centre
    np.testing.assert_allclose(plays_around("proximal", centre, gradients, start), expected, rtol=1e-4, atol=1e-5)


def test_a_sparse_regression_finds_its_support():
    """Of 20 inputs 3 matter: with L1 the others are exactly zero, without they are not."""
    random = np.random.default_rng(0)
    truth = np.zeros(20, np.float32)
    truth[[2, 7, 11]] = [1.0, -2.0, 1.5]
    inputs = jnp.asarray(random.normal(size=(2000, 20)), jnp.float32)

    def run(l1):
        transformation = online.ftrl_proximal(0.5, l1=l1)

        def step(carry, x):
            w, state = carry
            updates, state = transformation.update((x @ w - x @ truth) * x, state, w)
            return (optax.apply_updates(w, updates), state), None

        start = jnp.zeros(20)
        return np.asarray(jax.lax.scan(step, (start, transformation.init(start)), inputs)[0][0])

    sparse, dense = run(5.0), run(0.0)
    np.testing.assert_array_equal(sparse != 0, truth != 0)
    assert (dense != 0).all()


# Regret on linear losses


@settled
@given(gradients=sequences, centre=points, comparator=points)
def test_regret_is_bounded(gradients, centre, comparator):
    """Against any comparator and any gradients; a centre near the comparator pays."""
    squares = np.sum(gradients.astype(np.float64) ** 2, 0)
    distance = (comparator.astype(np.float64) - centre) ** 2
    roots = np.sqrt(squares)
    bounds = {
        "ftrl": np.sum(distance / (2 * 0.3 * SCALE) + 0.3 / 2 * SCALE * squares),
        "adaptive": np.sum(distance * (1 + roots) / (2 * 0.3) + 0.3 * roots),
    }
    for kind, bound in bounds.items():
        played = np.asarray(plays_around(kind, centre, gradients, jnp.asarray(centre)), np.float64)[:-1]
        assert np.sum(gradients * (played - comparator)) <= bound + 1e-4


@settled
@given(gradient=hnp.arrays(np.float32, 3, elements=st.floats(-1, 1, width=32)), centre=points, comparator=points)
def test_gradients_that_repeat_cost_the_optimist_nothing_more_as_rounds_pass(gradient, centre, comparator):
    """The hint is wrong in the first round alone, so the bound does not grow with the rounds."""
    gradients = np.tile(gradient, (ROUNDS, 1))
    played = np.asarray(plays_around("optimistic", centre, gradients, jnp.asarray(centre)), np.float64)[:-1]
    bound = np.sum((comparator - centre) ** 2 / (2 * 0.3 * SCALE) + 0.3 / 2 * SCALE * gradient.astype(np.float64) ** 2)
    assert np.sum(gradients * (played - comparator)) <= bound + 1e-4


def bilinear(transformation, rounds=400):
    """Distance from the equilibrium of `min_x max_y x y` in every round, both sides playing at once."""

    def step(carry, _):
        (x, y), state = carry
        updates, state = transformation.update((y, -x), state, (x, y))
        return (optax.apply_updates((x, y), updates), state), jnp.hypot(x, y)

    start = (jnp.array(1.0), jnp.array(1.0))
    return np.asarray(jax.lax.scan(step, (start, transformation.init(start)), length=rounds)[1])


def test_optimism_converges_on_the_bilinear_game_where_plain_ftrl_diverges():
    """Plain: the distance grows by `sqrt(1 + rate**2)` a round. Optimistic: the largest root of its recursion."""
    rate = 0.3
    rounds = np.arange(400)
    growth = math.exp(np.polyfit(rounds, np.log(bilinear(online.ftrl(rate))), 1)[0])
    assert growth == pytest.approx(math.sqrt(1 + rate**2), rel=1e-4)
    # z_{t+1} = z_t - i rate (2 z_t - z_{t-1}) for z = x + i y, up to the sign of i.
    root = np.abs(np.roots([1, -1 + 2j * rate, -1j * rate])).max()
    distance = bilinear(online.optimistic_ftrl(rate), 200)
    shrink = math.exp(np.polyfit(np.arange(50, 200), np.log(distance[50:]), 1)[0])
    assert root < 1
    assert shrink == pytest.approx(root, rel=1e-3)


# The promises of an Optax transformation


@pytest.mark.parametrize("name", KINDS)
def test_contract(name):
    """Structure and dtypes kept; jit equals eager; vmap over the rate equals a loop; the state owns its buffers."""
    kind = KINDS[name]
    transformation = kind(0.1)
    params = jax.tree.map(jnp.copy, PARAMS)
    state = transformation.init(params)
    gradients = jax.grad(loss)(params)
    eager = transformation.update(gradients, state, params)
    assert jax.tree.structure(eager[1]) == jax.tree.structure(state)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(name), eager[1], state)
    assert_close(jax.jit(transformation.update)(gradients, state, params), eager, atol=1e-6)

    one_step = lambda rate: kind(rate).update(gradients, state, params)[0]  # noqa: E731
    rates = jnp.array([0.1, 0.5])
    both = jax.vmap(one_step)(rates)
    for i, rate in enumerate(rates):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], both), one_step(rate), atol=1e-6)

    with pytest.raises(ValueError, match="update\\(gradients, state, params\\)"):
        transformation.update(gradients, state)
    jax.tree.map(lambda leaf: leaf.delete(), params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
