"""Curves are compared after equal operations, within a task, and a failure is never better than what ended."""

from dataclasses import replace

import made_up
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.meta.predict.curves import (
    DEFAULT,
    FIDELITIES,
    HANDMADE,
    HELD,
    compare,
    fill_forward,
    lowest_so_far,
    mean_curve,
    on_grid,
    recipe_name,
)
from mulligan.meta.space.fidelity import fidelity_of, flops_at
from mulligan.meta.store.record import FAILED

TASKS = made_up.families(2)
GOOD, BAD = made_up.recipe(3e-3), made_up.recipe(1e-4)


@given(st.floats(-2, 30))
def test_places_and_operations_are_inverse(where):
    assert fidelity_of((8, 8, 1), flops_at((8, 8, 1), where)) == pytest.approx(where, abs=1e-9)


def test_a_place_is_as_many_images_of_the_yardstick_for_every_shape():
    assert flops_at((32, 32, 3), 4) / flops_at((32, 32, 3), 0) == pytest.approx(4)
    assert flops_at((32, 32, 3), 0) > 2 * flops_at((28, 28, 1), 0)


def test_what_was_reached_stays_reached():
    points = [made_up.point(TASKS[0], where, value) for where, value in enumerate([1.0, 2.0, 0.5, 0.7])]
    where, values = lowest_so_far(made_up.SHAPE, points)
    np.testing.assert_allclose(where, [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(values, [1.0, 1.0, 0.5, 0.5], atol=1e-6)


def test_a_curve_between_its_points_is_straight_and_ends_with_them():
    points = [made_up.point(TASKS[0], 1.5, 1.0), made_up.point(TASKS[0], 3.5, 0.0)]
    curve = on_grid(made_up.SHAPE, points)
    np.testing.assert_allclose(curve[[2, 3]], [0.75, 0.25], atol=1e-6)
    assert np.isnan(np.delete(curve, [2, 3])).all()
    assert np.isnan(on_grid(made_up.SHAPE, [])).all()


def test_the_mean_of_curves_does_not_jump_where_one_ends():
    short, long = np.full(len(FIDELITIES), np.nan), np.full(len(FIDELITIES), np.nan)
    short[:5], long[:9] = 2.0 - FIDELITIES[:5], 4.0 - FIDELITIES[:9]
    mean = mean_curve(np.stack([short, long]), np.array([1.0, 1.0]))
    np.testing.assert_allclose(mean[:9], 3.0 - FIDELITIES[:9], atol=1e-9)
    assert np.isnan(mean[9:]).all()


def test_values_are_carried_to_both_sides():
    np.testing.assert_array_equal(fill_forward(np.array([np.nan, 1.0, np.nan, 2.0, np.nan])), [1, 1, 1, 2, 2])
    assert np.isnan(fill_forward(np.array([np.nan, np.nan]))).all()
    held = fill_forward(np.array([[np.nan, np.nan, 1.0, np.nan, 2.0, np.nan, np.nan]]), places=1)
    np.testing.assert_array_equal(held, [[1, 1, 1, 1, 2, 2, np.nan]])


def test_a_lead_that_was_seen_briefly_shrinks_as_others_did_and_a_lag_stays():
    plain = made_up.START + made_up.STEP * np.arange(11)
    shrinking = plain - 2.0 * 0.8 ** np.arange(11)
    brief = made_up.recipe(5e-3)
    seen = {GOOD: shrinking, BAD: plain + 2.0, brief: plain[:5] - 1.0}
    trials = [made_up.trial(of, tried, curve.tolist()) for of in TASKS for tried, curve in seen.items()]
    found = compare(TASKS, [*made_up.trials(TASKS, {}), *trials])
    of_brief, of_bad = (found.differences[0, list(found.recipes).index(tried.hash())] for tried in (brief, BAD))
    np.testing.assert_allclose(of_brief[:5], -1.0, atol=1e-6)
    np.testing.assert_allclose(of_brief[5 : 5 + HELD], -(0.8 ** np.arange(1, 1 + HELD)), rtol=0.1)
    np.testing.assert_allclose(of_bad[: 11 + HELD], 2.0, atol=1e-6)


def test_figures_of_another_embedding_never_meet():
    """On one task the anchor was judged in the one embedding and a recipe in the other."""
    [of] = made_up.families(1, 1)
    values = made_up.START + made_up.STEP * np.arange(11) - 0.7
    tried = made_up.trial(of, GOOD, values.tolist())
    anchor = made_up.trials([of], {})
    assert GOOD.hash() in compare([of], [*anchor, tried]).recipes
    assert GOOD.hash() not in compare([of], [*anchor, replace(tried, embedding="m0")]).recipes


def test_differences_are_the_effects_whatever_the_tasks_level():
    found = compare(TASKS, made_up.trials(TASKS, {GOOD: lambda of: -0.5, BAD: lambda of: 2.0}, spread=1.0))
    assert set(found.recipes) == {DEFAULT, GOOD.hash(), BAD.hash()}
    assert found.anchor == 0
    for tried, effect in ((GOOD, -0.5), (BAD, 2.0)):
        column = list(found.recipes).index(tried.hash())
        np.testing.assert_allclose(found.differences[:, column, : 11 + HELD], effect, atol=1e-6)
        assert np.isnan(found.differences[:, column, 11 + HELD :]).all()


def test_a_failure_is_as_bad_as_the_worst_that_ended_from_where_it_failed():
    [of] = made_up.families(1, 1)
    ended = made_up.trials([of], {BAD: lambda of: 2.0})
    failed = made_up.trial(of, GOOD, [1.0, 0.0, -3.0], status=FAILED)
    at_once = made_up.trial(of, made_up.recipe(5e-3), [], status=FAILED)
    found = compare([of], [*ended, failed, at_once])
    columns = list(found.recipes)
    expected = made_up.START + 2.0 + made_up.STEP * np.arange(11) - (made_up.START + made_up.STEP * np.arange(11))
    np.testing.assert_allclose(found.differences[0, columns.index(GOOD.hash()), 3:11], expected[3:], atol=1e-6)
    np.testing.assert_allclose(found.differences[0, columns.index(GOOD.hash()), 2], -3.4, atol=1e-6)
    np.testing.assert_allclose(found.differences[0, columns.index(at_once.recipe.hash()), :11], expected, atol=1e-6)


def test_tasks_without_the_anchor_are_left_out():
    other = made_up.task("g", "t")
    found = compare([*TASKS, other], [*made_up.trials(TASKS, {}), made_up.trial(other, GOOD, [0.0, -1.0])])
    assert found.tasks == tuple(TASKS)
    assert compare([other], []).tasks == ()


def test_where_the_default_is_new_another_recipe_is_the_anchor():
    every = [made_up.trial(of, tried, [effect]) for of in TASKS for tried, effect in ((GOOD, 1.0), (BAD, 3.0))]
    found = compare(TASKS, [*every, made_up.trial(TASKS[0], made_up.default(TASKS[0]), [0.0])])
    names = list(found.recipes)
    assert names[found.anchor] in (GOOD.hash(), BAD.hash())
    gap = found.differences[:, names.index(BAD.hash()), 0] - found.differences[:, names.index(GOOD.hash()), 0]
    np.testing.assert_allclose(gap, 2.0, atol=1e-6)


def test_families_share_one_weight():
    tasks = [made_up.task("f", "a"), made_up.task("f", "b"), made_up.task("g", "a")]
    np.testing.assert_allclose(compare(tasks, made_up.trials(tasks, {})).family_weights(), [0.25, 0.25, 0.5])


def test_the_default_is_known_by_what_it_trains():
    of = TASKS[0]
    assert recipe_name(of, replace(made_up.default(of), averages=("ema",))) == DEFAULT
    assert recipe_name(of, replace(made_up.default(of), averages=())) != DEFAULT
    wide = made_up.default_for(of, 1e6)
    assert recipe_name(of, wide) != DEFAULT
    assert recipe_name(of, wide, images=1e6) == HANDMADE  # which is the default of long budgets
