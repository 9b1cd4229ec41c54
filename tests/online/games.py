"""Games for players on the simplex: sequences of losses, compiled runs, regret."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mulligan.online import simplex

ROUNDS, ARMS = 48, 4
ROUNDING = 1e-3  # of sums of 48 float32 losses, and to spare

seeds = st.integers(0, 2**32 - 1)
priors = hnp.arrays(np.float32, ARMS, elements=st.floats(2**-10, 1, width=32))
settled = settings(deadline=None, max_examples=50)


@st.composite
def sequences(draw):
    """Losses in [0, 1], `[ROUNDS, ARMS]`: anything at all, independent draws, or a leader that switches."""
    kind = draw(st.sampled_from(["any", "pattern", "stochastic", "switching"]))
    unit = st.floats(0, 1, width=32)
    if kind == "any":
        return draw(hnp.arrays(np.float32, (ROUNDS, ARMS), elements=unit))
    if kind == "pattern":
        pattern = draw(hnp.arrays(np.float32, (draw(st.integers(1, 8)), ARMS), elements=st.sampled_from([0, 0.5, 1])))
        return np.resize(pattern, (ROUNDS, ARMS))
    random = np.random.default_rng(draw(seeds))
    means = random.random((ROUNDS, ARMS))
    means = means[:1] if kind == "stochastic" else means[(np.arange(ROUNDS) // draw(st.integers(2, 24)))]
    return (random.random((ROUNDS, ARMS)) < means).astype(np.float32)


def play_all(player, losses, hints=None):
    """Plays every round with prompt feedback; weights `[rounds, arms]` and the last state."""
    hints = jnp.zeros_like(losses) if hints is None else hints

    def step(state, now):
        loss, hint = now
        return player.observe(state, loss, hint), player.play(state, hint)

    state, weights = jax.lax.scan(step, player.init(), (losses, hints))
    return weights, state


@jax.jit
def fixed(prior, eta, losses, hints):
    return play_all(simplex.entropic(prior, simplex.fixed(eta)), losses, hints)


@jax.jit
def decaying(prior, losses):
    return play_all(simplex.entropic(prior, simplex.decaying(math.sqrt(8 * math.log(ARMS)))), losses)


@jax.jit
def adahedge(prior, losses, hints):
    return play_all(simplex.adahedge(prior), losses, hints)


def regrets(weights, losses):
    """The player's losses minus each arm's, `[arms]`, in float64."""
    weights, losses = np.asarray(weights, np.float64), np.asarray(losses, np.float64)
    return np.sum(weights * losses) - losses.sum(0)


def divergences(prior):
    """`KL(u, prior)` for every arm as comparator `u`."""
    return -np.log(prior / prior.sum(dtype=np.float64))
