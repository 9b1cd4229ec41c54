"""The arithmetic of the live proof, and that it hides what it must."""

import math

import made_up
import numpy as np
import pytest

from benchmarks.meta.live import Live, run
from benchmarks.meta.replay import in_turn
from benchmarks.meta.transfer import BASE, break_even, cost, outcome_of, ratios, reach, table, without, worse
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import Records
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.tasks.images import read_task
from mulligan.training.engine import Sampler
from mulligan.training.evaluation import Evaluator

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
TINY = Recipe(SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3))


def result(task, contender, seed, kid, lowest=(1.0, 0.5, 0.0)):
    """One that comes to a new lowest KID, as a logarithm, after 1, 2, 3 operations."""
    spent = [float(number + 1) for number in range(len(lowest))]
    return {"task": task, "contender": contender, "seed": seed, "kid": kid, "spent": spent, "lowest": list(lowest)}


RESULTS = [
    *(result("a", BASE, seed, kid) for seed, kid in enumerate((0.2, 0.4, 0.3))),
    *(result("a", "prior", seed, kid, (0.4, -1.0, -2.0)) for seed, kid in enumerate((0.1, 0.15, 0.2))),
    *(result("b", BASE, seed, kid) for seed, kid in enumerate((0.2, 0.2, 0.2))),
    *(result("b", "prior", seed, kid, (2.0, 0.6, 0.1)) for seed, kid in enumerate((0.3, 0.6, 0.4))),
]


def test_ratios_are_of_medians_task_by_task():
    assert ratios(RESULTS, "prior") == pytest.approx({"a": 0.5, "b": 2.0})
    assert ratios(RESULTS, BASE) == {"a": 1.0, "b": 1.0}


def test_a_task_is_worse_only_where_no_seed_is_as_good_as_the_base():
    assert worse(RESULTS, "prior") == ["b"]
    overlapping = [*RESULTS, result("b", "prior", 3, 0.2)]
    assert worse(overlapping, "prior") == []


def test_compute_is_counted_until_the_yardsticks_own_lowest():
    of_a, of_b = ([each for each in RESULTS if each["task"] == task] for task in "ab")
    assert reach(of_a, "prior", BASE) == pytest.approx(2 / 3)
    assert reach(of_b, "prior", BASE) == math.inf
    assert reach(RESULTS, BASE, BASE) == 1.0


def test_what_came_to_nothing_counts_as_the_worst():
    failed = [{**result("a", "prior", 0, None), "spent": [], "lowest": []}, *RESULTS[:3]]
    assert ratios(failed, "prior") == {"a": math.inf}
    assert reach(failed, "prior", BASE) == math.inf


def test_learning_is_paid_back_by_what_each_task_saves():
    assert break_even(learned=1000.0, images=100.0, share=0.75) == pytest.approx(40)
    assert break_even(learned=1000.0, images=100.0, share=1.0) == math.inf


def known() -> Records:
    tasks = made_up.families(3, 2)
    trials = made_up.trials(tasks, {made_up.recipe(3e-3): lambda of: -0.7})
    for trial in trials:
        trial.cost["flops"] = reference_flops(made_up.SHAPE, 500)
    return Records({task.id: task for task in tasks}, {trial.id: trial for trial in trials})


def test_no_trial_of_the_hidden_family_is_left():
    left = without(known(), "f1")
    assert {task.family for task in left.tasks.values()} == {"f0", "f2"}
    assert {trial.task for trial in left.trials.values()} == set(left.tasks)
    assert len(left.trials) == 8


def test_the_cost_of_an_experience_is_counted_in_images_of_the_yardstick():
    assert cost(known()) == pytest.approx(12 * 500)


def test_the_table_has_a_line_for_each_contender():
    text = table(RESULTS)
    assert "| prior | 1.25 | 2.00 | 1 of 2 |" in text
    assert f"| {BASE} | 1.00 | 1.00 | 0 of 2 |" in text


@pytest.mark.slow
def test_arms_share_one_budget_and_the_best_generator_is_kept():
    task = read_task("digits")
    live = Live(task, 4000, seed=0)
    slow = Recipe(SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=1e-7, disc_lr=1e-7))

    def both(live):
        return in_turn([live.add(slow), live.add(TINY)], live.budget / 2)

    trace = run(live, both)
    step = 32 * max(runner.spec.flops_per_image for runner in live.arms)
    assert abs(live.spent - live.budget) <= 3 * step
    assert trace.spent[-1] == pytest.approx(sum(runner.cost()["flops"] for runner in live.arms))
    assert np.all(np.diff(trace.lowest) <= 0)
    assert live.best is not None
    assert live.best.recipe == TINY
    found = outcome_of(live, trace)
    judge = Evaluator.make(task, Sampler.make(SMALL, 0), "test")
    assert found["kid"] == pytest.approx(judge(live.best.gen)["kid"])
    assert found["kid"] < judge(live.arms[0].gen)["kid"] / 2  # of the one that hardly learns
