"""Trials that one program trains side by side: each as it would have gone by itself."""

import itertools
import math
from dataclasses import replace

import jax
import pytest
import trials

from mulligan.meta.collect import trial_batch
from mulligan.meta.collect.proposals import propose_trials
from mulligan.meta.collect.trial import TrialSpec, run_trial, static_part
from mulligan.meta.collect.trial_batch import alike, population_size, run_trials
from mulligan.meta.store.record import DONE, FAILED
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe
from mulligan.tasks.images import read_task

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=4)
RATES = Hyperparameters(gen_lr=2e-3, disc_lr=2e-3)


@pytest.fixture(scope="module")
def digits():
    return read_task("digits/1")


def specs(task):
    recipe = Recipe(SMALL, batch=32, loss="nonsaturating", hyperparameters=RATES)
    falling = (("gen_lr", Form("cosine", final=0.1)),)
    breaking = Hyperparameters(gen_lr=1e30, disc_lr=1e30)
    chosen = [
        (recipe, 0),
        (replace(recipe, hyperparameters=breaking), 0),
        (replace(recipe, hyperparameters=RATES._replace(gamma=3.0)), 1),
        (replace(recipe, schedules=falling), 2),
    ]
    return [TrialSpec(task, each, seed, 1500) for each, seed in chosen]


@pytest.mark.slow
def test_trials_side_by_side_are_what_they_are_one_after_the_other(digits):
    together, alone = run_trials(specs(digits)), [run_trial(spec) for spec in specs(digits)]
    assert [trial.status for trial in together] == [DONE, FAILED, DONE, DONE]
    for one, other in zip(together, alone, strict=True):
        same = ("task", "recipe_json", "seed", "budget", "status", "reason", "space", "device")
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert (one.cost["images"], one.cost["flops"]) == (other.cost["images"], other.cost["flops"])
        assert len(one.curve) == len(other.curve)
        for point, like in zip(one.curve, other.curve, strict=True):
            assert (point.nimg, point.flops) == (like.nimg, like.flops)
            for name, figure in like.figures.items():
                assert point.figures[name] == pytest.approx(figure, rel=0.02, abs=0.02), name
    kids = [trial.curve[-1].figures["kid"] for trial in together if trial.curve]
    assert len(set(kids)) == 3


def test_where_all_fail_together_halves_are_tried(digits, monkeypatch):
    sizes = []

    def train(runners):
        sizes.append(len(runners))
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(trial_batch, "_train", train)
    monkeypatch.setattr(trial_batch, "run_trial", lambda spec: trials.trial(spec.seed))
    assert [trial.seed for trial in run_trials(specs(digits))] == [0, 0, 1, 2]
    assert sizes == [4, 2, 2]


@pytest.mark.slow
def test_others_share_the_program_of_the_chosen_one_and_differ_by_their_numbers(digits):
    proposed = propose_trials(digits, 1000, [], {digits.hash: 1.0})
    chosen = next(proposed)
    again = replace(chosen, seed=9)
    found = list(itertools.islice(alike(chosen, itertools.chain([again], proposed)), 40))
    assert found[0] == again
    assert {static_part(each.recipe) for each in found} == {static_part(chosen.recipe)}
    assert {(each.task.hash, each.images) for each in found} == {(digits.hash, 1000)}
    assert len({(each.recipe, each.seed) for each in found}) > 30
    rates = [each.recipe.hyperparameters.gen_lr for each in found]
    assert max(rates) > 1.5 * min(rates)


def test_a_cpu_trains_one_at_a_time_and_a_device_as_many_as_it_has_memory_for(digits, monkeypatch):
    spec = specs(digits)[0]
    assert population_size(spec) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    bytes_each = trial_batch.footprint(spec.recipe, digits.shape, spec.classes).bytes
    sizes = []
    for memory in (math.inf, 10 * bytes_each, 1.0):
        monkeypatch.setattr(trial_batch, "memory_bytes", lambda memory=memory: memory)
        sizes.append(population_size(spec))
    assert sizes == [trial_batch.MEMBERS, 5, 1]
