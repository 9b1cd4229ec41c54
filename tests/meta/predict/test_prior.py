"""Priors: one contract for all, and what each must find in experiences whose law is known."""

from itertools import pairwise

import made_up
import numpy as np
import pytest

from mulligan.meta.predict.curves import HELD, compare
from mulligan.meta.predict.prior import PRIORS, PartialCurve, Query
from mulligan.meta.predict.task_similarity import fit_similarity
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.fidelity import MIN_IMAGES_SHARE, flops_at, reference_flops
from mulligan.recipe import Architecture, Recipe

GOOD, BAD, WIDE = made_up.recipe(3e-3), made_up.recipe(1e-4), Recipe(architecture=Architecture(gen_width=512))
TASKS = made_up.families(4, x=float)
NEW = made_up.task("new", "t", x=1.5)
ASKED = Query(NEW, flops_at(made_up.SHAPE, 10))
EFFECTS = {GOOD: lambda of: -0.5, BAD: lambda of: 1.5, WIDE: lambda of: -2.0}
EXPERIENCES = {
    "none": ([], []),
    "no trials": (TASKS, []),
    "one trial": (TASKS[:1], made_up.trials(TASKS[:1], {})),
    "without a default": (TASKS[:1], [made_up.trial(TASKS[0], BAD, [0.0, -1.0])]),
    "several": (TASKS, made_up.trials(TASKS, EFFECTS, noise=0.1, spread=0.5)),
}


@pytest.fixture(scope="module", params=[(prior, name) for prior in PRIORS for name in EXPERIENCES], ids=str)
def prior(request):
    name, experience = request.param
    return PRIORS[name](*EXPERIENCES[experience])


@pytest.mark.parametrize("number", [1, 2, 5])
def test_proposals_are_affordable_different_and_weighted(prior, number):
    found = prior.propose(ASKED, number)
    assert 1 <= len(found) <= number
    assert len({proposal.recipe for proposal in found}) == len(found)
    assert sum(proposal.weight for proposal in found) == pytest.approx(1)
    assert all(proposal.weight > 0 for proposal in found)
    assert all(one.weight >= other.weight for one, other in pairwise(found))
    assert number == 1 or made_up.default(NEW) in [proposal.recipe for proposal in found]
    limits = Limits(ASKED.flops, int(ASKED.images * MIN_IMAGES_SHARE))
    assert not [proposal for proposal in found if refusal(proposal.recipe, NEW.shape, 0, limits)]


@pytest.mark.parametrize("end", [0.5, 10.0, 10.3, 40.0])
@pytest.mark.parametrize("tried", [made_up.default(NEW), GOOD, made_up.recipe(7e-3)], ids=["default", "known", "new"])
@pytest.mark.parametrize("points", [0, 1, 5])
def test_forecasts_end_at_the_budget_and_never_rise(prior, end, tried, points):
    query = Query(NEW, flops_at(made_up.SHAPE, end))
    seen = [made_up.point(NEW, place, 1.0 - 0.2 * place) for place in range(points)]
    found = prior.forecast(query, tried, seen)
    assert found.flops[-1] == pytest.approx(query.flops)
    assert (np.diff(found.flops) > 0).all()
    assert not points or found.flops[0] >= min(seen[-1].flops, query.flops) * (1 - 1e-9)
    assert (found.low <= found.median).all()
    assert (found.median <= found.high).all()
    for line in found[1:]:
        assert np.isfinite(line).all()
        assert (np.diff(line) <= 0).all()
        assert not points or line[0] <= max(np.log(point.figures["energy"]) for point in seen) + 1e-9


def test_what_was_seen_narrows_a_forecast(prior):
    seen = [made_up.point(NEW, place, 5.0 - 0.2 * place) for place in range(8)]
    before, after = prior.forecast(ASKED, GOOD), prior.forecast(ASKED, GOOD, seen)
    assert after.high[-1] - after.low[-1] < 0.8 * (before.high[-1] - before.low[-1])
    assert after.median[-1] > before.median[-1] + 1  # it goes far worse than any did


def test_what_others_reached_on_the_task_moves_a_forecast(prior):
    hard = PartialCurve(BAD, [made_up.point(NEW, place, 6.0 - 0.2 * place) for place in range(8)])
    easy = PartialCurve(BAD, [made_up.point(NEW, place, -3.0 - 0.2 * place) for place in range(8)])
    after = [prior.forecast(ASKED, GOOD, others=[each]).median[-1] for each in (hard, easy)]
    assert after[0] - 0.1 > prior.forecast(ASKED, GOOD).median[-1] > after[1] + 0.1


def test_the_nearest_tasks_come_with_weights(prior):
    found = prior.nearest(ASKED)
    assert not found or sum(weight for _, weight in found) == pytest.approx(1)
    assert all(one[1] >= other[1] for one, other in pairwise(found))


@pytest.mark.parametrize("name", ["portfolio", "nearest", "surrogate"])
def test_the_best_recipe_that_can_be_afforded_comes_first(name):
    found = PRIORS[name](*EXPERIENCES["several"]).propose(ASKED, 3)
    assert found[0].recipe == GOOD
    assert found[0].weight > 0.5
    assert WIDE not in [proposal.recipe for proposal in found]


def test_with_nothing_known_the_default_is_proposed():
    for name in PRIORS:
        [only] = PRIORS[name]([], []).propose(ASKED, 4)
        assert only.recipe == made_up.default(NEW)
        assert only.forecast.high[-1] - only.forecast.low[-1] > 2  # a factor of seven at least


def test_the_best_recipe_depends_on_the_budget():
    """One is ahead at first, the other in the end."""
    sprint, slow = made_up.recipe(9e-3), made_up.recipe(2e-3)
    trials = made_up.trials(TASKS, {})
    for of in TASKS:
        trials.append(made_up.trial(of, sprint, 0.0 - 0.1 * np.arange(11)))
        trials.append(made_up.trial(of, slow, 2.0 - 0.7 * np.arange(11)))
    found = PRIORS["portfolio"](TASKS, trials)
    for end, best in ((2, sprint), (10, slow)):
        assert found.propose(Query(NEW, flops_at(made_up.SHAPE, end)), 3)[0].recipe == best


@pytest.mark.parametrize("name", ["portfolio", "nearest"])
def test_what_was_only_tried_for_a_moment_is_not_proposed_for_a_long_run(name):
    found = PRIORS[name](TASKS, made_up.trials(TASKS, {GOOD: lambda of: -2.0}))
    within, beyond = (
        found.propose(Query(NEW, flops_at(made_up.SHAPE, 10 + more)), 3) for more in (HELD - 0.5, HELD + 0.5)
    )
    assert within[0].recipe == GOOD
    assert [proposal.origin for proposal in beyond] == ["the default"]


def test_the_default_is_that_of_the_budget():
    images = 1_000_000
    query = Query(NEW, images * reference_flops(NEW.shape, 1))
    found = PRIORS["portfolio"](TASKS, made_up.trials(TASKS, {})).propose(query, 1)
    assert found[0].recipe == made_up.default_for(NEW, images)


def test_alike_tasks_count_more_where_that_helps():
    low, high = made_up.recipe(3e-3), made_up.recipe(9e-3)
    effects = {low: lambda of: of.descriptor["x"] - 2.0, high: lambda of: 2.0 - of.descriptor["x"]}
    tasks = made_up.families(9, x=lambda index: index / 2)
    found = PRIORS["nearest"](tasks, made_up.trials(tasks, effects))
    for x, best in ((0.5, low), (3.5, high)):
        proposals = found.propose(Query(made_up.task("new", "t", x=x), ASKED.flops), 3)
        assert proposals[0].recipe == best
        assert proposals[0].weight > 0.8
        nearest = found.nearest(Query(made_up.task("new", "t", x=x), ASKED.flops))
        assert nearest[0][0].descriptor["x"] == x


def test_alike_tasks_count_no_more_where_it_does_not():
    rng = np.random.default_rng(0)
    tasks = made_up.families(9, x=lambda index: rng.normal())
    effects = {made_up.recipe(rate): lambda of: 2 * rng.normal() for rate in (2e-3, 3e-3, 4e-3, 5e-3)}
    assert np.isinf(fit_similarity(compare(tasks, made_up.trials(tasks, effects))).bandwidth)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), [(name, at % 2 * 4) for at, name in enumerate(PRIORS)])
def test_intervals_hold_on_new_families(name, points):
    """80% of the lowest distances on 100 new tasks lie inside, when 40 families have taught."""
    effects = {made_up.recipe(rate): lambda of, rate=rate: 300 * rate for rate in np.linspace(1e-3, 9e-3, 9).round(4)}
    tasks, new = made_up.families(40, 1, x=float), made_up.families(100, 1, x=float)
    learned = PRIORS[name](tasks, made_up.trials(tasks, effects, noise=0.2, spread=0.8))
    inside = []
    for trial in made_up.trials(new, effects, noise=0.2, spread=0.8)[::13]:
        of = next(each for each in new if each.id == trial.task)
        found = learned.forecast(Query(of, ASKED.flops), trial.recipe, trial.curve[:points])
        lowest = min(np.log(point.figures["energy"]) for point in trial.curve)
        inside.append(found.low[-1] <= lowest <= found.high[-1])
    assert 0.7 <= np.mean(inside) <= 0.9
