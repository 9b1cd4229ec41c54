"""Judging candidates: halves that share nothing, an allowance that is kept, members of a mixture."""

import dataclasses

import jax
import numpy as np
import pytest
from small_runs import SMALL

from mulligan.metrics.energy import energy_distance
from mulligan.metrics.score import Reference
from mulligan.networks.architecture import build
from mulligan.tasks.images import read_task
from mulligan.training.budget import Allowance
from mulligan.training.choice import LEAST_WEIGHT, members
from mulligan.training.comparison import CONFIRMATIONS, Candidate, Comparison, halves
from mulligan.training.engine import Sampler
from mulligan.training.evaluation import Evaluator


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator.make(read_task("digits"), Sampler.make(SMALL, 0), "validation")


@pytest.fixture(scope="module")
def gens():
    """Two untrained generators."""
    return [build(SMALL, (8, 8, 1), 0, jax.random.key(seed)).gen for seed in (0, 1)]


def begun(evaluator, told=None, pace=0.0, **allowance):
    told = [] if told is None else told
    return Comparison(evaluator, Allowance(**allowance), told.append, pace)


def test_halves_are_all_images_once_with_latents_of_their_own(evaluator):
    first, second = halves(evaluator)
    both = np.concatenate([first.reference.features, second.reference.features])
    assert abs(len(first.reference.features) - len(second.reference.features)) <= 1
    np.testing.assert_array_equal(
        both[np.lexsort(both.T)], evaluator.reference.features[np.lexsort(evaluator.reference.features.T)]
    )
    assert len({first.latent_seed, second.latent_seed, evaluator.latent_seed}) == 3


def test_halves_do_not_follow_the_order_of_the_images(evaluator):
    first, _ = halves(evaluator)
    features = evaluator.reference.features
    places = [int(np.abs(features - row).sum(1).argmin()) for row in first.reference.features]
    assert abs(np.mean(places) / len(features) - 0.5) < 0.1
    assert len(set(np.diff(places))) > 3


def test_a_candidate_is_judged_and_told_once(evaluator, gens):
    told = []
    comparison = begun(evaluator, told)
    first = comparison.judge(Candidate("ema", gens[0], 640), members={"a": 1.0})
    assert comparison.judge(Candidate("ema", gens[1], 640)) == first
    [event] = told
    assert (event.kind, event.average, event.at_nimg, event.members) == ("average", "ema", 640, {"a": 1.0})
    assert event.energy == first == comparison.values["ema"] == comparison.score(gens[0])[1]["energy"]
    assert event.n_real == len(comparison.choosing.reference.features)


def test_differences_are_of_the_second_half(evaluator, gens):
    comparison = begun(evaluator)
    for name, gen in zip("ab", gens, strict=True):
        comparison.judge(Candidate(name, gen, 0))
    second = comparison.confirming
    values = [energy_distance(second.reference.joint, second.features(gen)).value for gen in gens]
    assert comparison.difference("a", "b").value == pytest.approx(values[0] - values[1], rel=1e-3)
    assert values[0] != pytest.approx(comparison.values["a"], rel=1e-6)


def test_an_allowance_of_evaluations_counts_all_of_them(evaluator, gens):
    comparison = begun(evaluator, evaluations=CONFIRMATIONS + 2)
    assert comparison.allows(2)
    assert not comparison.allows(3)
    comparison.score(gens[0])
    comparison.attempt(Candidate("a", gens[0], 0))
    comparison.attempt(Candidate("b", gens[1], 0))
    assert (list(comparison.values), comparison.skipped) == (["a"], ["b"])


def test_an_allowance_of_seconds_goes_by_the_pace(evaluator, gens):
    assert begun(evaluator, pace=1.0, seconds=CONFIRMATIONS + 2.5).allows(2)
    assert not begun(evaluator, pace=1.0, seconds=CONFIRMATIONS + 2.5).allows(3)
    slow = begun(evaluator, pace=1e6, seconds=1e6)
    assert not slow.allows(1)
    slow.judge(Candidate("a", gens[0], 0))  # and now it is known to be faster
    assert slow.allows(1)


def features(shift, n=400, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal((n, 6)) + shift * np.eye(6)[0]).astype(np.float32)


def test_members_are_the_few_that_real_images_need(evaluator):
    """Real images of two kinds: one member draws each, one draws what nobody asked for, one is nearly another."""
    comparison = begun(evaluator)
    real = np.concatenate([features(3.0, 300, 1), features(-3.0, 100, 2)])
    comparison.choosing = dataclasses.replace(evaluator, reference=Reference(evaluator.reference.embedding, real))
    comparison.values = {"right": 0.1, "left": 0.4, "far": 9.0, "again": 0.2}
    drawn = {"right": (3.0, 0), "left": (-3.0, 3), "far": (30.0, 4), "again": (3.2, 5)}
    comparison.features = {name: features(shift, seed=seed) for name, (shift, seed) in drawn.items()}
    found = members(comparison)
    assert found.keys() <= {"right", "left", "again"}
    assert found["left"] == pytest.approx(0.25, abs=0.05)
    assert sum(found.values()) == pytest.approx(1.0)
    assert min(found.values()) >= LEAST_WEIGHT
