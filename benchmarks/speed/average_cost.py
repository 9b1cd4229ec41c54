"""What keeping averages costs a training step: the same game with none, one and three, in turns in one process.

    .venv/bin/python benchmarks/speed/average_cost.py --rounds 40

Single timings move with whatever else the machine does; so each round runs every variant once, in an order of its own,
and only ratios within rounds count. Beside other work the processor's time says more than that on the wall.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.game.step import Data
from mulligan.meta.space.default import default_recipe
from mulligan.recipe import Architecture, Recipe
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs
from mulligan.training.engine import compile_engine, make_game, start_state

SHAPE = (28, 28, 1)
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "ema": ("ema",),
    "ema, power_05, power_10": ("ema", "power_05", "power_10"),
}
RECIPES: dict[str, Recipe] = {
    "mlp 128": Recipe(
        architecture=Architecture(family="mlp", gen_width=128, disc_width=128, gen_depth=2, disc_depth=2)
    ),
    "default, short": default_recipe(SHAPE, 60_000, Budget(100_000, None)),
    "default, long": default_recipe(SHAPE, 60_000, Budget(400_000, None)),
}


class Trained:
    """A compiled game with its state."""

    def __init__(self, recipe: Recipe, averages: tuple[str, ...], data: Data):
        recipe = dataclasses.replace(recipe, averages=averages)
        game = make_game(recipe, SHAPE, 0, 1e6)
        self.state: Any = start_state(game, recipe, SHAPE, 0, seed=0)
        self.engine, self.data = compile_engine(game, self.state, data), data

    def seconds(self, steps: int) -> tuple[float, float]:
        """On the wall, and of all cores together."""
        began, busy = time.monotonic(), time.process_time()
        self.state, info = self.engine.chunk(self.state, self.data, steps)
        jax.block_until_ready(info)
        return time.monotonic() - began, time.process_time() - busy


def ratios(recipe: Recipe, rounds: int, seconds: float) -> dict[str, np.ndarray]:
    """Times of each variant over those of the one without averages, `[rounds, 2]`."""
    random_images = np.random.default_rng(0).integers(0, 256, (2000, *SHAPE)).astype(np.uint8)
    data = Data(jnp.asarray(random_images))
    trained = {name: Trained(recipe, averages, data) for name, averages in VARIANTS.items()}
    for each in trained.values():
        each.seconds(3)
    steps = max(1, int(10 * seconds / trained["none"].seconds(10)[0]))
    chance, found = random.Random(0), {name: [] for name in trained}
    for _ in range(rounds):
        for name in chance.sample(list(trained), len(trained)):
            found[name].append(trained[name].seconds(steps))
    return {name: np.array(found[name]) / np.array(found["none"]) for name in trained}


def median_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median and its 95% bootstrap interval."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(draws, 1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a turn")
    chosen = parser.parse_args()
    cache_programs()
    print("| recipe | averages | seconds of a step, none = 1 (median, 95%) | processor seconds |\n|---|---|---|---|")
    for name in chosen.recipes:
        for averages, values in ratios(RECIPES[name], chosen.rounds, chosen.seconds).items():
            cells = ["{:.3f} ({:.3f}..{:.3f})".format(*median_and_interval(kind)) for kind in values.T]
            print(f"| {name} | {averages} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
