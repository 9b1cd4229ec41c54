"""Optuna's tree-structured Parzen estimator with Hyperband, on recorded recipes alone and live."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from benchmarks.meta.live import Live
from benchmarks.meta.replay import Moves, Progress
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.domains import Names, Range, Steps
from mulligan.meta.space.fidelity import MAX_BYTES
from mulligan.meta.space.space import Choice, Space
from mulligan.meta.store.figure_curves import log_figure
from mulligan.recipe import Recipe

WORST = 10.0  # log distance of what has none
SHORT_OF_IT = 0.9  # of a trial's length, by which steps may miss it
UNIT = 32  # resource of a short trial, in its 32nd parts
PART, SEARCH = 0.25, 0.75  # of a live budget: a trial's length, and what may be spent before the best one goes on
STARTUP = 5  # recipes drawn at random before the estimator is asked; Optuna's own is 10, more than are tried here


def distribution(choice: Choice) -> BaseDistribution:
    """A choice as Optuna knows it: names, or the coordinate of a number."""
    if isinstance(choice.domain, Names):
        return CategoricalDistribution(choice.domain.options)
    return FloatDistribution(0.0, 1.0)


DISTRIBUTIONS = {choice.name: distribution(choice) for choice in Space().choices}


def parameters(recipe: Recipe) -> dict[str, Any]:
    """A recipe as values of DISTRIBUTIONS; choices that it does not use have their defaults."""
    values = Space().values(recipe)
    found = {}
    for choice in Space().choices:
        value = values.get(choice.name, choice.default)
        named = isinstance(choice.domain, Names)
        found[choice.name] = value if named else float(np.clip(choice.domain.encode(value)[0], 0, 1))
    return found


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Squared, with 1 for each name that differs."""
    return sum(
        float(value != other[name]) if isinstance(value, str) else (value - other[name]) ** 2
        for name, value in one.items()
    )


class Recorded(optuna.samplers.BaseSampler):
    """Draws with another sampler, and takes the nearest recipe that is recorded and was not taken."""

    def __init__(self, recipes: Sequence[Recipe], seed: int):
        self.left = {arm: parameters(recipe) for arm, recipe in enumerate(recipes)}
        self.taken: list[int] = []
        self.inner = optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=True, seed=seed)
        self.rng = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return dict(DISTRIBUTIONS)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        drawn = self.inner.sample_relative(study, trial, search_space)
        arms = list(self.left)
        arm = (
            min(arms, key=lambda arm: distance(drawn, self.left[arm])) if drawn else arms[self.rng.integers(len(arms))]
        )
        self.taken.append(arm)
        return self.left.pop(arm)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        raise AssertionError(f"{param_name} is in the relative search space.")


def tpe_hyperband(recipes: Sequence[Recipe], length: float, seed: int) -> Callable[[], Moves]:
    """An allocator: Optuna says which recipe is next, and after each look whether it goes on to `length` operations."""

    def moves() -> Moves:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = Recorded(recipes, seed)
        pruner = optuna.pruners.HyperbandPruner(min_resource=2, max_resource=UNIT, reduction_factor=4)
        study = optuna.create_study(sampler=sampler, pruner=pruner, study_name=str(seed))
        progress = Progress(len(recipes))
        while sampler.left:
            trial = study.ask(DISTRIBUTIONS)
            arm, pruned, reported = sampler.taken[-1], False, -1
            while not pruned and arm not in progress.over and progress.spent(arm) < length * SHORT_OF_IT:
                yield from progress.look(arm)
                step = round(UNIT * progress.spent(arm) / length)
                if step > reported:
                    trial.report(min(progress.lowest(arm), WORST), step)
                    reported, pruned = step, trial.should_prune()
            if pruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, min(progress.lowest(arm), WORST))
        for arm in sorted(range(len(recipes)), key=progress.lowest):
            yield from progress.until(arm, math.inf)

    return moves


# --- live


def suggested(trial: optuna.Trial, choice: Choice) -> Any:
    """A choice's value as Optuna draws it."""
    domain = choice.domain
    if isinstance(domain, Range):
        return trial.suggest_float(choice.name, domain.low, domain.high, log=domain.scale == "log")
    options = domain.options if isinstance(domain, Names | Steps) else ()
    return trial.suggest_categorical(choice.name, options)


def drawn(trial: optuna.Trial) -> Recipe:
    """A recipe of the whole space, its conditions kept."""
    space, values = Space(), {}
    for choice in space.choices:
        if choice.active(values):
            values[choice.name] = suggested(trial, choice)
    return space.recipe(values)


def live_tpe(first: Recipe, seed: int, live: Live) -> Moves:
    """Optuna draws recipes and stops them, `first` the first of them; the best goes on with what is left."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
    pruner = optuna.pruners.HyperbandPruner(min_resource=2, max_resource=UNIT, reduction_factor=4)
    study = optuna.create_study(sampler=sampler, pruner=pruner, study_name=str(seed))
    study.enqueue_trial({name: value for name, value in Space().values(first).items() if value is not None})
    length, lowest = live.budget * PART, []
    within = Limits(length, 1, MAX_BYTES)
    while live.spent < live.budget * SEARCH:
        trial = study.ask()
        recipe = drawn(trial) if lowest else first
        if not lowest:
            drawn(trial)
        if refusal(recipe, live.task.shape, 0, within):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        arm, had, reported, pruned = live.add(recipe), 0.0, -1, False
        lowest.append(WORST)
        while not pruned and had < length * SHORT_OF_IT:
            point = yield arm
            if point is None:
                break
            had = point.flops
            value = log_figure(point.figures)
            lowest[arm] = min(lowest[arm], WORST if math.isnan(value) else value)
            step = round(UNIT * had / length)
            if step > reported:
                trial.report(lowest[arm], step)
                reported, pruned = step, trial.should_prune()
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, lowest[arm])
    for arm in np.argsort(lowest).tolist():
        while (yield arm) is not None:
            pass
