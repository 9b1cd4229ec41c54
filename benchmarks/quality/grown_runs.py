"""Does a run end nearer that begins with images of half the size and lets its networks grow, in as many seconds?

    python benchmarks/quality/grown_runs.py run --seeds 0 1
    python benchmarks/quality/grown_runs.py table

Contenders: `plain`, what `fit` does with images of 64x64 of which it sees `--images`; and any SECONDS/FRESH, the share
of those seconds (by the table of speeds) that go to images of half the size, and the share of fresh weights that new
layers begin with (`networks.growing`). Both parts are runs of their own: each warms up and follows half a cosine. The
average of width 0.05 is judged as in `shared_choices.py`. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.common.families import families
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import images_in
from benchmarks.metrics.judges import halve
from benchmarks.quality.fit_against_fresh import COLUMNS, FAKES, SHOWN, Judged
from benchmarks.quality.shared_choices import AVERAGE, data_of, table, work
from mulligan.game.step import GanState
from mulligan.grid import save_grid
from mulligan.meta.space.default import default_recipe
from mulligan.networks.architecture import Networks, build
from mulligan.networks.growing import grow, smaller
from mulligan.recipe import Recipe
from mulligan.training.budget import Budget
from mulligan.training.engine import Sampler, compile_engine, make_game, start_state

SIDE = 64


def by_law(images: np.ndarray, nimg: int) -> Recipe:
    return default_recipe(images.shape[1:], len(images), Budget(seconds=None, images=nimg))


def train(recipe: Recipe, images: np.ndarray, nimg: int, seed: int, players: Networks | None = None) -> GanState:
    """The state after `nimg` images."""
    game = make_game(recipe, images.shape[1:], 0, nimg)
    state, data = start_state(game, recipe, images.shape[1:], 0, seed, players), data_of(images)
    steps = math.ceil(nimg / recipe.batch)
    return compile_engine(game, state, data).chunk(state, data, steps)[0]


def run(of: str, judged: Judged, seed: int, nimg: int, picture: Path) -> dict[str, Any]:
    images, recipe = judged.train, by_law(judged.train, nimg)
    began, players, counts = time.process_time(), None, [nimg]
    if of != "plain":
        seconds, fresh = map(float, of.split("/"))
        halves = halve(images)
        small = replace(by_law(halves, nimg), architecture=smaller(recipe.architecture, images.shape[3]))
        # Of a whole second each: how many small images a large one costs.
        speeds = [images_in(1, side, each.architecture) for side, each in ((SIDE // 2, small), (SIDE, recipe))]
        counts = [int(seconds * nimg * speeds[0] / speeds[1]), int((1 - seconds) * nimg)]
        learned = train(small, halves, counts[0], seed)
        large = build(recipe.architecture, images.shape[1:], 0, jax.random.key(seed))
        players = grow(Networks(learned.gen, learned.disc), large, fresh)
    state = train(recipe, images, counts[-1], seed, players)
    averages = make_game(recipe, images.shape[1:], 0, counts[-1]).averager.value(state.averages)
    sampler = Sampler.make(recipe.architecture, 0)
    fakes = sampler(averages[AVERAGE], sampler.latents(FAKES, 1), None)
    save_grid(picture, fakes[:SHOWN], columns=COLUMNS)
    return {"trained": counts, "took": round(time.process_time() - began, 1), "judged": judged.judge(fakes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--images", type=int, default=20_000, help="that the plain recipe sees")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", default=["plain", "0.35/0.5"])
    parser.add_argument("--families", nargs="+", default=list(families("validation")))
    parser.add_argument("--output", type=Path, default=RESULTS / "grown-runs")
    options = parser.parse_args()
    options.side = SIDE
    if options.what == "table":
        table(options)
        return
    bench = Bench(options.output)
    for seed, name in product(options.seeds, options.families):
        work(options, bench, name, seed, run)


if __name__ == "__main__":
    main()
