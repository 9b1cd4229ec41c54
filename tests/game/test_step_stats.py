"""What a step shows to a learned schedule: against numpy, and for nothing where nobody looks."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from game.test_step import BATCH, IMAGES, NUMBERS, game, start

from mulligan.game import dynamics
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.state import Data, adam, draw, pixels, step
from mulligan.game.step_stats import batch_stats
from mulligan.training.engine import chunk
from mulligan.types import StepStats

ADAM = {"optimiser": adam}


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)


def playing(name="alternating"):
    return dataclasses.replace(game(loss="relativistic", dynamics=name), **ADAM)


def test_norms_and_cosines_are_those_of_the_gradients():
    """Which two steps tell: Adam's mean of the gradients is `beta1 * before + (1 - beta1) * gradient`."""
    of = playing()
    first, _ = step(of, start(of), Data(IMAGES))
    second, info = step(of, first, Data(IMAGES))
    told = info.stats._asdict()
    for player, beta1 in (("gen", NUMBERS.gen_beta1), ("disc", NUMBERS.disc_beta1)):
        before, now = (flat(getattr(state, f"{player}_opt")[0].mu) for state in (first, second))
        gradient = (now - beta1 * before) / (1 - beta1)
        assert float(told[f"{player}_grad_rms"]) == pytest.approx(np.sqrt(np.mean(gradient**2)), rel=1e-4)
        cosine = before @ gradient / np.linalg.norm(before) / np.linalg.norm(gradient)
        assert float(told[f"{player}_grad_cosine"]) == pytest.approx(cosine, rel=1e-3)
        size = np.sqrt(np.mean(flat(getattr(first, player)) ** 2))
        assert float(told[f"{player}_param_rms"]) == pytest.approx(size, rel=1e-5)


def test_the_real_images_are_described():
    of = playing()
    state = start(of)
    _, info = step(of, state, Data(IMAGES))
    real = np.asarray(draw(Data(IMAGES), 1, BATCH, jax.random.split(state.key, 3)[1]).real[0])
    assert float(info.stats.contrast) == pytest.approx(np.sqrt(real.var(axis=0).mean()), rel=1e-5)
    steepness = (np.abs(np.diff(real, axis=1)).mean() + np.abs(np.diff(real, axis=2)).mean()) / 2
    assert float(info.stats.edges) == pytest.approx(steepness, rel=1e-5)


def test_diversity_is_one_for_images_as_various_as_the_real_ones():
    images = pixels(IMAGES)
    logits = jnp.zeros(len(images))
    assert float(batch_stats(images, images, logits, logits).diversity) == pytest.approx(1, rel=1e-5)
    alike = jnp.broadcast_to(images[:1], images.shape)
    assert float(batch_stats(images, alike, logits, logits).diversity) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", DYNAMICS)
def test_every_dynamics_shows_them(name):
    of = playing(name)
    _, info = step(of, start(of), Data(IMAGES))
    assert all(jnp.isfinite(value) and jnp.shape(value) == () for value in info.stats)


def test_a_program_that_nobody_looks_at_them_in_is_the_one_without(monkeypatch):
    def compiled():
        of = playing()
        program = jax.jit(lambda state, steps: chunk(of, state, Data(IMAGES), steps))
        return operations(program.lower(start(of), jnp.int32(1)).compile().as_text())

    with_stats = compiled()
    nothing = StepStats(*[jnp.zeros(())] * len(StepStats._fields))
    monkeypatch.setattr(dynamics, "step_stats", lambda before, gradients, batch_stats: nothing)
    assert compiled() == with_stats
    assert len(with_stats) > 100


def operations(text):
    """Those of a compiled program, without where in the source each came from."""
    return [re.sub(r", metadata=\{[^}]*\}", "", line) for line in text.splitlines() if " = " in line]
