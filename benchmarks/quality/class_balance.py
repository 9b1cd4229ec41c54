"""Does it help rare classes to be shown by how badly they are drawn? Long-tailed families, plain against balanced.

    .venv/bin/python benchmarks/quality/class_balance.py --images 24k

One run a family, way and seed, by the same narrow recipe, and KID of each class on even test images. `uniform` shows
all classes alike. The tail are the rarest three tenths of the classes.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.long_tails import make
from benchmarks.common.places import RESULTS
from benchmarks.common.results import Bench
from mulligan import api
from mulligan.budget import parse_images
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training import class_balance

FAMILIES = {"mnist": 28, "fashion_mnist": 28, "cifar10": 32, "world_scripts": 32}  # with the side
WAYS = ("plain", "balanced", "uniform")
TAIL = 0.3
RECIPE = Recipe(
    architecture=Architecture(gen_width=16, disc_width=16),
    batch=32,
    hyperparameters=Hyperparameters(gen_lr=1.5e-3, disc_lr=1.5e-3, gamma=0.3),
)


def one(family: str, way: str, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """What one run comes to."""
    made = make(family, True, FAMILIES[family], chosen.output / "data")
    run = chosen.output / "runs" / f"{family}-{way}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    document = RECIPE.to_json() | {"balanced": way != "plain"}
    chances = class_balance.ClassBalance.chances
    if way == "uniform":
        class_balance.ClassBalance.chances = lambda balance, state: np.full_like(  # pyright: ignore
            balance.natural, 1 / len(balance.natural), np.float32
        )
    try:
        gan = api.fit(
            made.file, images=chosen.images, out=run, seed=seed, recipe=document, labels=True, experience="none"
        )
    finally:
        class_balance.ClassBalance.chances = chances
    result = gan.result or {}
    kids = {each["name"]: each["kid"] for each in result["classes"]}
    recalls = {each["name"]: each["recall"] for each in result["classes"]}
    counts = dict(zip(gan.classes or (), made.counts.tolist(), strict=True))
    return {"kid": result["kid"], "kids": kids, "recalls": recalls, "counts": counts, "worst": result["worst_class"]}


def row(result: dict[str, Any]) -> list[float]:
    """Mean KID of classes, of the tail and of the head, the worst, and the tail's recall."""
    names = sorted(result["kids"], key=lambda name: result["counts"][name])
    tail = names[: max(round(TAIL * len(names)), 1)]
    kids = np.array([result["kids"][name] for name in names])
    recall = float(np.mean([result["recalls"][name] for name in tail]))
    return [
        float(kids.mean()),
        float(kids[: len(tail)].mean()),
        float(kids[len(tail) :].mean()),
        float(kids.max()),
        recall,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--images", type=parse_images, default=24_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "class_balance")
    chosen = parser.parse_args()
    bench = Bench(chosen.output)
    print("| family | seed | way | KID, mean of classes | tail | others | worst | recall of the tail |")
    print("|---|---|---|---|---|---|---|---|")
    for family in chosen.families:
        for seed in chosen.seeds:
            for way in chosen.ways:
                key = {"family": family, "way": way, "seed": seed, "images": chosen.images}
                result = bench.once(key, partial(one, family, way, seed, chosen))
                cells = " | ".join(f"{value:.3f}" for value in row(result))
                print(f"| {family} | {seed} | {way} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
