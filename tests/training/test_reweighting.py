"""Weighted latents: what a generator draws too often is drawn as often as it is wanted."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.metrics.embed import load_embedding
from mulligan.metrics.score import make_reference
from mulligan.recipe import Architecture
from mulligan.training.engine import Sampler
from mulligan.training.evaluation import Evaluator
from mulligan.training.reweighting import POINTS, weighted_prior

LATENT, SIDE, N = 4, 16, 150


class Halves(eqx.Module):
    """Draws noisy grey images, dark ones for latents that begin below 0, bright ones for others."""

    noise: jnp.ndarray

    def __call__(self, latents, labels=None):
        shade = jnp.where(latents[:, 0] < 0, -0.7, 0.7)
        return shade[:, None, None, None] + 0.1 * jnp.tanh(latents[:, 1])[:, None, None, None] * self.noise


def bright(images):
    return (images.mean((1, 2, 3)) > 127).mean()


@pytest.fixture
def evaluator():
    real = images_with(0.5, seed=1)
    sampler = Sampler.make(Architecture(latent=LATENT), 0)
    return Evaluator(sampler, make_reference(load_embedding(), real), "validation", None, N)


def images_with(share, seed):
    """Real images, a share of which is bright."""
    rng = np.random.default_rng(seed)
    shades = np.where(rng.random(400) < share, 217, 38)[:, None, None, None]
    return (shades + rng.normal(0, 3, (400, SIDE, SIDE, 1))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_kinds_of_images_are_drawn_as_often_as_the_real_ones_have_them(evaluator, share):
    gen = Halves(jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (SIDE, SIDE, 1)), jnp.float32))
    real = images_with(share, seed=2)
    prior = weighted_prior(evaluator, gen, real)
    assert prior.points.shape == (POINTS * N, LATENT)
    assert prior.weights.sum() == pytest.approx(1, abs=1e-4)
    assert prior.weights[prior.points[:, 0] > 0].sum() == pytest.approx(bright(real), abs=0.05)
    drawing = evaluator.drawing(prior)
    assert bright(drawing.fakes(gen, 1000)) == pytest.approx(bright(real), abs=0.15)  # less apart, by the spread
    assert evaluator.sampler.prior is None


def test_an_evaluator_draws_what_it_judges(evaluator):
    gen = Halves(jnp.zeros((SIDE, SIDE, 1)))
    prior = weighted_prior(evaluator, gen, images_with(0.9, seed=2))
    bright_ones = dataclasses.replace(evaluator, reference=make_reference(load_embedding(), images_with(0.9, seed=3)))
    assert bright_ones.drawing(prior)(gen)["energy"] < 0.5 * bright_ones(gen)["energy"]
