"""Twenty-five modes in the plane, and small networks that know how to cover them or do not."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mulligan.averaging.weights import several
from mulligan.game.augment import augment
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import PENALTIES, lazy
from mulligan.game.step import Data, Game, initial_state, step, to_bytes
from mulligan.online.opponents import queue
from mulligan.recipe import Hyperparameters
from mulligan.schedules.closed import schedule
from mulligan.tasks.mixtures import GaussianMixture, grid25
from mulligan.types import Key

LATENT, WIDTH, DEPTH, BATCH, SAMPLES = 16, 128, 3, 128, 2500
SCALE = 0.8  # so that all modes lie well inside of what a pixel can be
STD = 0.05  # of a mode, a tenth of the way to the next: small networks reach it in thousands of steps
FEWEST = 0.25  # of its fair share of samples, for a mode to count


class Choice(NamedTuple):
    """A game on the mixture."""

    loss: str = "nonsaturating"
    penalty: str = "none"
    dynamics: str = "alternating"
    opponents: int = 0
    gamma: float = 0.1


class Coverage(NamedTuple):
    """Modes of 25 with a quarter of their share of samples within three standard deviations; the share of all samples
    that lies so near to a mode (0.28 of samples spread evenly would)."""

    modes: int
    quality: float


class Mlp(eqx.Module):
    """Rectified layers; He's initialisation."""

    weights: list[Array]
    biases: list[Array]

    @staticmethod
    def make(key: Key, inputs: int, outputs: int) -> Mlp:
        sizes = [inputs, *[WIDTH] * DEPTH, outputs]
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
        weights = [jax.random.normal(key, (m, n)) * (2 / m) ** 0.5 for key, m, n in shapes]
        return Mlp(weights, [jnp.zeros(n) for n in sizes[1:]])

    def hidden(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = jax.nn.leaky_relu(x @ weight + bias, 0.2)
        return x @ self.weights[-1] + self.biases[-1]


class Painter(eqx.Module):
    """A generator of points, as images of one pixel with two channels."""

    layers: Mlp

    def __call__(self, latents: Float[Array, "n d"], labels: None) -> Float[Array, "n 1 1 2"]:
        return self.layers.hidden(latents)[:, None, None, :]


class Critic(eqx.Module):
    """A discriminator of such points."""

    layers: Mlp

    def __call__(self, images: Float[Array, "n 1 1 2"], labels: None) -> Float[Array, " n"]:
        return self.layers.hidden(images[:, 0, 0, :])[:, 0]


def cover(choice: Choice, steps: int, seed: int, rate: float = 1e-3) -> Coverage:
    """Trains with Adam (beta1 = 0) and counts what the generator's moving average covers."""
    game = Game(
        loss=LOSSES[choice.loss](),
        penalty=lazy(PENALTIES[choice.penalty].penalty, 1),
        augment=augment([]),
        dynamics=DYNAMICS[choice.dynamics],
        schedule=schedule((), 1.0),
        averager=several(["ema"]),
        batch=BATCH,
        disc_steps=1,
        latent=LATENT,
        opponents=queue(choice.opponents) if choice.opponents else None,
    )
    numbers = Hyperparameters(gen_lr=rate, disc_lr=rate, gamma=choice.gamma)
    keys = jax.random.split(jax.random.key(seed), 4)
    gen, disc = Painter(Mlp.make(keys[0], LATENT, 2)), Critic(Mlp.make(keys[1], 2, 1))
    mixture = GaussianMixture(grid25().centres, STD)
    data = Data(to_bytes(SCALE * jnp.asarray(mixture.sample(20_000, seed))[:, None, None, :]))
    program = jax.jit(lambda state: jax.lax.scan(lambda s, _: step(game, s, data), state, None, steps)[0])
    state = program(initial_state(game, gen, disc, numbers, keys[2]))
    average = game.averager.value(state.averages)["ema"]
    points = average(jax.random.normal(keys[3], (SAMPLES, LATENT)), None)[:, 0, 0, :] / SCALE
    found = mixture.modes(np.asarray(points, np.float32))
    counts = np.bincount(found[found >= 0], minlength=25)
    return Coverage(int((counts >= FEWEST * SAMPLES / 25).sum()), float((found >= 0).mean()))
