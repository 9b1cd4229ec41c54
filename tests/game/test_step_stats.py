"""What a step shows to a learned schedule: against numpy, and for nothing where nobody looks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from game.test_step import BATCH, IMAGES, NUMBERS, game, start
from quick import quick_of

from mulligan.game.dynamics import DYNAMICS
from mulligan.game.step import Data, Players, Seen, adam, draw, pixels, step
from mulligan.game.step_stats import step_stats

ADAM = {"optimiser": adam}


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)


def playing(name="alternating", reading=True):
    of = dataclasses.replace(game(loss="relativistic", dynamics=name), **ADAM)
    return dataclasses.replace(of, schedule=of.schedule._replace(reads_stats=reading))


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
    real = np.asarray(draw(Data(IMAGES), 1, BATCH, jax.random.split(state.key, 3)[1])[0][0])
    assert float(info.stats.contrast) == pytest.approx(np.sqrt(real.var(axis=0).mean()), rel=1e-5)
    steepness = (np.abs(np.diff(real, axis=1)).mean() + np.abs(np.diff(real, axis=2)).mean()) / 2
    assert float(info.stats.edges) == pytest.approx(steepness, rel=1e-5)


def test_diversity_is_one_for_images_as_various_as_the_real_ones():
    images, state = pixels(IMAGES), start(playing())
    logits, zero = jnp.zeros(len(images)), jnp.zeros(())

    def diversity(fake):
        seen = Seen(images, fake, logits, logits, zero, zero)
        return float(step_stats(state, Players(state.gen, state.disc), seen).diversity)

    assert diversity(images) == pytest.approx(1, rel=1e-5)
    assert diversity(jnp.broadcast_to(images[:1], images.shape)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", quick_of(DYNAMICS, "alternating", "optimistic", "lookahead"))
def test_every_dynamics_shows_them(name):
    of = playing(name)
    _, info = step(of, start(of), Data(IMAGES))
    assert all(jnp.isfinite(value) and jnp.shape(value) == () for value in info.stats)


def test_where_no_schedule_reads_them_there_are_none():
    of = playing(reading=False)
    assert step(of, start(of), Data(IMAGES))[1].stats == ()
