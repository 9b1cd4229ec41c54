"""The surrogate learns a law over recipes, and looks at descriptors only where they help."""

import made_up
import numpy as np
import pytest

from mulligan.meta.predict.curves import FIDELITIES, compare
from mulligan.meta.predict.surrogate import TREES, fit_forest
from mulligan.meta.predict.task_similarity import fit_similarity

RATES = np.geomspace(1e-4, 1e-2, 12)
NEW = made_up.task("new", "t", x=4.0)


def valley(rate: float) -> float:
    """Best at 2e-3, worse by 1 at each factor of ten."""
    return abs(np.log10(rate / 2e-3)) - 0.5


def forest(effects, tasks, noise=0.1):
    return fit_forest(fit_similarity(compare(tasks, made_up.trials(tasks, effects, noise=noise, spread=0.5))))


def said(of, task, rate: float) -> float:
    """What the trees say on average at the tenth place."""
    tried = made_up.recipe(rate)
    return float(of.weights(task) @ of.differences(task, {tried.hash(): tried})[:, 0, 10])


@pytest.fixture(scope="module")
def valleys():
    effects = {made_up.recipe(rate): lambda of, rate=rate: valley(rate) for rate in RATES}
    return forest(effects, made_up.families(6, x=lambda index: float(index % 2)))


@pytest.mark.slow
def test_recipes_that_were_never_tried_lie_between_those_that_were(valleys):
    learned, _ = valleys
    new = np.sqrt(RATES[1:-2] * RATES[2:-1])
    errors = [said(learned, NEW, rate) - valley(rate) for rate in new]
    assert np.sqrt(np.mean(np.square(errors))) < 0.25
    assert said(learned, NEW, 2.2e-3) < said(learned, NEW, 2e-4) - 0.4


def test_descriptors_that_say_nothing_are_not_looked_at(valleys):
    assert not valleys[0].described


def test_descriptors_that_help_are():
    rates = RATES[::2]
    effects = {made_up.recipe(rate): lambda of, rate=rate: 3e2 * rate * (of.descriptor["x"] - 2.5) for rate in rates}
    learned, _ = forest(effects, made_up.families(8, x=lambda index: float(index % 6)))
    assert learned.described
    low, high = (said(learned, made_up.task("new", "t", x=x), RATES[-2]) for x in (0.0, 5.0))
    assert low < -1 < 1 < high


def test_trees_that_know_a_family_do_not_judge_it(valleys):
    learned, _ = valleys
    everyone, others = learned.weights(NEW), learned.weights(NEW, exclude_family="f1")
    np.testing.assert_allclose(everyone, 1 / TREES)
    assert others.sum() == pytest.approx(1)
    assert 0.2 < (others > 0).mean() < 0.6
    families = sorted(set(learned.similarity.comparison.families))
    assert not (others.astype(bool) & learned.knows_family[:, families.index("f1")]).any()


def test_the_anchor_is_no_different_from_itself(valleys):
    learned, _ = valleys
    recipes = learned.similarity.comparison.recipes
    np.testing.assert_array_equal(learned.differences(NEW, recipes)[:, learned.similarity.comparison.anchor], 0.0)
    assert learned.differences(NEW, recipes).shape == (TREES, len(recipes), len(FIDELITIES))


@pytest.mark.slow
def test_a_new_recipe_is_less_certain_where_recipes_have_no_law():
    effects = np.random.default_rng(0).normal(size=len(RATES))
    lawless = {made_up.recipe(rate): lambda of, e=effect: e for rate, effect in zip(RATES, effects, strict=True)}
    lawful = {made_up.recipe(rate): lambda of, rate=rate: valley(rate) for rate in RATES}
    tasks = made_up.families(4)
    assert forest(lawless, tasks)[1] > 1.5 * forest(lawful, tasks)[1]
