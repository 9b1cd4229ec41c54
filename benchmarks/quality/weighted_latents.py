"""What weighted latents bring at the end of a run, by judges that did not choose them.

    python benchmarks/quality/weighted_latents.py run --side 32 --budget 60 --seeds 0 1
    python benchmarks/quality/weighted_latents.py table

Each run is one of `mulligan.fit` from fresh weights on a family that is not for learning, with as many images as an
idle core trains in the budget. When it has ended, the generator is chosen twice, within one allowance each: as `fit`
does, and with weighted latents among the candidates. A quarter of the family, at most 300 images, judges what either
draws: the features of a classifier of that family alone, two random networks, pixels at 8x8, and m1. `copies` is the
share of samples that lie as close to a training image as the closest twentieth of unseen images. Test families are run
once, with what was chosen before. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.families import families, read_family
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import by_law, images_in
from benchmarks.quality.fit_against_fresh import FAKES, INDEPENDENT, SPACES, Judged, log_ratio
from mulligan import api
from mulligan.grid import save_grid
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.memorisation import memorisation
from mulligan.training import choice, finish
from mulligan.training.budget import Allowance
from mulligan.training.loop import Loop

SHOWN, COLUMNS = 40, 10


def chosen_twice(folder: Path, budget: float, train: np.ndarray, side: int, seed: int) -> dict[str, np.ndarray]:
    """What the generators of one run draw, chosen without and with weighted latents; uint8 `[FAKES, h, w, c]`."""
    shape, drawn = train.shape[1:], dict[str, np.ndarray]()
    recipe = by_law(shape, len(train), budget)

    def choose(loop: Loop, allowance: Allowance) -> choice.KeptGenerator:
        kept = choice.choose(loop, allowance)
        drawn["normal"] = loop.sampler(kept.gen, loop.sampler.latents(FAKES, 1))
        return choice.choose(loop, allowance._replace(weigh_latents=True))

    before, finish.choose = finish.choose, choose
    try:
        images = images_in(budget, side, recipe.architecture)
        gan = api.fit(train, images=images, out=folder, seed=seed, recipe=recipe, experience="none", init="none")
    finally:
        finish.choose = before
    return drawn | {"weighted": gan.sample(FAKES, seed=1)}


def run(options: argparse.Namespace, bench: Bench, name: str, seed: int) -> None:
    key = {"family": name, "side": options.side, "budget": options.budget, "seed": seed}
    if bench.known(key):
        return
    family = read_family(options.zoo, name)
    if family.images.shape[1] < options.side:
        return
    judged = Judged(family, options.side)

    def measured() -> dict[str, Any]:
        folder = options.output / f"run-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        drawn = chosen_twice(folder, options.budget, judged.train, options.side, seed)
        m1 = load_embedding("m1")
        known = m1(judged.train)
        found: dict[str, Any] = {"train": len(judged.train)}
        for way, images in drawn.items():
            save_grid(options.output / f"{name}-{options.side}-{seed}-{way}.png", images[:SHOWN], columns=COLUMNS)
            copies = memorisation(m1(images), known, judged.real["m1"]).share
            found[way] = {"judged": judged.judge(images), "copies": copies}
        shutil.rmtree(folder)
        return found

    bench.once(key, partial(measured))


def table(options: argparse.Namespace) -> None:
    """Ratios of the distances with weighted latents to those without, and both, by family."""
    rows = [row for row in Bench(options.output).results if row["side"] == options.side]
    rows = [row for row in rows if row["family"] in families(options.role) and row["budget"] == options.budget]
    print("| family | seeds | ratio | normal latents | weighted latents | copies |\n|---|---|---|---|---|---|")
    for name in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == name]
        ratio = math.exp(float(np.mean([ratios(row, INDEPENDENT) for row in own])))
        cells = [" / ".join(f"{mean(own, way, space):.2f}" for space in SPACES) for way in ("normal", "weighted")]
        copies = ", ".join(f"{np.mean([row[way]['copies'] for row in own]):.3f}" for way in ("normal", "weighted"))
        print(f"| {name.replace('_', ' ')} | {len(own)} | {ratio:.2f} | {' | '.join(cells)} | {copies} |")
    for spaces in (INDEPENDENT, *((space,) for space in SPACES)):
        pairs = [(row["family"], ratios(row, spaces)) for row in rows if set(spaces) & set(row["weighted"]["judged"])]
        middle, low, high = map(math.exp, interval(pairs))
        better = sum(value < 0 for _, value in pairs)
        print(f"{' and '.join(spaces)}: {middle:.2f} ({low:.2f} to {high:.2f}), {better} of {len(pairs)} better")


def ratios(row: dict[str, Any], spaces: tuple[str, ...]) -> float:
    """The mean log ratio of the distances with weighted latents to those without."""
    return log_ratio(row["weighted"]["judged"], row["normal"]["judged"], spaces)


def mean(rows: list[dict[str, Any]], way: str, space: str) -> float:
    values = [row[way]["judged"][space]["energy"] for row in rows if space in row[way]["judged"]]
    return float(np.mean(values)) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one core, by the table of speeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--role", choices=("validation", "test"), default="validation")
    parser.add_argument("--families", nargs="+", help="only these of the role")
    parser.add_argument("--output", type=Path, default=RESULTS / "weighted-latents")
    options = parser.parse_args()
    if options.what == "table":
        table(options)
        return
    bench = Bench(options.output)
    offered = families("test") if options.role == "test" else families("validation")
    for seed, name in product(options.seeds, offered):
        if name in (options.families or offered):
            run(options, bench, name, seed)


if __name__ == "__main__":
    main()
