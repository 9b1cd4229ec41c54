"""The gap-aware rate against the paper's formula."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan import schedules
from mulligan.errors import MulliganError
from mulligan.recipe import Form, Hyperparameters
from mulligan.schedules.gap import factor, gap_aware
from mulligan.types import StepInfo

IDEAL = math.log(4)


def told(disc_loss):
    return StepInfo(*[jnp.float32(0)] * len(StepInfo._fields))._replace(disc_loss=jnp.float32(disc_loss))


def published(loss, ideal):
    """Hazimeh and Ponomareva 2023, with x_min = x_max = 0.1 V*, h_min = 0.1 and f_max = 2."""
    gap, scale = abs(loss - ideal), 0.1 * ideal
    return min(2.0 ** (gap / scale), 2.0) if loss >= ideal else max(0.1 ** (gap / scale), 0.1)


@given(loss=st.floats(0, 10, width=32), ideal=st.sampled_from([IDEAL, math.log(2), 2.0, 0.25]))
def test_the_factor_is_the_papers(loss, ideal):
    assert float(factor(loss, ideal)) == pytest.approx(published(loss, ideal), rel=1e-3)


def test_extreme_losses_stay_finite():
    assert factor(jnp.float32(1e30), IDEAL) == 2
    assert float(factor(-jnp.float32(1e30), IDEAL)) == pytest.approx(0.1)


def test_the_rate_follows_an_average_of_the_losses_and_comes_back_to_its_own():
    rule = gap_aware(schedules.schedule((), 1e6), IDEAL)
    losses = [1.2, 1.3, 1.0, 1.5, 1.6] + 400 * [IDEAL]
    state, average, rates = rule.init(Hyperparameters(disc_lr=1e-3)), IDEAL, []
    for loss in losses:
        now = rule.value(state, jnp.float32(0))
        rates.append(float(now.disc_lr))
        assert rates[-1] == pytest.approx(1e-3 * published(average, IDEAL), rel=1e-4)
        state, average = rule.observe(state, told(loss)), 0.95 * average + 0.05 * loss
    assert rates[0] == pytest.approx(1e-3, rel=1e-6)
    assert rates[3] < 0.9e-3
    assert rates[-1] == pytest.approx(1e-3, rel=1e-4)


def test_only_the_discriminators_rate_changes_and_the_schedule_inside_goes_on():
    inside = schedules.schedule((("disc_lr", Form("linear", final=0.0)),), 1000.0)
    rule = gap_aware(inside, IDEAL)
    state = rule.init(Hyperparameters())
    for _ in range(200):
        state = rule.observe(state, told(0.0))
    plain, scaled = inside.value(inside.init(Hyperparameters()), 500.0), rule.value(state, 500.0)
    assert float(scaled.disc_lr) == pytest.approx(0.1 * 0.5 * 1e-3, rel=1e-4)
    assert scaled._replace(disc_lr=0) == plain._replace(disc_lr=0)


def test_it_survives_a_scan():
    rule = gap_aware(schedules.schedule((), 1e6), IDEAL)

    def body(state, loss):
        return rule.observe(state, told(0.0)._replace(disc_loss=loss)), rule.value(state, 0.0).disc_lr

    start = rule.init(Hyperparameters())
    end, rates = jax.lax.scan(body, start, jnp.full(100, 2.0))
    assert jax.tree.map(lambda leaf: leaf.dtype, end) == jax.tree.map(lambda leaf: leaf.dtype, start)
    assert np.all(np.diff(rates) >= 0)
    assert float(rates[-1]) == pytest.approx(2e-3, rel=1e-4)


def test_a_loss_whose_ideal_is_zero_is_refused():
    with pytest.raises(MulliganError, match="ideal, which is 0 for this loss: set gap_aware to false"):
        gap_aware(schedules.schedule((), 1e6), 0.0)
