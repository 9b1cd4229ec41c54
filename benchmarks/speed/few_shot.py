"""Tasks a second of Reptile with FIGR's networks, here and in PyTorch as FIGR's published code runs it, in turns.

    .venv/bin/python benchmarks/speed/few_shot.py --widths 64 8 --rounds 3 --seconds 20

The peer (`benchmarks/peers/figr.py`) runs in its own environment. Both take 4 images of 32x32 and ten inner updates of
both players, with gradient penalty; mulligan's generator answers with the fakes that its discriminator was shown, where
FIGR draws new ones: a generator's forward pass less an update.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.common.intervals import spread
from benchmarks.common.places import ROOT, peers_python
from benchmarks.few_shot.contenders import FIGR
from mulligan.game.step import Players
from mulligan.meta.initialisation.adaptation import Initialisation, InnerGame
from mulligan.meta.initialisation.episodes import EpisodeSpec
from mulligan.meta.initialisation.init_file import inner_game
from mulligan.meta.initialisation.objectives import QueryObjective
from mulligan.meta.initialisation.outer import MetaObjective, OuterConfig, initial_outer_state, outer_steps
from mulligan.networks.layers import Conv, Dense, randomised

LATENT, SIDE, BLOCKS, UPDATES = 100, 32, 4, 10


class Norm(eqx.Module):
    """Layer normalisation with a gain and an offset for each number, and PReLU, in the order that a player has them."""

    gain: jax.Array
    offset: jax.Array
    slope: jax.Array
    first: bool = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], first: bool):
        self.gain, self.offset = jnp.ones(shape), jnp.zeros(shape)
        self.slope, self.first = jnp.full(shape[-1:], 0.25), first

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._rectified(self._normal(x)) if self.first else self._normal(self._rectified(x))

    def _rectified(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.slope * x)

    def _normal(self, x: jax.Array) -> jax.Array:
        axes = tuple(range(1, x.ndim))
        centred = x - jnp.mean(x, axes, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(centred**2, axes, keepdims=True) + 1e-5) * self.gain + self.offset


class Generator(eqx.Module):
    layers: tuple[Any, ...]
    coarse: tuple[int, int, int] = eqx.field(static=True)

    def __call__(self, z: jax.Array, labels: Any = None) -> jax.Array:
        dense, norm, *blocks, last = self.layers
        x = norm(dense(z)).reshape(len(z), *self.coarse)
        for conv, after in zip(blocks[::2], blocks[1::2], strict=True):
            x = after(conv(x))
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return jnp.tanh(last(x))


class Discriminator(eqx.Module):
    layers: tuple[Any, ...]

    def __call__(self, x: jax.Array, labels: Any = None) -> jax.Array:
        first, norm, *blocks, last = self.layers
        x = norm(first(x))
        for conv, after in zip(blocks[::2], blocks[1::2], strict=True):
            x = after(conv(x))
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return last(x)


def networks(width: int, key: jax.Array) -> Players:
    """FIGR's players, with weights that have the right size; their exact distribution costs no time."""
    down = [width * 2 ** (BLOCKS - level) for level in range(BLOCKS + 1)]
    up, coarse = down[::-1], SIDE // 2**BLOCKS
    flat = down[0] * coarse**2
    gen: list[Any] = [Dense((LATENT,), (flat,)), Norm((flat,), False)]
    disc: list[Any] = [Conv((5, 5, 1, width)), Norm((SIDE, SIDE, width), True)]
    for level in range(BLOCKS):
        side = coarse * 2**level
        gen += [Conv((5, 5, down[level], down[level + 1])), Norm((side, side, down[level + 1]), False)]
        side = SIDE // 2**level
        disc += [Conv((5, 5, up[level], up[level + 1])), Norm((side, side, up[level + 1]), True)]
    gen.append(Conv((5, 5, width, 1)))
    disc.append(Dense((coarse, coarse, up[-1]), ()))
    players = (Generator(tuple(gen), (coarse, coarse, down[0])), Discriminator(tuple(disc)))
    is_norm = lambda node: isinstance(node, Norm)  # noqa: E731
    weights, norms = eqx.partition(players, lambda leaf: not is_norm(leaf), is_leaf=is_norm)
    return Players(*eqx.combine(randomised(weights, key), norms, is_leaf=is_norm))


class Ours:
    """Reptile in one compiled program."""

    def __init__(self, width: int):
        recipe = dataclasses.replace(FIGR, architecture=dataclasses.replace(FIGR.architecture, latent=LATENT))
        inner: InnerGame = inner_game(recipe, (SIDE, SIDE, 1), UPDATES)
        nothing = QueryObjective(lambda players, query, key: Players(jnp.zeros(()), jnp.zeros(())), shared=True)
        study = OuterConfig("reptile", 1, EpisodeSpec(4, 1, False), optax.adam(1e-4), 1.0)
        players = networks(width, jax.random.key(0))
        scale = jax.tree.map(lambda leaf: jnp.full_like(leaf, np.log(1e-3)), players)
        self.state = initial_outer_state(study, Initialisation(players, scale), jax.random.key(1))
        self.pool = jnp.asarray(np.random.default_rng(0).integers(0, 256, (64, 5, SIDE, SIDE, 1), np.uint8))
        lesson = MetaObjective(inner, nothing)
        program = jax.jit(lambda state, pool, steps: outer_steps(lesson, study, state, pool, steps), donate_argnums=0)
        compiled = program.lower(self.state, self.pool, jnp.int32(1)).compile()
        self.program = compiled
        self.run(1)

    def run(self, tasks: int) -> None:
        self.state, loss = self.program(self.state, self.pool, jnp.int32(tasks))
        jax.block_until_ready(loss)

    def round(self, seconds: float) -> dict[str, float]:
        """Tasks, seconds, and processor seconds of at least so long."""
        done, size, began, busy = 0, 1, time.perf_counter(), time.process_time()
        while (spent := time.perf_counter() - began) < seconds:
            size = max(1, int((seconds - spent) / 4 * done / spent)) if done else 1
            self.run(size)
            done += size
        return {"tasks": done, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}


def theirs(width: int, seconds: float, seed: int) -> dict[str, float]:
    command = [peers_python(), "-m", "benchmarks.peers.figr", str(width), str(seconds), str(seed)]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--widths", nargs="+", type=int, default=[64, 8], help="channels at the finest size; FIGR has 64"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--output", type=Path, default=None, help="JSON to write")
    chosen = parser.parse_args()
    found = []
    for width in chosen.widths:
        ours = Ours(width)
        for index in range(chosen.rounds):
            pair = {"mulligan": ours.round(chosen.seconds), "pytorch": theirs(width, chosen.seconds, index)}
            found.append({"width": width, "round": index, **pair})
            print(json.dumps(found[-1]), flush=True)
        for per in ("seconds", "cpu_seconds"):
            rates = {
                name: [each[name]["tasks"] / each[name][per] for each in found if each["width"] == width]
                for name in ("mulligan", "pytorch")
            }
            ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
            told = {name: spread(values, 3) for name, values in rates.items()}
            print(f"width {width}, tasks a {per[:-1]}: {told}, ratio {spread(ratios, 2)}")
    if chosen.output:
        chosen.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
