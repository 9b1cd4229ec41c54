"""The closed forms against numpy, optax and what they promise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan import schedules
from mulligan.errors import MulliganError
from mulligan.recipe import Form, Hyperparameters
from mulligan.schedules.closed import with_horizon
from mulligan.schedules.gap import gap_aware
from mulligan.types import StepInfo

HORIZON = 100_000.0


def info(nimg):
    return StepInfo(*[jnp.float32(0)] * len(StepInfo._fields))._replace(nimg=nimg)


def reference(form, nimg):
    """The formulas of `recipe.Form`, in float64."""
    progress = min(nimg / (form.over_nimg or HORIZON), 1.0)
    factor = {
        "constant": 1.0,
        "exponential": math.exp(-form.rate * nimg),
        "cosine": form.final + (1 - form.final) * (1 + math.cos(math.pi * progress)) / 2,
        "linear": 1 + (form.final - 1) * progress,
    }[form.kind]
    warmup = max(form.warmup_nimg, form.warmup * HORIZON)
    return factor * (nimg / warmup if nimg < warmup else 1.0)


forms = st.builds(
    Form,
    kind=st.sampled_from(list(schedules.FORMS)),
    rate=st.floats(0, 1e-3),
    final=st.floats(0, 3),
    over_nimg=st.sampled_from([0.0, 10_000.0, 1e6]),
    warmup_nimg=st.sampled_from([0.0, 64.0, 20_000.0]),
    warmup=st.sampled_from([0.0, 0.05, 0.3]),
)


@pytest.fixture(scope="module")
def compiled():
    """One compiled update for the whole module, counting its compilations."""
    traces = []

    @jax.jit
    def update(state, nimg):
        traces.append(1)
        return schedules.schedule((), HORIZON).value(state, nimg)

    return update, traces


@settings(deadline=None)
@given(gen=forms, gamma=forms, nimg=st.integers(0, 2_000_000))
def test_update_follows_the_formulas_without_recompiling(compiled, gen, gamma, nimg):
    update, traces = compiled
    state = schedules.schedule((("gen_lr", gen), ("gamma", gamma)), HORIZON).init(Hyperparameters(gamma=50.0))
    now = update(state, jnp.float32(nimg))
    assert float(now.gen_lr) == pytest.approx(1e-3 * reference(gen, nimg), rel=2e-4, abs=1e-9)
    assert float(now.gamma) == pytest.approx(50.0 * reference(gamma, nimg), rel=2e-4, abs=1e-5)
    assert float(now.disc_lr) == np.float32(1e-3)
    assert len(traces) == 1


def test_cosine_and_linear_agree_with_optax():
    nimg = jnp.linspace(0.0, 3000.0, 50)
    cosine = optax.cosine_decay_schedule(2.0, 2000, alpha=0.1)
    np.testing.assert_allclose(schedules.cosine(2.0, 0.1, 2e3)(nimg), jax.vmap(cosine)(nimg), rtol=1e-5)
    line = optax.linear_schedule(2.0, 0.5, 2000)
    np.testing.assert_allclose(schedules.linear(2.0, 0.25, 2e3)(nimg), jax.vmap(line)(nimg), rtol=1e-6)


def test_exponential_decays_at_its_rate():
    nimg = np.array([0.0, 1e4, 2e4, 3e4])
    log_value = np.log(np.asarray(schedules.exponential(1e-3, 5e-5)(nimg)))
    assert np.polyfit(nimg, log_value, 1) == pytest.approx([-5e-5, math.log(1e-3)], rel=1e-4)


def test_state_and_hyperparameters_are_arrays_that_survive_a_scan():
    rule = schedules.schedule((("gen_lr", Form("exponential", rate=1e-4)),), HORIZON)

    def step(state, nimg):
        hyperparameters = rule.value(state, nimg)
        return rule.observe(state, info(nimg)), hyperparameters

    start = rule.init(Hyperparameters())
    end, path = jax.lax.scan(step, start, jnp.arange(5) * 64)
    assert all(leaf.dtype == jnp.float32 for leaf in path)
    jax.tree.map(np.testing.assert_array_equal, start, end)
    np.testing.assert_allclose(path.gen_lr, schedules.exponential(1e-3, 1e-4)(jnp.arange(5) * 64), rtol=1e-6)


def test_initial_values_can_be_changed_between_steps():
    rule = schedules.schedule((("gen_lr", Form("cosine", final=0.0)),), HORIZON)
    state = rule.init(Hyperparameters())
    gentler = state._replace(initial=state.initial._replace(gen_lr=state.initial.gen_lr / 2))
    before, after = (rule.value(s, jnp.float32(3e4)) for s in (state, gentler))
    assert float(after.gen_lr) == pytest.approx(float(before.gen_lr) / 2)


@pytest.mark.parametrize(
    ("schedule", "horizon", "message"),
    [
        (("lr", Form()), HORIZON, "'lr' cannot have a schedule.*gen_lr, disc_lr"),
        (("gamma", Form("step")), HORIZON, "'step' is not a form.*constant, exponential, cosine, linear"),
        (("gamma", Form("cosine")), 0, "has no end"),
    ],
)
def test_mistakes_are_told(schedule, horizon, message):
    with pytest.raises(MulliganError, match=message):
        schedules.schedule((schedule,), horizon)


def test_schedules_over_the_whole_run_follow_its_length_and_others_do_not():
    forms = (("gen_lr", Form("cosine", final=0.0, warmup=0.1)), ("disc_lr", Form("linear", final=0.0, over_nimg=500.0)))
    short = schedules.schedule(forms, 1_000)
    state = short.init(Hyperparameters(gen_lr=1.0, disc_lr=1.0))
    longer = with_horizon(state, 4_000)
    assert float(short.value(state, 50).gen_lr) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.05)) / 2)
    assert float(short.value(longer, 2_000).gen_lr) == pytest.approx(0.5)
    assert float(short.value(longer, 200).gen_lr) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.05)) / 2)
    assert float(short.value(longer, 250).disc_lr) == float(short.value(state, 250).disc_lr) == pytest.approx(0.5)


def test_a_wrapped_schedule_follows_the_length_of_the_run_as_well():
    inside = schedules.schedule((("gen_lr", Form("cosine", final=0.0)),), 1_000)
    wrapped = gap_aware(inside, 1.0)
    state = with_horizon(wrapped.init(Hyperparameters(gen_lr=1.0)), 4_000)
    assert float(wrapped.value(state, 2_000).gen_lr) == pytest.approx(0.5)
