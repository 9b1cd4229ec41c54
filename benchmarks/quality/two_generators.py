"""Does one run on two cores end nearer to reality than two runs of one core each, at equal seconds?

    python benchmarks/quality/two_generators.py run
    python benchmarks/quality/two_generators.py table

Two programs of one core together train more images than one program of two (`benchmarks/speed/arms.py`), and runs that
differ by their seed alone end far apart. Contenders, all with the recipe of the law of sizes and as many seconds: one
run (`whole`); the better of two runs of SHARE of its images, chosen by KID in m1 or by energy distance in m1 and
pixels, to the images that the run itself keeps for validation; and both, each of which draws half of the images
(`mixture of short`; `mixture of whole` is of runs that cost twice or thrice as much). A quarter of a family, at most
300 images, judges and is never shown to a run. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.families import families, read_family
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import by_law, images_in
from benchmarks.metrics.judges import edges, energy_distance, in_one_scale, independent, kid_distance
from benchmarks.quality.fit_against_fresh import FAKES, HELD, Judged
from mulligan import api
from mulligan.tasks.images import read_task

SHARE = 0.65  # of the images of a whole run, that each of two runs trains
PAIRS = ((0, 1), (2, 3))  # seeds of the short runs
WHOLE = (0, 1, 2)  # seeds of whole ones
MIXED = [("short", pair) for pair in PAIRS] + [("whole", WHOLE[:2]), ("whole", WHOLE)]
OWN = ("m1", "pixels")  # spaces of the figure that chooses
LEAST = 0.005  # distances below this are not told apart


def measure(options: argparse.Namespace, bench: Bench, name: str) -> None:
    """All runs of a family, and what they and their mixtures drew."""
    singles = [("whole", (seed,)) for seed in WHOLE] + [("short", (seed,)) for pair in PAIRS for seed in pair]
    keys = {
        (kind, seeds): {"family": name, "side": options.side, "budget": options.budget, "of": kind, "seeds": [*seeds]}
        for kind, seeds in [*singles, *((f"mixture of {kind}", seeds) for kind, seeds in MIXED)]
    }
    if all(bench.known(key) for key in keys.values()):
        return
    judged, spaces = Judged(read_family(options.zoo, name), options.side), independent()
    recipe = by_law(judged.train.shape[1:], len(judged.train), options.budget)
    whole = images_in(options.budget, options.side, recipe.architecture)
    validation = read_task(judged.train).judge("validation")[1].sample(HELD, 0)
    kept = {space: spaces[space](validation) for space in OWN}

    def drawn(kind: str, seed: int) -> Path:
        return options.output / f"{name}-{options.side}-{options.budget:g}-{kind}-{seed}.npy"

    def figures(fakes: np.ndarray) -> dict[str, Any]:
        features = {space: in_one_scale(kept[space], spaces[space](fakes)) for space in OWN}
        energy = sum(energy_distance(*both) for both in features.values())
        return {"judged": judged.judge(fakes), "chosen by": {"energy": energy, "kid": kid_distance(*features["m1"])}}

    def run(kind: str, seed: int) -> dict[str, Any]:
        folder = options.output / "run"
        shutil.rmtree(folder, ignore_errors=True)
        images = int(whole * (1.0 if kind == "whole" else SHARE))
        gan = api.fit(judged.train, images=images, out=folder, seed=seed, recipe=recipe, experience="none")
        fakes = gan.sample(FAKES, seed=1)
        np.save(drawn(kind, seed), fakes)
        return {"trained": images, "accuracy": judged.accuracy, "result": gan.result, **figures(fakes)}

    for (kind, seeds), key in keys.items():
        if kind.startswith("mixture"):
            parts = [np.load(drawn(kind.split()[-1], seed))[: FAKES // len(seeds)] for seed in seeds]
            bench.once(key, partial(figures, np.concatenate(parts)))
        else:
            bench.once(key, partial(run, kind, *seeds))


def distance(row: dict[str, Any], judge: str) -> float:
    return math.log(max(row["judged"][judge]["energy"], LEAST))


def table(options: argparse.Namespace) -> None:
    """Ratios of distances to those of one whole run, means over families, and how much seeds scatter."""
    rows = Bench(options.output).results
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for name in dict.fromkeys(row["family"] for row in rows):
        own = {(row["of"], tuple(row["seeds"])): row for row in rows if row["family"] == name}
        if len(own) < len(WHOLE) + 2 * len(PAIRS) + len(MIXED):
            continue
        contenders = {f"mixture of {len(seeds)} {kind}": [] for kind, seeds in MIXED}
        for kind, seeds in MIXED:
            contenders[f"mixture of {len(seeds)} {kind}"].append((f"mixture of {kind}", seeds))
        for pair in PAIRS:
            both = [("short", (seed,)) for seed in pair]
            contenders.setdefault("short", []).extend(both)
            for figure in ("kid", "energy"):
                best = min(both, key=lambda key: own[key]["chosen by"][figure])
                contenders.setdefault(f"better of 2 short, by {figure}", []).append(best)
        judges = [judge for judge in own["whole", (0,)]["judged"] if judge not in ("m1", *edges())]
        for judge in [*judges, "mean", "m1"]:
            of_judge = judges if judge == "mean" else [judge]
            logs = {key: float(np.mean([distance(row, each) for each in of_judge])) for key, row in own.items()}
            whole = [logs["whole", (seed,)] for seed in WHOLE]
            found.setdefault("seeds", {}).setdefault(judge, []).append((name, float(np.std(whole, ddof=1))))
            for contender, keys in contenders.items():
                ratios = [(name, logs[key] - float(np.mean(whole))) for key in keys]
                found.setdefault(contender, {}).setdefault(judge, []).extend(ratios)
    scatter = ", ".join(f"{judge} {interval(each).mean:.2f}" for judge, each in found.pop("seeds", {}).items())
    print(f"deviation of log distances of whole runs over seeds: {scatter}")
    for contender, judged in found.items():
        cells = [
            f"{judge} {{:.2f}} ({{:.2f}} to {{:.2f}})".format(*map(math.exp, interval(each)))
            for judge, each in judged.items()
        ]
        print(f"{contender}: " + ", ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one core, by the table of speeds")
    parser.add_argument("--families", nargs="+", help="only these of those for validation")
    parser.add_argument("--output", type=Path, default=RESULTS / "two-generators")
    options = parser.parse_args()
    if options.what == "table":
        table(options)
        return
    bench = Bench(options.output)
    for name in options.families or families("validation"):
        measure(options, bench, name)


if __name__ == "__main__":
    main()
