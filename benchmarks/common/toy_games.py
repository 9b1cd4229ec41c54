"""Games so small that theory knows how fast each dynamics nears their equilibrium, played by mulligan's own steps."""

from __future__ import annotations

import cmath
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mulligan.game.augment import augment
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import PENALTIES, lazy
from mulligan.game.step import Batch, Game, initial_state
from mulligan.recipe import Hyperparameters
from mulligan.types import Averager, Dynamics, Loss, Schedule

BATCH = 2
ETA = 0.1  # both players' rate
CONSENSUS, EVERY, OUTER = 10.0, 5, 1000  # of the members of DYNAMICS


class Point(eqx.Module):
    """A generator of one image of one pixel, `x`, whatever the latents."""

    x: Float[Array, ""]

    def __call__(self, latents: Array, labels: None) -> Float[Array, "n 1 1 1"]:
        return jnp.broadcast_to(self.x, (len(latents), 1, 1, 1))


class Slope(eqx.Module):
    """A discriminator with logits `y * image`."""

    y: Float[Array, ""]

    def __call__(self, images: Float[Array, "n 1 1 1"], labels: None) -> Float[Array, " n"]:
        return self.y * images[:, 0, 0, 0]


def descent(rate: Any, beta1: Any, beta2: Any) -> optax.GradientTransformation:
    """Plain gradient descent, whatever the betas."""
    del beta1, beta2
    return optax.scale(-rate)


def dirac(
    dynamics: Dynamics, loss: Loss, penalty: str = "none", optimiser: Callable[..., Any] = descent, steps: int = 1
) -> Game:
    """The Dirac-GAN: every real image is 0, so the equilibrium is `x = y = 0` (Mescheder et al. 2018, definition 2.1).

    With the Wasserstein loss and no penalty it is the bilinear game `min_x max_y -x y`.
    """
    return Game(
        loss=loss,
        penalty=lazy(PENALTIES[penalty].penalty, 1),
        augment=augment([]),
        dynamics=dynamics,
        schedule=Schedule(lambda numbers: numbers, lambda state, nimg: state, lambda state, info: state),
        averager=Averager(lambda params: (), lambda state, params, nimg, half: (), lambda state: ()),
        batch=BATCH,
        disc_steps=steps,
        latent=1,
        optimiser=optimiser,
    )


def path(game: Game, steps: int, eta: float = ETA, gamma: float = 0.0) -> Float[np.ndarray, "steps+1 2"]:
    """`(x, y)` before the first step and after each, from (1, 1)."""
    numbers = Hyperparameters(gen_lr=eta, disc_lr=eta, gamma=gamma)
    one = jnp.ones(())
    start = initial_state(game, Point(one), Slope(one), numbers, jax.random.key(0))
    images = jnp.zeros((game.disc_steps, BATCH, 1, 1, 1))

    def advance(state: Any, _: None) -> tuple[Any, Array]:
        state, _ = game.dynamics.step(game, state, Batch(images, None, numbers, state.key))
        nimg = state.nimg + BATCH * game.disc_steps
        return state._replace(nimg=nimg), jnp.stack([state.gen.x, state.disc.y])

    _, points = jax.jit(lambda start: jax.lax.scan(advance, start, None, steps))(start)
    return np.concatenate([[[1.0, 1.0]], np.asarray(points)])


def bilinear(name: str, steps: int, eta: float = ETA) -> Float[np.ndarray, " steps+1"]:
    """Distances to the equilibrium of the bilinear game under a member of DYNAMICS."""
    return np.hypot(*path(dirac(DYNAMICS[name], LOSSES["wasserstein"]()), steps, eta).T)


def rate(distances: Float[np.ndarray, " n"], every: int = 1) -> float:
    """Factor by which a distance changes a step, by regression over the second half, every so many steps."""
    times = np.arange(len(distances))[::every][len(distances) // every // 2 :]
    return float(np.exp(np.polyfit(times, np.log(distances[times]), 1)[0]))


def theory(name: str, eta: float = ETA) -> float:
    """What that factor is: the largest eigenvalue of a step on the bilinear game, where `F(w) = i w`."""
    turn = cmath.exp(1j * cmath.acos(1 - eta**2 / 2))  # of an alternating step, which only turns
    inner = (1 + turn**EVERY) / 2
    return {
        "alternating": 1.0,
        "simultaneous": abs(1 - 1j * eta),
        "extragradient": abs(1 - 1j * eta * (1 - 1j * eta)),
        "past_extragradient": abs(1 + cmath.sqrt(1 - 4 * eta**2) - 2j * eta) / 2,
        "optimistic": abs(1 + cmath.sqrt(1 - 4 * eta**2) - 2j * eta) / 2,
        "consensus": abs(1 - eta * CONSENSUS - 1j * eta),
        "lookahead": abs(inner) ** (1 / EVERY),
        "nested_lookahead": abs((1 + inner ** (OUTER // EVERY)) / 2) ** (1 / OUTER),
    }[name]
