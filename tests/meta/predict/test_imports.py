"""An import may say anything: what it says is bounded, and still of use."""

import itertools
from dataclasses import replace

import made_up
import numpy as np
import pytest
from quick import quick_of

from mulligan.meta.predict.curves import compare
from mulligan.meta.predict.prior import PRIORS, Query
from mulligan.meta.predict.task_similarity import TaskSimilarity
from mulligan.meta.space.fidelity import flops_at
from mulligan.meta.store.record import HERE, SHIPPED, Point, Trial

GOOD, FAIR, NONSENSE = (made_up.recipe(rate) for rate in (3e-3, 2e-3, 1e-7))
OWN = made_up.families(5, size=float)
OWN_TRIALS = made_up.trials(OWN, {GOOD: lambda of: -1.5, FAIR: lambda of: -0.5}, noise=0.1)
QUERY = Query(made_up.task("new", "t", size=2.0), flops_at(made_up.SHAPE, 10))


def from_source(trials, source):
    return [replace(trial, source=source) for trial in trials]


def perfect(of, recipe) -> Trial:
    """A claim of a distance of 1e-9 from the first look on."""
    told = made_up.trial(of, recipe, np.zeros(11))
    figures = {"energy": 1e-9, "energy_low": 0.0, "energy_high": 2e-9}
    return replace(told, curve=tuple(Point(*point[:3], figures) for point in told.curve))


def lies(tasks):
    """Nonsense is perfect there, and all that is good fails."""
    return [
        *(perfect(of, NONSENSE) for of in tasks),
        *made_up.trials(tasks, {GOOD: lambda of: 5.0, FAIR: lambda of: 5.0}),
    ]


def proposed(name, tasks, trials, number=3):
    return PRIORS[name](tasks, trials).propose(QUERY, number)


INVENTED = [made_up.task(f"p{index}", "t", size=2.0) for index in range(30)]  # each as the task asked about looks


POISONED = list(itertools.product(["portfolio", "nearest"], ["invented tasks", "one's own tasks"]))


@pytest.mark.parametrize(("name", "where"), quick_of(POISONED, POISONED[1], POISONED[2]))
def test_a_poisoned_import_does_not_win(name, where):
    tasks = INVENTED if where == "invented tasks" else OWN
    everything = [*OWN, *INVENTED]
    believed = proposed(name, everything, OWN_TRIALS + lies(tasks))
    assert believed[0].recipe == NONSENSE  # as it would be without a bound
    found = proposed(name, everything, OWN_TRIALS + from_source(lies(tasks), "poison"))
    assert found[0].recipe == GOOD
    weights = {proposal.recipe: proposal.weight for proposal in found}
    assert weights.get(NONSENSE, 0.0) < 0.4
    assert found[0].weight > 0.5


@pytest.mark.slow
def test_several_poisoned_imports_do_not_win():
    more = [made_up.task(f"q{index}", "t", size=2.0) for index in range(30)]
    trials = OWN_TRIALS + from_source(lies(INVENTED), "one") + from_source(lies(more), "other")
    assert proposed("nearest", [*OWN, *INVENTED, *more], trials)[0].recipe == GOOD


def test_an_honest_import_helps():
    """Its recipe, which was never tried here, is among those that race; with own trials of it, it comes first."""
    best, theirs = made_up.recipe(5e-3), made_up.families(8, size=float)
    theirs = [replace(of, id=f"their {of.id}", family=f"their {of.family}") for of in theirs]
    import_ = from_source(made_up.trials(theirs, {best: lambda of: -3.0, GOOD: lambda of: -1.5}, noise=0.1), "ada")
    found = proposed("nearest", [*OWN, *theirs], OWN_TRIALS + import_)
    assert best in [proposal.recipe for proposal in found]
    own = [trial for trial in made_up.trials(OWN[:2], {best: lambda of: -3.0}) if trial.recipe == best]
    assert proposed("nearest", [*OWN, *theirs], OWN_TRIALS + import_ + own)[0].recipe == best


def test_where_there_is_nothing_else_an_import_is_believed():
    assert proposed("nearest", OWN, from_source(OWN_TRIALS, "ada"))[0].recipe == GOOD


def test_imports_weigh_a_quarter_of_the_rest_at_most():
    comparison = compare([*OWN, *INVENTED], OWN_TRIALS + from_source(lies(INVENTED), "poison"))
    imported = np.array(comparison.sources) == "poison"
    assert (imported.sum(), (~imported).sum()) == (30, 10)
    assert comparison.independent() == 5
    for weights in (comparison.family_weights(), TaskSimilarity(comparison, 0.25).weights(QUERY.task)):
        assert weights.sum() == pytest.approx(1)
        assert weights[imported].sum() == pytest.approx(0.2)


def test_claims_end_where_what_was_seen_here_does():
    comparison = compare(OWN, OWN_TRIALS + from_source(lies(OWN), "poison"))
    here = np.array(comparison.sources) == HERE
    differences = comparison.differences
    assert np.nanmin(differences[~here]) >= np.nanmin(differences[here]) - 1e-9
    assert np.nanmax(differences[~here]) <= np.nanmax(differences[here]) + 1e-9


def test_an_import_does_not_choose_the_anchor():
    crowd = [made_up.trial(of, NONSENSE, np.zeros(11)) for of in INVENTED]
    comparison = compare([*OWN, *INVENTED], OWN_TRIALS + from_source(crowd, "poison"))
    assert comparison.tasks == tuple(OWN)


def test_what_is_shipped_counts_as_ones_own():
    assert {*compare(OWN, from_source(OWN_TRIALS, SHIPPED)).sources} == {HERE}
