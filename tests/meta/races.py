"""A race of three tiny recipes, and what two of them have in common if nothing was lost."""

import time

import numpy as np

from mulligan.documents import read_sealed
from mulligan.meta.fit import begin
from mulligan.meta.planning import Options
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.race import Race, RaceSpec
from mulligan.meta.race.warm_start import RacePlan
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training import checkpoint
from mulligan.training.budget import Budget
from mulligan.training.run import RunFolder

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
RECIPES = [
    Recipe(architecture=SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=rate, disc_lr=rate))
    for rate in (2e-3, 1e-3, 1e-6)
]
ARMS = tuple(Arm(recipe, weight, "made up") for recipe, weight in zip(RECIPES, (0.3, 0.3, 0.4), strict=True))
BUDGET = Budget(images=12_000, seconds=None)


def race_in(path, task, emit=lambda event: None, budget=BUDGET, workers=None):
    """A race in a new folder, or one that goes on."""
    if not (path / "run.json").is_file():
        options = Options(out=path, allocation="ftrl", workers=workers)
        begin("digits", task, RacePlan(ARMS), budget, options)
    return Race(RaceSpec(RunFolder(path), task, 0, budget, emit, time.monotonic()))


def story(path):
    """All of a race but its seconds, and where it was trained."""
    document = read_sealed(path / "race.json")
    arms = [{**arm, "spent": {**arm["spent"], "seconds": 0}} for arm in document["arms"]]
    others = {**document["spent_by_others"], "seconds": 0}
    return {**document, "arms": arms, "spent_by_others": others, "seconds": 0, "workers": None}


def assert_same(run, other):
    """Two races ended alike, to the bit."""
    assert story(run) == story(other)
    ours, theirs = (checkpoint.newest(path / "checkpoints")[0].arrays for path in (run, other))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
