"""What tests of whole runs share: a recipe that trains in seconds, and what a run folder holds."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training import checkpoint, loop, stop
from mulligan.training.budget import NOMINAL_FLOPS
from mulligan.training.engine import ChunkInfo

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
RECIPE = Recipe(architecture=SMALL, batch=32, hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3))


def events(run, *kinds):
    """The events of these kinds, or all."""
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in lines if not kinds or event["kind"] in kinds]


def weights(run):
    """Of the generator that was kept."""
    return checkpoint.read(run / "generator.safetensors").arrays


def figures(run):
    """Everything of a run that must not depend on how often it was interrupted."""
    kinds = ("evaluation", "strategy", "guard", "stop", "average", "choice", "final")
    return [
        {name: value for name, value in event.items() if name not in ("seconds", "spent", "cost")}
        for event in events(run)
        if event["kind"] in kinds and event.get("code") != "interrupted"
    ]


def assert_same_end(run, other):
    assert figures(run) == figures(other)
    for name, array in weights(run).items():
        np.testing.assert_array_equal(array, weights(other)[name])


def broken_chunks(monkeypatch, breaks):
    """Makes the chunks numbered in `breaks` end in NaN."""
    import mulligan.training.session as module

    compile_engine, count = module.compile_engine, {"chunks": 0}

    def compile_breaking(game, state, data):
        engine = compile_engine(game, state, data)

        def chunk(state, data, steps):
            count["chunks"] += 1
            state, info = engine.chunk(state, data, steps)
            if count["chunks"] in breaks:
                state = state._replace(gen=jax.tree.map(lambda leaf: leaf * jnp.nan, state.gen))
                info = ChunkInfo(info.means, jnp.bool_(False))
            return state, info

        return engine._replace(chunk=chunk)

    monkeypatch.setattr(module, "compile_engine", compile_breaking)


def clock_of_its_own(monkeypatch):
    """Gives runs a clock on which a step takes 2 ms, and whatever else looks at it 1 ms; the list holds its seconds.

    It is this clock alone that ends them: none converges. Compiling looks at it often, too: a test of seconds asks for
    a fixture that has run the same programs.
    """
    seconds, train = [0.0], loop.advance

    def look():
        seconds[0] += 0.001
        return seconds[0]

    def advance(session, state, steps, progress):
        def chunk(state, data, steps):
            seconds[0] += 0.002 * steps
            return session.engine.chunk(state, data, steps)

        slow = session._replace(engine=session.engine._replace(chunk=chunk))
        return train(slow, state, steps, progress)

    monkeypatch.setattr(time, "monotonic", look)
    monkeypatch.setitem(NOMINAL_FLOPS, "cpu", NOMINAL_FLOPS["cpu"] / 200)  # as slow as these steps are
    monkeypatch.setattr(loop, "advance", advance)
    monkeypatch.setattr(stop, "EVALUATIONS", 10**6)
    return seconds
