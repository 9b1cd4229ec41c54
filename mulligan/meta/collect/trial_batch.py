"""Trials as the members of one program: what an accelerator does in place of one trial after another.

Trials can share a program where their recipes differ by what is traced alone: hyperparameters, schedules, seeds. On a
CPU nothing is gained by it, and nobody does so there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import jax
import numpy as np

from mulligan.errors import MulliganError
from mulligan.meta.collect.trial import TrialRunner, TrialSpec, open_trials, run_trial, static_part
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.fidelity import rungs
from mulligan.meta.space.space import Space
from mulligan.meta.store.record import Trial
from mulligan.training.device import memory_bytes
from mulligan.training.population import member, stacked
from mulligan.training.progress import Progress
from mulligan.training.session import advance

MEMBERS = 32  # of a population, at most; so many small GANs were trained at once on a GPU before, in benchmarks
MEMORY_SHARE = 0.5  # of the device's memory, that they may need
NEAR = 64  # proposals among which others are looked for that the chosen one's program can train


def population_size(spec: TrialSpec) -> int:
    """How many trials like this one train at once on this machine; on a CPU one, which is as fast there."""
    if jax.default_backend() == "cpu":
        return 1
    bytes_each = footprint(spec.recipe, spec.task.shape, spec.classes).bytes
    return int(max(min(MEMBERS, MEMORY_SHARE * memory_bytes() / bytes_each), 1))


def alike(chosen: TrialSpec, proposed: Iterator[TrialSpec]) -> Iterator[TrialSpec]:
    """Assignments that one program can train with the chosen one, without end.

    First those among the next proposals, then the chosen recipe with other numbers and schedules.

    Args:
      chosen: the first of a population.
      proposed: what would come after it.
    """
    static = static_part(chosen.recipe)
    for each in islice(proposed, NEAR):
        if (each.task.hash, each.images, static_part(each.recipe)) == (chosen.task.hash, chosen.images, static):
            yield each
    space, rng = Space(), np.random.default_rng(int(chosen.recipe.hash(), 16))
    while True:
        recipe, changes = chosen.recipe, rng.geometric(0.5)
        while changes:
            changed = space.mutate(recipe, rng)
            if static_part(changed) == static:
                recipe, changes = changed, changes - 1
        yield replace(chosen, recipe=recipe, seed=0)


def run_trials(specs: Sequence[TrialSpec]) -> list[Trial]:
    """Trials that one program trains side by side, each as `run_trial` would have it but for the rounding of floats.

    What all took together is each one's in equal shares. One that fails stays among the others, and is looked at no
    more. Where all fail together, as on a device without memory for them, half of them are tried at a time.

    Args:
      specs: on one task, of one length, their recipes one `static_part`.

    Returns:
      The trials, in the order of `specs`.
    """
    if len(specs) == 1:
        return [run_trial(specs[0])]
    began = time.monotonic()
    runners = [TrialRunner(spec) for spec in specs]
    try:
        _train(runners)
    except (MulliganError, jax.errors.JaxRuntimeError, MemoryError):
        half = len(specs) // 2
        return [*run_trials(specs[:half]), *run_trials(specs[half:])]
    seconds = (time.monotonic() - began) / len(specs)
    return [runner.ended(seconds) for runner in runners]


def _train(runners: Sequence[TrialRunner]) -> None:
    """Trains all to the end of their trials, and evaluates each at every rung that it reaches."""
    share, began = 1 / len(runners), time.monotonic()
    session, begun = open_trials(runners)
    states, progress = stacked(begun), Progress()
    for runner in runners:
        runner.compile_seconds = share * (time.monotonic() - began)
    for rung in rungs(runners[0].spec.images):
        for part in runners[0].spec.chunks(rung, progress.nimg):
            busy = time.process_time()
            states, info, progress = advance(session, states, part, progress)
            busy = share * (time.process_time() - busy)
            for runner, finite in zip(runners, np.asarray(info.finite), strict=True):
                if not runner.reason:
                    seconds = share * progress.training_seconds
                    runner.progress = replace(runner.progress, nimg=progress.nimg, training_seconds=seconds)
                    runner.cpu_seconds += busy
                    runner.check(bool(finite))
        if all(runner.reason for runner in runners):
            return
        averages = jax.vmap(session.engine.game.averager.value)(states.averages)
        # On one device: of several, all would have to draw the images of each member.
        gens = jax.device_put(next(iter(averages.values()), states.gen), jax.devices()[0])
        for index, runner in enumerate(runners):
            if not runner.reason:
                runner.judge(session, member(gens, index))
