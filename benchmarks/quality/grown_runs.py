"""Does a run end nearer that begins with smaller images and lets its networks grow, in as many seconds?

    python benchmarks/quality/grown_runs.py run --seeds 0 1
    python benchmarks/quality/grown_runs.py table

Contenders: `plain`, what `fit` does with images of 64x64 of which it sees `--images`; and any SECONDS/FRESH: SECONDS,
the share of those seconds (by the table of speeds) that go to images of half the size (or `0.15+0.25`, to images of a
quarter and of half), and FRESH, the share of fresh weights that new layers begin with (`networks.growing`). All parts
are runs of their own: each warms up and follows half a cosine. The average of width 0.05 is judged as in
`shared_choices.py`. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.common.families import families
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.speeds import images_in
from benchmarks.quality.fit_against_fresh import COLUMNS, FAKES, SHOWN, Judged
from benchmarks.quality.shared_choices import AVERAGE, data_of, plain_recipe, run_or_show
from mulligan.game.step import GanState
from mulligan.grid import save_grid
from mulligan.meta.space.default import half_sized
from mulligan.networks.architecture import Networks, build
from mulligan.networks.growing import grow
from mulligan.recipe import Recipe
from mulligan.tasks.halves import halve
from mulligan.training.engine import Sampler, compile_engine, make_game, start_state

SIDE = 64


def train(images: np.ndarray, recipe: Recipe, nimg: int, seed: int, players: Networks | None = None) -> GanState:
    """The state after `nimg` images."""
    game = make_game(recipe, images.shape[1:], 0, nimg)
    state, data = start_state(game, recipe, images.shape[1:], 0, seed, players), data_of(images)
    steps = math.ceil(nimg / recipe.batch)
    return compile_engine(game, state, data).chunk(state, data, steps)[0]


class Part(NamedTuple):
    """Images of one size, the recipe by which networks train on them, and how many they see."""

    images: np.ndarray
    recipe: Recipe
    nimg: int


def parts(of: str, images: np.ndarray, nimg: int, seconds_in_all: float | None = None) -> tuple[list[Part], float]:
    """What a contender trains, one after the other, and the share of fresh weights between.

    Args:
      nimg: that the plain recipe sees.
      seconds_in_all: of a core, where they are what the law of sizes goes by.
    """
    recipe, nimg = plain_recipe(images.shape[1:], len(images), nimg, seconds_in_all)
    if of == "plain":
        return [Part(images, recipe, nimg)], 0.0
    seconds, fresh = of.split("/")
    shares = [float(share) for share in seconds.split("+")]
    each = [(images, recipe, 1 - sum(shares))]
    for share in reversed(shares):
        images, recipe = halve(images), half_sized(recipe, images.shape[1:])
        each.insert(0, (images, recipe, share))
    # Of a whole second each: how many small images a large one costs.
    speeds = [images_in(1, images.shape[1], recipe.architecture) for images, recipe, _ in each]
    found = [
        Part(images, recipe, int(share * nimg * speed / speeds[-1]))
        for (images, recipe, share), speed in zip(each, speeds, strict=True)
    ]
    return found, float(fresh)


def run(
    of: str, judged: Judged, seed: int, nimg: int, picture: Path, seconds_in_all: float | None = None
) -> dict[str, Any]:
    (first, *others), fresh = parts(of, judged.train, nimg, seconds_in_all)
    began = time.process_time()
    state = train(*first, seed)
    for part in others:
        large = build(part.recipe.architecture, part.images.shape[1:], 0, jax.random.key(seed))
        state = train(*part, seed, grow(Networks(state.gen, state.disc), large, fresh))
    last = others[-1] if others else first
    averages = make_game(last.recipe, last.images.shape[1:], 0, last.nimg).averager.value(state.averages)
    sampler = Sampler.make(last.recipe.architecture, 0)
    fakes = sampler(averages[AVERAGE], sampler.latents(FAKES, 1), None)
    save_grid(picture, fakes[:SHOWN], columns=COLUMNS)
    trained = [part.nimg for part in (first, *others)]
    return {"trained": trained, "took": round(time.process_time() - began, 1), "judged": judged.judge(fakes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--images", type=int, default=20_000, help="that the plain recipe sees")
    parser.add_argument("--seconds", type=int, help="of a core, in place of images: what is done is kept by them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", default=["plain", "0.35/0.5"])
    parser.add_argument("--families", nargs="+", default=list(families("validation")))
    parser.add_argument("--output", type=Path, default=RESULTS / "grown-runs")
    options = parser.parse_args()
    options.side = SIDE
    run_or_show(options, run)


if __name__ == "__main__":
    main()
