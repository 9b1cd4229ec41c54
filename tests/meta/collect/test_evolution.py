"""Recipes bred from those that did well on several tasks."""

import numpy as np
import pytest

from mulligan.meta.collect.evolution import Individual, candidates, child, loss, promising
from mulligan.meta.space.space import Space
from mulligan.meta.store.record import DONE, FAILED, Point, Trial
from mulligan.recipe import Architecture, Recipe

BUDGETS = {"one": 1e9, "two": 2e9}
A, B, C = (Recipe(batch=batch) for batch in (16, 32, 64))


def trial(task, recipe, energy, when="1", budget=None, status=DONE):
    curve = (Point(1, 1.0, 1.0, {"energy": energy}),)
    budget = BUDGETS[task] if budget is None else budget
    return Trial(task, recipe.to_json(), 0, budget, status, None, {}, curve, "0", 1, "cpu", when)


def anything(recipe):
    return True


def test_fitness_is_the_mean_rank_over_tasks_and_doubts_what_was_tried_once():
    ended = [
        trial("one", A, 1.0),
        trial("one", B, 2.0),
        trial("one", C, 3.0),
        trial("two", A, 100.0),
        trial("two", C, 7.0),
    ]
    known = {each.recipe: each for each in candidates(ended, BUDGETS)}
    assert known[A].ranks == {"one": 0.0, "two": 1.0}
    assert known[B].ranks == {"one": 0.5}
    assert known[B].fitness == pytest.approx((0.5 + 1) / 3)
    assert known[C].fitness == pytest.approx((1 + 0 + 1) / 4)


def test_a_task_whose_figures_are_larger_counts_no_more_than_another():
    ended = [trial("one", A, 1.0), trial("one", B, 2.0)]
    large = [*ended, trial("two", A, 2000000.0), trial("two", B, 1000000.0)]
    fitness = [each.fitness for each in candidates(large, BUDGETS)]
    assert fitness[0] == fitness[1]


def test_trials_of_other_lengths_are_left_out():
    assert candidates([trial("one", A, 1.0, budget=5.0)], BUDGETS) == []


def test_seeds_are_averaged_and_a_failure_is_the_worst():
    ended = [trial("one", A, 1.0), trial("one", A, 4.0), trial("one", B, 2.0), trial("one", C, 0.1, status=FAILED)]
    ranks = {each.recipe: each.ranks["one"] for each in candidates(ended, BUDGETS)}
    assert ranks == {B: 0.0, A: 0.5, C: 1.0}
    assert loss(ended[-1]) == float("inf")


def test_only_what_did_well_elsewhere_is_promising_the_best_first():
    ended = [trial("one", A, 1.0), trial("one", B, 2.0), trial("one", C, 9.0), trial("two", C, 9.0)]
    worst = [trial("one", Recipe(batch=128, disc_steps=steps), 10.0 + steps) for steps in (1, 2, 4)]
    assert promising(candidates(ended + worst, BUDGETS), "two") == [A]


def test_children_are_new_affordable_and_resemble_the_fittest():
    space, rng = Space(), np.random.default_rng(0)
    fit = Recipe(Architecture(family="mlp", gen_width=64), loss="hinge", penalty="r1", batch=16)
    known = [Individual(fit, {"one": 0.0, "two": 0.0}, "1")]
    known += [Individual(space.sample(rng), {"one": 0.9, "two": 0.8}, "1") for _ in range(20)]
    children = [child(known, rng, lambda recipe: recipe.batch < 128) for _ in range(60)]
    assert all(each.batch < 128 for each in children)
    assert not {each.recipe for each in known} & set(children)
    alike = sum(each.loss == "hinge" and each.penalty == "r1" for each in children)
    by_chance = sum(each.loss == "hinge" and each.penalty == "r1" for each in (space.sample(rng) for _ in range(60)))
    assert alike > by_chance + 5


def test_the_first_recipes_are_drawn_from_the_space():
    assert isinstance(child([], np.random.default_rng(0), anything), Recipe)
