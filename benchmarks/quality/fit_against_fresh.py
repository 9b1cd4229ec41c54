"""Is what `mulligan fit` does better than fresh weights with the best fixed recipe, on families that taught it nothing?

    python benchmarks/quality/fit_against_fresh.py run --side 32 --images 25000
    python benchmarks/quality/fit_against_fresh.py table

Contenders, each through `mulligan.fit`, each with as many operations: `fit`, the recipe that the command chooses
(learned weights, warm-up, cosine); `fixed`, the same networks from fresh weights, so as many images, with the one rate
and penalty that did best on these very families (docs/log/2026-11-27-learned-weights-whole-runs.md); `default`, what
the command does with `--init none`. A quarter of a family, at most 300 images, judges and is never shown to a run. The
judges: the features of a classifier of that family alone, two random networks, pixels at 8x8, and m1. What is done is
not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.common.families import families, read_family
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.metrics.half_trained import CLASSIFIER_SIDE, accuracy, classifier_features, colour, train_classifier
from benchmarks.metrics.judges import (
    Space,
    energy_distance,
    halve,
    in_batches,
    kid_distance,
    network_space,
    pixel_space,
)
from mulligan import api
from mulligan.meta.space.cost import footprint
from mulligan.meta.space.default import default_recipe, pretrained_recipe
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.embedding_network import weight_shapes
from mulligan.recipe import Recipe
from mulligan.training.budget import Budget
from tools.embedding_training import random_weights
from tools.m2_training import M2

CONTENDERS = ("fit", "fixed", "default")
HELD, FAKES = 300, 1000  # at most so many images judge; so many are generated
CLASSIFIER_STEPS = 400
RANDOM_SEEDS = (1, 2)
SECONDS = 120.0  # of two cores: the budget that the recipes are asked for
FRESH_RATE, FRESH_GAMMA = {32: 2e-3, 64: 1e-3}, 2.0  # the best fresh ones on the families that are judged here
SMALL = ("turntable_objects",)  # families of 32x32 images
LEAST = 1e-3  # below it a distance is taken for noise
SHOWN = (4, 10)  # rows and columns of a grid


def recipes(shape: tuple[int, int, int], images: int) -> dict[str, Recipe]:
    """The contenders' recipes for a task of so many images."""
    budget = Budget(seconds=SECONDS, images=None)
    learned = pretrained_recipe(shape, images, budget)
    assert learned is not None
    rate = FRESH_RATE[shape[0]]
    numbers = learned.hyperparameters._replace(gen_lr=rate, disc_lr=rate, gamma=FRESH_GAMMA)
    fixed = replace(learned, init="", hyperparameters=numbers)
    return {"fit": learned, "fixed": fixed, "default": default_recipe(shape, images, budget)}


class Judged:
    """A family, the images that judge it, and the judges, made once.

    Attributes:
      train: images that a run is given, uint8 `[n, h, w, c]`.
      spaces: what gives images their features, by name.
      real: features of the images that judge, by the space's name.
      accuracy: of the family's own classifier on them; 0 where the family has no classes.
    """

    def __init__(self, zoo: Path, name: str, side: int):
        family = read_family(zoo, name)
        images = family.images if family.images.shape[1] == side else halve(family.images)
        order = np.random.default_rng(0).permutation(len(images))
        held, train = np.split(order, [min(HELD, len(images) // 4)])
        self.train, self.accuracy = images[train], 0.0
        self.spaces: dict[str, Space] = {"pixels": pixel_space, "m1": in_batches(load_embedding("m1").features)}
        for seed in RANDOM_SEEDS:
            self.spaces[f"random {seed}"] = network_space(random_weights(weight_shapes(M2), seed))
        if family.labels.max() > 0:
            weights = train_classifier(self.train, family.labels[train], CLASSIFIER_STEPS, lambda text: None)
            self.spaces["own"] = in_batches(
                jax.jit(lambda rows: classifier_features(weights, colour(rows, CLASSIFIER_SIDE)))
            )
            self.accuracy = accuracy(weights, images[held], family.labels[held])
        self.real = {space: features(images[held]) for space, features in self.spaces.items()}

    def judge(self, fakes: np.ndarray) -> dict[str, dict[str, float]]:
        """Distances by space, in features of one scale."""
        found = {}
        for space, features in self.spaces.items():
            real, fake = self.real[space], features(fakes)
            middle, scale = real.mean(0), math.sqrt(float(real.var(0).mean()))
            real, fake = (real - middle) / scale, (fake - middle) / scale
            found[space] = {"energy": energy_distance(real, fake), "kid": kid_distance(real, fake)}
        return found


def compare(options: argparse.Namespace, bench: Bench, name: str, seed: int) -> None:
    """Every contender on one family, one at a time."""
    judged = Judged(options.zoo, name, options.side)
    chosen = recipes(judged.train.shape[1:], len(judged.train))
    cost = {of: footprint(recipe, judged.train.shape[1:]).flops_per_image for of, recipe in chosen.items()}

    def run(of: str, picture: Path) -> dict[str, Any]:
        folder = options.output / "run"
        shutil.rmtree(folder, ignore_errors=True)
        images = int(options.images * cost["fit"] / cost[of])
        gan = api.fit(judged.train, images=images, out=folder, seed=seed, recipe=chosen[of], experience="none")
        fakes = gan.sample(FAKES, seed=1)
        write_grid(fakes, picture)
        return {"trained": images, "accuracy": judged.accuracy, "judged": judged.judge(fakes), "result": gan.result}

    for of in options.contenders:
        key = {"family": name, "side": options.side, "images": options.images, "of": of, "seed": seed}
        bench.once(key, partial(run, of, options.output / f"{'-'.join(map(str, key.values()))}.png"))


def write_grid(images: np.ndarray, path: Path) -> None:
    rows, columns = SHOWN
    h, w, c = images.shape[1:]
    grid = images[: rows * columns].reshape(rows, columns, h, w, c).transpose(0, 2, 1, 3, 4)
    grid = np.broadcast_to(grid.reshape(rows * h, columns * w, c), (rows * h, columns * w, 3))
    Image.fromarray(grid).save(path)


def pairs(rows: list[dict[str, Any]], against: str, space: str, distance: str) -> Iterator[tuple[str, float]]:
    """Families with the logarithm of what `fit` ends with over what the other ends with."""
    for row in rows:
        if row["of"] != against or space not in row["judged"]:
            continue
        for best in rows:
            if best["of"] == "fit" and all(best[k] == row[k] for k in ("family", "side", "images", "seed")):
                ended = [max(each["judged"][space][distance], LEAST) for each in (best, row)]
                yield row["family"], math.log(ended[0] / ended[1])


def table(options: argparse.Namespace) -> None:
    """Geometric means over families of the ratio, with 95% intervals by resampling families."""
    results = Bench(options.output).results
    for side, images in sorted({(row["side"], row["images"]) for row in results}):
        rows = [row for row in results if (row["side"], row["images"]) == (side, images)]
        for against in CONTENDERS[1:]:
            for space in ("own", "random 1", "random 2", "pixels", "m1"):
                for distance in ("energy", "kid"):
                    found = list(pairs(rows, against, space, distance))
                    if found:
                        mean, low, high = (math.exp(value) for value in interval(found))
                        wins = sum(value < 0 for _, value in found)
                        print(
                            f"| {side} px, {images} | fit over {against} | {space}, {distance} "
                            f"| {mean:.2f} ({low:.2f} to {high:.2f}) | {wins} of {len(found)} |"
                        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--images", type=int, default=25_000, help="that the command's own recipe trains on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--output", type=Path, default=RESULTS / "fit-against-fresh")
    options = parser.parse_args()
    if options.what == "table":
        table(options)
        return
    bench = Bench(options.output)
    for seed, name in product(options.seeds, families("validation")):
        done = {
            row["of"]
            for row in bench.results
            if (row["family"], row["side"], row["images"], row["seed"]) == (name, options.side, options.images, seed)
        }
        if not done >= set(options.contenders) and (options.side == 32 or name not in SMALL):
            compare(options, bench, name, seed)


if __name__ == "__main__":
    main()
