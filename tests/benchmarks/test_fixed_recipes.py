"""The best fixed recipe is chosen by other families alone, and whatever is compared with it counts recorded budgets."""

import math

import made_up
import pytest

from benchmarks.meta.cases import Case, arms_of, held_out, judged
from benchmarks.meta.fixed_recipes import BEST_FIXED, Recorded, ends, first_recorded, gaps
from mulligan.meta.learn import IMAGES
from mulligan.meta.predict.curves import handmade_for
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import Records

TASKS = made_up.families(4, 1)
LENGTH = reference_flops(made_up.SHAPE, IMAGES)
COMMON, OWN = made_up.recipe(3e-3), made_up.recipe(1e-3)


def lead(of) -> float:
    """OWN is by far the best on the first family and the worst elsewhere."""
    return -2.0 if of.family == TASKS[0].family else 2.0


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    trials = made_up.trials(TASKS, {COMMON: lambda of: -0.7, OWN: lead}, base=lambda of: handmade_for(of, 1.0))
    known = Records({task.id: task for task in TASKS}, {trial.id: trial for trial in trials})
    priors = held_out(known)
    return Recorded(
        [Case(task, arms_of(task, trials, 0), LENGTH, LENGTH, 0, priors[task.family]) for task in judged(known)]
    )


def test_the_family_itself_has_no_say(recorded):
    assert recorded.fixed(TASKS[0].family)[0] == COMMON.hash()
    assert recorded.fixed(TASKS[1].family).index(COMMON.hash()) == 0


def test_what_is_recorded_for_less_than_the_budget_does_not_count(recorded):
    case = recorded.ends[0][0]
    assert len(ends(case)) == 3
    assert not ends(case._replace(budget=case.budget * 1e6))


def test_another_choice_stands_for_one_that_is_not_recorded(recorded):
    case, values = recorded.ends[0]
    assert first_recorded(case, ["unknown", COMMON.hash()], values) == (
        next(index for index, arm in enumerate(case.arms) if arm.name == COMMON.hash()),
        False,
    )
    assert first_recorded(case, ["unknown"], values) is None


def test_the_oracle_leads_by_what_was_made_up(recorded):
    found = gaps(recorded, [])
    assert all(gap == 0 for _, gap, _ in found[BEST_FIXED])
    by_family = {family: gap for family, gap, _ in found["oracle"]}
    assert by_family[TASKS[0].family] == pytest.approx(-1.3, abs=0.3)
    assert all(math.isclose(by_family[task.family], 0.0, abs_tol=0.3) for task in TASKS[1:])
