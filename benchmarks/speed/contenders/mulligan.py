"""mulligan: the compiled chunk that `mulligan fit` runs, called as its loop calls it.

python -m benchmarks.speed.contenders.mulligan WORKLOAD_JSON
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed.worker import Contender, Weights, serve
from benchmarks.speed.workload import Workload, load_images
from mulligan.averaging.weights import ema
from mulligan.game.step import Batch, Data, GanState, initial_state, pixels
from mulligan.networks.architecture import parameter_count
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training.engine import compile_engine, make_game, start_state


def recipe(workload: Workload) -> Recipe:
    depth = 2 if workload.family == "mlp" else 0
    rate, beta1, beta2 = workload.learning_rate, workload.beta1, workload.beta2
    return Recipe(
        architecture=Architecture(
            family=workload.family,
            gen_width=workload.width,
            disc_width=workload.width,
            gen_depth=depth,
            disc_depth=depth,
            latent=workload.latent,
        ),
        loss=workload.loss,
        penalty="r1r2" if workload.gamma > 0 else "none",
        batch=workload.batch,
        augmentation=(),
        hyperparameters=Hyperparameters(
            rate, rate, beta1, beta1, beta2, beta2, workload.gamma, ema_nimg=workload.ema_nimg
        ),
    )


class Training:
    """State, data and compiled program of one run."""

    def __init__(self, workload: Workload):
        self.workload, self.recipe = workload, recipe(workload)
        self.game = make_game(self.recipe, (28, 28, 1), 0, horizon_nimg=1.0)
        images = load_images(workload)
        self.state = start_state(self.game, self.recipe, images.shape[1:], 0, seed=0)
        self.data = Data(jnp.asarray(images))
        self.engine: Any = None

    def run(self, steps: int) -> None:
        self.engine = self.engine or compile_engine(self.game, self.state, self.data)
        self.state, info = self.engine.chunk(self.state, self.data, steps)
        assert bool(info.finite)

    def replay(self, start: Weights, batches: np.ndarray, latents: np.ndarray) -> Weights:
        """The dynamics on given batches, and the average as it is late in a run: early on it has a ramp."""
        source, nimg = Latents(), LATE_NIMG
        gen, disc = _with_arrays(self.state.gen, _swapped(start.gen)), _with_arrays(self.state.disc, start.disc)
        averager = ema()
        average = averager.init(gen)._replace(nimg=jnp.float32(nimg))
        values = self.recipe.hyperparameters
        state: GanState = initial_state(self.game, Replayed(gen, source), disc, values, jax.random.key(0))

        @jax.jit
        def step(state: GanState, images: jax.Array, latent: jax.Array) -> GanState:
            source.value = latent
            batch = Batch(pixels(images)[None], None, values, state.key)
            state, _ = self.game.dynamics.step(self.game, state, batch)
            return state

        for images, latent in zip(batches, latents, strict=True):
            state = step(state, images, latent)
            nimg += self.workload.batch
            average = averager.update(average, state.gen.gen, nimg, values.ema_nimg)
        arrays = Weights(*map(_arrays, (state.gen, state.disc, averager.value(average))))
        return Weights(_swapped(arrays.gen), arrays.disc, _swapped(arrays.average))


LATE_NIMG = 2**20


class Latents:
    value: jax.Array


class Replayed(eqx.Module):
    """A generator that answers to given latents instead of those it is asked for."""

    gen: Any
    source: Latents = eqx.field(static=True)

    def __call__(self, z: Any, labels: Any = None, *, key: Any = None) -> Any:
        return self.gen(self.source.value, labels)


def _arrays(network: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(network)]


def _with_arrays(network: Any, arrays: list[np.ndarray]) -> Any:
    leaves, structure = jax.tree.flatten(network)
    shaped = [jnp.asarray(array).reshape(leaf.shape) for array, leaf in zip(arrays, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def _swapped(gen: list[np.ndarray]) -> list[np.ndarray]:
    """Keras keeps a transposed convolution's outputs before its inputs, mulligan the other way round."""
    return [array.swapaxes(2, 3) if array.ndim == 4 else array for array in gen]


def prepare(workload: Workload) -> Contender:
    training = Training(workload)
    state = training.state
    parameters = {"gen_parameters": parameter_count(state.gen), "disc_parameters": parameter_count(state.disc)}
    return Contender({"mulligan": version("mulligan"), "jax": jax.__version__, **parameters}, {"chunk": training})


if __name__ == "__main__":
    serve(lambda: prepare(Workload.from_json(sys.argv[1])))
