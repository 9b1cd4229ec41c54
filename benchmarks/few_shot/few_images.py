"""What learned initial weights bring to whole runs of `fit` on a handful of images.

    .venv/bin/python benchmarks/few_shot/few_images.py --init few_shot/ours.safetensors --images 2k 20k --shots 5 20

Runs on images of one class, from fresh weights and from learned ones, are scored against 500 other images of the class:
KID@m1 and the memorisation ratio of 500 samples. The default recipe otherwise. What is done is not done again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.common.intervals import spread
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from mulligan.budget import parse_images
from mulligan.meta.experience import NONE
from mulligan.meta.fit import fit
from mulligan.meta.planning import Options
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.kid import kid
from mulligan.metrics.memorisation import memorisation
from mulligan.training.budget import Budget

SAMPLES, REALS = 500, 500
FAMILIES = ("mnist", "fashion_mnist")


def one(family: str, shots: int, images: int, start: str, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run, on a class that the seed picks."""
    with np.load(chosen.data / f"{family}.npz") as arrays:
        pool = arrays["images"][arrays["labels"] == seed % 10][..., None]
    pool = np.random.default_rng(seed).permutation(pool)[: shots + REALS]
    folder = chosen.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    events: list[dict[str, Any]] = []
    init = NONE if start == "fresh" else str(chosen.init)
    options = Options(out=folder, seed=seed, experience=NONE, init=init, listener=events.append)
    samples = fit(pool[:shots], Budget(images, None), options).sample(SAMPLES)
    shutil.rmtree(folder, ignore_errors=True)
    fake, real, known = (load_embedding()(part) for part in (samples, pool[shots:], pool[:shots]))
    [stop] = [event["code"] for event in events if event["kind"] == "stop"]
    return {
        "kid": kid(real, fake, jax.random.key(0)).value,
        "ratio": memorisation(fake, known, real).ratio,
        "stop": stop,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", type=Path, required=True, help="learned initial weights")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--shots", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--images", nargs="+", default=["2k", "20k"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=RESULTS / "few_images")
    chosen = parser.parse_args()
    bench = Bench(chosen.output.resolve())
    for family in chosen.families:
        for shots in chosen.shots:
            for images in map(parse_images, chosen.images):
                told = {}
                for start in ("fresh", "learned"):
                    runs = []
                    for seed in chosen.seeds:
                        key = {"family": family, "shots": shots, "images": images, "start": start, "seed": seed}
                        runs.append(bench.once(key, lambda key=key: one(**key, chosen=chosen)))
                    told[start] = " ".join(
                        f"{name} {spread([run[name] for run in runs], 3)}" for name in ("kid", "ratio")
                    )
                print(f"{family}, {shots} images, {images} shown: {told}", flush=True)


if __name__ == "__main__":
    main()
