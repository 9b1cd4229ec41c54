"""Ten tasks of one person, one after the other: does each GAN make the next one better?

    python benchmarks/meta/ten_tasks.py run --sets cifar10
    python benchmarks/meta/ten_tasks.py table

A task is a class of a data set, 1,000 images of it or fewer, and each run sees as many images. A person who is
remembered has an experience of his own, and each run begins with half of the weights of the run before it that drew the
nearest images. One who is not remembered begins each run afresh. Three orders of the tasks; 200 images of each class
judge, which no run sees, in two random networks and pixels. What is done is not done again, and an order that was
broken off goes on.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.intervals import interval
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from benchmarks.meta.next_run import Kind, distances, log_ratio
from benchmarks.metrics.judges import Space, independent
from mulligan import api
from mulligan.grid import save_grid
from mulligan.training.run import RunFolder

TASKS, HELD, FAKES = 10, 200, 1000
ORDERS = 3


def kinds(data: Path, name: str, train: int) -> list[Kind]:
    """The classes of a set, each an image set of its own."""
    read = np.load(data / f"{name}.npz")
    images, found = read["images"], []
    images = images[..., None] if images.ndim == 3 else images
    edge = -images.shape[1] % 8 // 2  # the judges take sides of 8 cells
    images = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    for label in range(TASKS):
        own = np.flatnonzero(read["labels"] == label)
        own = images[np.random.default_rng(label).permutation(own)[: HELD + train]]
        found.append(Kind(f"{name}/{label}", own[HELD:], own[:HELD]))
    return found


def measure(options: argparse.Namespace) -> None:
    """Every task afresh, then the tasks of each order as they come."""
    bench, judges = Bench(options.output), independent()
    common = {name: getattr(options, name) for name in ("train", "images", "seed")}
    for name in options.sets:
        found = kinds(options.data, name, options.train)
        for kind in found:
            key = {"kind": kind.name, **common, "begun": "fresh"}
            bench.once(key, partial(one, kind, options.output / "fresh", "none", options, judges))
        for order in range(ORDERS):
            place = options.output / f"{name}-{options.train}-{options.images}-{order}-{options.seed}"
            place.mkdir(parents=True, exist_ok=True)
            for number, index in enumerate(np.random.default_rng(order).permutation(TASKS)):
                kind = found[index]
                key = {"kind": kind.name, **common, "begun": "remembered", "order": order, "number": number}
                own = str(place / "experience.db")
                bench.once(key, partial(one, kind, place / str(number), own, options, judges))


def one(
    kind: Kind, out: Path, experience: str, options: argparse.Namespace, judges: dict[str, Space]
) -> dict[str, Any]:
    """A run of `fit`, and how far its images are from those that judge; it stays where it is, for others to find."""
    out = free(out)
    gan = api.fit(
        kind.train,
        images=options.images,
        out=out,
        seed=options.seed,
        experience=experience,
        from_run="nearest" if experience != "none" else None,
    )
    fakes = gan.sample(FAKES, seed=1)
    save_grid(out / "judged.png", fakes[:40], columns=10)
    return {
        "judged": distances(judges, kind.held, fakes),
        "from": RunFolder.open(out).document("run")["from"],
        "result": gan.result,
    }


def free(folder: Path) -> Path:
    """The folder, or one beside it where that is taken by a run that was broken off."""
    taken = len(list(folder.parent.glob(f"{folder.name}*")))
    return folder.with_name(f"{folder.name}.{taken}") if taken else folder


def table(options: argparse.Namespace) -> None:
    """Ratio of each task's distance to that of the same task begun afresh, by what number it was."""
    rows = Bench(options.output).results
    names = ("kind", "train", "images", "seed")
    fresh = {tuple(row[name] for name in names): row for row in rows if row["begun"] == "fresh"}
    found: dict[tuple[str, int, int], dict[int, list[tuple[str, float]]]] = {}
    for row in rows:
        same = fresh.get(tuple(row[name] for name in names))
        if row["begun"] == "fresh" or same is None:
            continue
        ratio = log_ratio(row["judged"], same["judged"])
        numbers = found.setdefault((row["kind"].split("/")[0], row["train"], row["images"]), {})
        numbers.setdefault(row["number"], []).append((row["kind"], ratio))
    for (name, train, images), numbers in sorted(found.items()):
        for number, ratios in sorted(numbers.items()):
            cells = ", ".join(f"{math.exp(ratio):.2f}" for _, ratio in ratios)
            mean = math.exp(np.mean([ratio for _, ratio in ratios]))
            print(f"{name}, {train} images, {images} seen, task {number + 1}: {mean:.2f} ({cells})")
        later = [each for number, ratios in numbers.items() for each in ratios if number]
        if later:
            mean, low, high = map(math.exp, interval(later))
            print(
                f"{name}, {train} images, {images} seen, {len(later)} later tasks: {mean:.2f} ({low:.2f} to {high:.2f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", choices=("cifar10", "fashion_mnist", "mnist"), default=["cifar10"])
    parser.add_argument("--train", type=int, default=1000, help="images of each task")
    parser.add_argument("--images", type=int, default=72_000, help="that each run sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "ten-tasks")
    options = parser.parse_args()
    (measure if options.what == "run" else table)(options)


if __name__ == "__main__":
    main()
