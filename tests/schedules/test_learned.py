"""The learned schedule: its simplest member, what it sees, when it is called, and the guard."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan import schedules
from mulligan.errors import MulliganError, UsageError
from mulligan.game.losses import LOSSES, relativistic
from mulligan.recipe import Form, Hyperparameters
from mulligan.schedules.controller import (
    FACTORS,
    FEATURES,
    LIMITS,
    applied,
    exponential,
    features,
    ideals,
    limited,
    velocities,
)
from mulligan.schedules.learned import CALLS, learned, shipped
from mulligan.training.loop import UNPLANNED_NIMG
from mulligan.types import StepInfo, StepStats

HORIZON, BATCH = 64_000.0, 64
PLAIN = schedules.schedule((), HORIZON)
ONES = StepStats(*[jnp.float32(1)] * len(StepStats._fields))


def info(nimg, **told):
    numbers = dict.fromkeys(StepInfo._fields, jnp.float32(0)) | {"nimg": jnp.float32(nimg), "stats": ONES}
    return StepInfo(**(numbers | {name: jnp.float32(value) for name, value in told.items()}))


def rule(controller, inside=PLAIN):
    return learned(inside, relativistic(), controller, HORIZON)


def path(schedule, start, steps=1000, **told):
    """The hyperparameters of every step, and the state at the end."""

    def body(state, index):
        nimg = index * float(BATCH)
        now = schedule.value(state, nimg)
        return schedule.observe(state, info(0, **told)._replace(nimg=nimg)), now

    return jax.jit(lambda: jax.lax.scan(body, schedule.init(start), jnp.arange(steps)))()


def watching(name, factor, slope):
    """A controller that moves one factor by one feature."""
    one = exponential({})
    place = FEATURES.index(name), FACTORS.index(factor)
    return one._replace(direct=one.direct.at[place].set(slope))


def test_the_articles_decay_is_the_simplest_member():
    """`eta0 * exp(-eta1 * t)` at every step, not only where the controller is called."""
    eta1 = 3e-5
    decays = {"gen_lr": eta1 * HORIZON, "disc_lr": 2 * eta1 * HORIZON}
    article = (("gen_lr", Form("exponential", rate=eta1)), ("disc_lr", Form("exponential", rate=2 * eta1)))
    start = Hyperparameters(gen_lr=2e-3, disc_lr=5e-4)
    _, ours = path(rule(exponential(decays)), start)
    _, closed = path(schedules.schedule(article, HORIZON), start)
    for mine, theirs in zip(ours, closed, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4)
    assert float(ours.gen_lr[-1]) == pytest.approx(2e-3 * math.exp(-eta1 * 999 * BATCH), rel=1e-4)


def test_it_is_called_after_the_first_step_and_then_evenly():
    end, _ = path(rule(exponential({})), Hyperparameters())
    assert int(end.calls) == CALLS
    after_one, _ = path(rule(exponential({})), Hyperparameters(), steps=1)
    assert int(after_one.calls) == 1


def test_what_it_sees_is_the_mean_since_the_last_call():
    schedule = rule(watching("disc_gap", "disc_lr", 1.0))
    state = schedule.init(Hyperparameters())
    state = schedule.observe(state, info(0, disc_loss=math.log(2)))
    assert float(state.features[FEATURES.index("disc_gap")]) == pytest.approx(0, abs=1e-6)
    due = HORIZON / CALLS
    for loss, nimg in ((1.0, due - 2 * BATCH), (2.0, due - BATCH), (3.0, due)):
        state = schedule.observe(state, info(nimg, disc_loss=loss))
    gap = math.asinh((2.0 - math.log(2)) / math.log(2))
    assert float(state.features[FEATURES.index("disc_gap")]) == pytest.approx(gap, rel=1e-5)
    assert float(state.velocity[FACTORS.index("disc_lr")]) == pytest.approx(gap, rel=1e-5)


def test_a_rule_that_sees_its_own_pace_finds_the_same_rate_from_any():
    """Rates a hundred times apart meet where the pace is 0: a hundredth of the parameters' size, which is 1 here."""
    schedule = rule(watching("gen_lr_over_rms", "gen_lr", -20.0))
    ends = [float(path(schedule, Hyperparameters(gen_lr=rate))[1].gen_lr[-1]) for rate in (1e-3, 1e-2, 1e-1)]
    assert ends == pytest.approx([1e-2] * 3, rel=0.1)


def test_while_the_length_of_a_run_is_unknown_it_stands_still():
    """As a run with a budget of time begins: what it takes its length to be is more than any."""
    schedule = learned(PLAIN, relativistic(), watching("gen_lr_over_rms", "gen_lr", -20.0), UNPLANNED_NIMG)
    _, now = path(schedule, Hyperparameters(gen_lr=1e-3))
    assert float(now.gen_lr[-1]) == pytest.approx(1e-3, rel=0.01)


def test_the_schedule_inside_goes_on():
    inside = schedules.schedule((("gen_lr", Form("linear", final=0.0)),), HORIZON)
    _, now = path(rule(exponential({"gen_lr": 1.0}), inside), Hyperparameters(gen_lr=1.0))
    half = 500 * BATCH / HORIZON
    assert float(now.gen_lr[500]) == pytest.approx((1 - half) * math.exp(-half), rel=1e-4)


@pytest.mark.parametrize("wrong", [2.0, -2.0, math.nan])
def test_outside_of_its_region_it_is_the_closed_form(wrong):
    """What is beyond a bound, or no number, is answered by the fallback."""
    eager = watching("diversity", "gen_lr", 50.0)._replace(fallback=exponential({"gen_lr": 1.5}).bias)
    free = velocities(eager, jnp.zeros(len(FEATURES)).at[FEATURES.index("accuracy")].set(0.5))
    bound = jnp.full(len(FEATURES), 1.0)
    guarded = eager._replace(low=-bound, high=bound)
    seen = jnp.zeros(len(FEATURES)).at[FEATURES.index("accuracy")].set(wrong)
    assert float(velocities(guarded, seen)[0]) == -1.5
    assert float(velocities(guarded, jnp.clip(jnp.nan_to_num(seen), -1, 1))[0]) == float(free[0]) == 0.0


def test_a_run_outside_of_the_region_is_the_closed_forms_run():
    bounds = {"low": jnp.full(len(FEATURES), 10.0), "high": jnp.full(len(FEATURES), 11.0)}
    fallback = exponential({"gen_lr": 1.5})
    guarded = watching("gen_lr_over_rms", "gen_lr", 50.0)._replace(**bounds, fallback=fallback.bias)
    end, now = path(rule(guarded), Hyperparameters())
    _, closed = path(rule(fallback), Hyperparameters())
    np.testing.assert_array_equal(now.gen_lr, closed.gen_lr)
    assert int(end.guarded) == int(end.calls) == CALLS


@given(st.lists(st.floats(-1e6, 1e6), min_size=len(FACTORS), max_size=len(FACTORS)))
def test_factors_keep_to_their_limits(logs):
    start = Hyperparameters(augment=0.3)
    now = applied(start, limited(jnp.asarray(logs, jnp.float32)))
    for name, limit in zip(("gen_lr", "disc_lr", "gamma"), LIMITS, strict=False):
        assert 0.99 / limit <= float(getattr(now, name)) / getattr(start, name) <= 1.01 * limit
    assert 0.5 <= float(now.gen_beta2) <= 0.9991
    assert 0 <= float(now.augment) <= 0.8001
    assert now.gen_beta1 == start.gen_beta1


def test_memory_is_of_both_players_second_moments():
    logs = jnp.zeros(len(FACTORS)).at[FACTORS.index("memory")].set(math.log(2))
    now = applied(Hyperparameters(gen_beta2=0.9, disc_beta2=0.99), logs)
    assert float(now.gen_beta2) == pytest.approx(0.95)
    assert float(now.disc_beta2) == pytest.approx(0.995)


@pytest.mark.parametrize("name", LOSSES)
def test_features_are_numbers_for_every_loss_whatever_a_run_tells(name):
    for value in (0.0, 1e30, -1e30):
        told = info(0, **{field: value for field in StepInfo._fields if field not in ("nimg", "stats")})
        extreme = told._replace(stats=StepStats(*[jnp.float32(abs(value))] * len(StepStats._fields)))
        seen = features(extreme, Hyperparameters(gamma=0.0, gen_lr=0.0), 1.0, ideals(LOSSES[name]()))
        assert np.isfinite(np.asarray(seen)).all(), dict(zip(FEATURES, seen, strict=True))


def test_the_state_keeps_its_types_and_weights_are_part_of_it():
    """One compiled update serves all controllers."""
    traces = []

    @jax.jit
    def update(state, told):
        traces.append(1)
        return rule(exponential({})).observe(state, told)

    for decay in (0.0, 1.0, 2.0):
        start = rule(exponential({"gamma": decay})).init(Hyperparameters())
        end = update(start, info(0))
        assert jax.tree.map(lambda leaf: (leaf.dtype, leaf.shape), end) == jax.tree.map(
            lambda leaf: (leaf.dtype, leaf.shape), start
        )
        assert float(end.velocity[FACTORS.index("gamma")]) == -decay
    assert len(traces) == 1


def test_mistakes_are_told():
    with pytest.raises(MulliganError, match="give a budget above 0"):
        learned(PLAIN, relativistic(), exponential({}), 0)
    with pytest.raises(UsageError, match="no learned schedule is called 'x'"):
        shipped("x")
