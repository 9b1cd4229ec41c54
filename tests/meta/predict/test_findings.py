"""Findings name the recipe that wins, where it wins, and the choice that made the difference."""

import dataclasses

import made_up
import numpy as np
import pytest

from mulligan.meta.predict.findings import findings
from mulligan.meta.store.record import Records
from mulligan.recipe import Hyperparameters, Recipe

RATES = np.geomspace(2e-4, 2e-2, 6)


def known(effects, families=6) -> Records:
    tasks = made_up.families(families)
    trials = made_up.trials(tasks, effects, noise=0.02, spread=0.5)
    return Records({task.id: task for task in tasks}, {trial.id: trial for trial in trials})


def grid() -> dict:
    """Recipes in which the generator's rate decides, and the batch does nothing."""
    return {
        dataclasses.replace(Recipe(batch=batch), hyperparameters=Hyperparameters(gen_lr=rate)): (
            lambda of, rate=rate: abs(np.log10(rate / 2e-3)) - 0.5
        )
        for rate in RATES
        for batch in (16, 32, 64)
    }


@pytest.fixture(scope="module")
def found():
    return findings(known(grid()))


@pytest.mark.slow
def test_the_best_recipe_comes_first_and_its_differences_are_the_laws(found):
    best = found.rankings[0]
    assert best.recipe.hyperparameters.gen_lr in (RATES[2], RATES[3])
    assert best.rank < 0.3
    law = abs(np.log10(best.recipe.hyperparameters.gen_lr / 2e-3)) - 0.5
    for difference in best.differences.values():
        assert difference == pytest.approx(law, abs=0.1)


def test_the_choice_that_decides_is_the_most_important(found):
    first, *others = found.importances
    assert first.choice == "gen_lr"
    assert first.share > 0.3
    assert max(each.share for each in others) < first.share / 3
    assert {value for value, _, _ in {each.choice: each.values for each in found.importances}["batch"]} == {
        "16",
        "32",
        "64",
    }


def test_values_come_with_the_best_first(found):
    values = found.importances[0].values
    means = [mean for _, _, mean in values]
    assert means == sorted(means)
    assert all(number == 3 for _, number, _ in values)


def test_nothing_to_compare_is_no_finding():
    assert findings(Records({}, {})).rankings == ()


def test_few_recipes_say_nothing_about_choices():
    few = dict(list(grid().items())[:3])
    found = findings(known(few))
    assert found.rankings
    assert found.importances == ()
