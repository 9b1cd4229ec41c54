"""Does a GAN that somebody trained make the next one of its kind better?

    python benchmarks/meta/next_run.py run --families clothing flowers histology
    python benchmarks/meta/next_run.py table

A person has images of one kind, trains on them, and then has images of the next kind: here two classes of one family.
The second run begins afresh, or from what the first left (`--from`), with the same recipe, for as many seconds of one
core. A quarter of the second class, at most 300 images, judges and is never shown to a run. Judges: two random
networks, pixels at 8x8, and m1. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common.families import families, read_family
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import by_law, images_in
from benchmarks.metrics.judges import Space, energy_distance, in_one_scale, independent
from mulligan import api
from mulligan.grid import save_grid
from mulligan.meta.initialisation.from_run import RunStart
from mulligan.tasks.halves import halve

FEWEST = 120  # images of a class that is a task
MOST = 4  # classes of a family, in pairs: each begins from the one before it
HELD, FAKES = 300, 1000
LEAST = 0.02  # distances below this are not told apart by so few images


@dataclass(frozen=True)
class Kind:
    """Images of one class: those that train, and those that judge; uint8 `[n, h, w, c]`."""

    name: str
    train: np.ndarray
    held: np.ndarray


def kinds(zoo: Path, name: str, side: int) -> list[Kind]:
    """The largest classes of a family, the largest first."""
    family = read_family(zoo, name)
    images = family.images if family.images.shape[1] == side else halve(family.images)
    counts = np.bincount(family.labels)
    found = []
    for label in np.argsort(-counts, kind="stable")[:MOST]:
        if counts[label] >= FEWEST:
            own = images[family.labels == label]
            own = own[np.random.default_rng(0).permutation(len(own))]
            cut = min(HELD, len(own) // 4)
            found.append(Kind(f"{name}/{label}", own[cut:], own[:cut]))
    return found


def distances(judges: dict[str, Space], held: np.ndarray, fakes: np.ndarray) -> dict[str, float]:
    """Energy distances, in features of one scale."""
    return {name: energy_distance(*in_one_scale(space(held), space(fakes))) for name, space in judges.items()}


def log_ratio(judged: dict[str, float], fresh: dict[str, float]) -> float:
    """Logarithm of one run's distances over a fresh run's, the mean over the judges; m1 chose within runs, so it is
    none.
    """
    names = [name for name in judged if name != "m1"]
    return float(np.mean([math.log(max(judged[name], LEAST) / max(fresh[name], LEAST)) for name in names]))


def measure(options: argparse.Namespace) -> None:
    """Every pair of kinds."""
    bench, judges = Bench(options.output), independent()
    found = [kinds(options.zoo, name, options.side) for name in options.families]
    chains = [[own[0] for own in found]] if options.across else found
    for chain in chains:
        for before, after in pairwise(chain):
            measure_pair(options, bench, judges, before, after)


def measure_pair(
    options: argparse.Namespace, bench: Bench, judges: dict[str, Space], before: Kind, after: Kind
) -> None:
    """Runs of one kind, begun afresh and from what a fresh run of another has left, made if it is not there."""
    longest, folder = max(options.budgets), options.output / "run"

    def left_by(kind: Kind) -> Path:
        return options.output / "left" / f"{kind.name.replace('/', '_')}-{options.side}-{longest:g}-{options.seed}"

    def run(budget: float, begun: str, picture: str) -> dict[str, Any]:
        first = left_by(before)
        if begun != "fresh" and not (first / "final").is_dir():
            train(before, longest, options, first, None)
        start = None if begun == "fresh" else RunStart.of(first)._replace(asked=begun == "from")
        with patch.object(RunStart, "of", lambda run: start):
            gan = train(after, budget, options, folder, start and first)
        fakes = gan.sample(FAKES, seed=1)
        save_grid(options.output / picture, fakes[:40], columns=10)
        if start is None and budget == longest:
            shutil.rmtree(left_by(after), ignore_errors=True)
            left_by(after).parent.mkdir(exist_ok=True)
            folder.rename(left_by(after))
        return {"judged": distances(judges, after.held, fakes), "result": gan.result}

    for begun, budget in product(options.begun, options.budgets):
        key = {"before": before.name, "kind": after.name, "side": options.side, "budget": budget}
        key |= {"begun": begun, "seed": options.seed}
        picture = "-".join(str(value).replace("/", "_") for value in key.values()) + ".png"
        bench.once(key, partial(run, budget, begun, picture))


def train(kind: Kind, budget: float, options: argparse.Namespace, out: Path, start: Path | None) -> Any:
    """A run of a kind for so many seconds of a core, with the recipe of the law of sizes."""
    recipe = by_law(kind.train.shape[1:], len(kind.train), budget)
    shutil.rmtree(out, ignore_errors=True)
    architecture = recipe.architecture if start is None else RunStart.of(start).recipe.architecture
    images = images_in(budget, options.side, architecture)
    return api.fit(
        kind.train, images=images, out=out, seed=options.seed, recipe=recipe, experience="none", from_run=start
    )


def table(options: argparse.Namespace) -> None:
    """Ratios of distances to those of fresh networks: of each pair, and their means over the families of the kinds."""
    rows = Bench(options.output).results
    names = ("before", "kind", "side", "budget", "seed")
    fresh = {tuple(row[name] for name in names): row for row in rows if row["begun"] == "fresh"}
    found: dict[tuple[float, str], list[tuple[str, float]]] = {}
    for row in rows:
        same = fresh.get(tuple(row[name] for name in names))
        if same is None or row is same:
            continue
        ratio = log_ratio(row["judged"], same["judged"])
        print(f"{row['budget']:g} s  {row['before']} -> {row['kind']} {row['begun']}: {math.exp(ratio):.2f}")
        found.setdefault((row["budget"], row["begun"]), []).append((row["kind"].split("/")[0], ratio))
    for (budget, begun), ratios in sorted(found.items()):
        mean, low, high = map(math.exp, interval(ratios))
        print(f"{budget:g} s, {begun}, {len(ratios)} pairs: {mean:.2f} ({low:.2f} to {high:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--budgets", type=float, nargs="+", default=[20.0, 60.0], help="seconds of one core")
    parser.add_argument(
        "--begun", nargs="+", default=["fresh", "from"], help="half: half of the weights are fresh ones"
    )
    parser.add_argument(
        "--across", action="store_true", help="from one family to the next, with the largest class of each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=["clothing", "flowers", "histology"])
    parser.add_argument("--output", type=Path, default=RESULTS / "next-run")
    options = parser.parse_args()
    for name in options.families:
        if name not in (*families("validation"), *families("learning")):
            parser.error(f"{name} is no family for validation or learning")
    (measure if options.what == "run" else table)(options)


if __name__ == "__main__":
    main()
