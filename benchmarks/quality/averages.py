"""What each average brings: one run a task and seed, and every candidate of its end scored on the test split.

    .venv/bin/python benchmarks/quality/averages.py --tasks fashion_mnist emoji_noto --images 300k --seeds 0 1 2 3 4

The default recipe. All averages are of the same run, so they differ by nothing else. `validated` is the candidate of
the least validation KID, `chosen` what `mulligan average` keeps, which asks the other half of the images as well. A
ratio is to the last iterate, or to EMA, of the same run; KID below 0.001, where ratios mean nothing, counts as 0.001.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.data import TASKS, groups_of
from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from mulligan.budget import parse_images
from mulligan.meta.fit import ended, fit
from mulligan.meta.planning import Options
from mulligan.metrics.selection import SELECTS
from mulligan.training.budget import Allowance, Budget
from mulligan.training.choice import choose
from mulligan.training.evaluation import Evaluator

SHOWN = ("last", "ema", "best", "power_03", "power_05", "power_07", "power_10", "power_15", "power_20")
SHOWN += ("soup", "mixture", "validated", "chosen")
LEAST = 1e-3
DRAWS = 2000


def one(task: str, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Test KID of every candidate of one run."""
    folder = chosen.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    source = str((chosen.data / f"{task}.npz").resolve())
    fit(source, Budget(chosen.images, None), Options(out=folder, seed=seed, size=chosen.size, groups=groups_of(source)))
    validation: dict[str, float] = {}

    def note(event: dict[str, Any]) -> None:
        if event["kind"] == "average":
            validation[event["average"]] = event[SELECTS.name]

    loop = ended(folder, note)
    choice = choose(loop, Allowance())
    judge = Evaluator.make(loop.task, loop.sampler, "test")
    kids = {name: judge(candidate.gen)["kid"] for name, candidate in choice.candidates.items()}
    shutil.rmtree(folder, ignore_errors=True)
    kept = min(validation, key=validation.__getitem__)
    kids |= {"validated": kids[kept], "chosen": kids[choice.name]}
    return {"kids": kids, "validation": validation, "kept": {"validated": kept, "chosen": choice.name}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["fashion_mnist", "emoji_noto"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", default="300k")
    parser.add_argument(
        "--size", type=int, default=None, help="side that images are resampled to; as they are if left out"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the .npz files")
    parser.add_argument("--output", type=Path, default=RESULTS / "averages")
    chosen = parser.parse_args()
    chosen.images = parse_images(chosen.images)
    warn_when_busy()
    bench = Bench(chosen.output.resolve())
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for seed in chosen.seeds:
        for task in chosen.tasks:
            key = {"task": task, "seed": seed, "images": chosen.images, "size": chosen.size}
            found[task, seed] = bench.once(key, lambda task=task, seed=seed: one(task, seed, chosen))
    print(table(found, chosen))


def table(found: dict[tuple[str, int], dict[str, Any]], chosen: argparse.Namespace) -> str:
    """KID on each task, and the median ratio over tasks and seeds, with its 95% interval."""
    lines = ["| average | " + " | ".join(chosen.tasks) + " | to last | to ema | runs |"]
    lines.append("|---" * (len(chosen.tasks) + 4) + "|")
    for name in SHOWN:
        runs = {key: result["kids"] for key, result in found.items() if name in result["kids"]}
        if runs:
            kids = {task: [runs[key][name] for key in runs if key[0] == task] for task in chosen.tasks}
            cells = [spread(values, 4) if values else "-" for values in kids.values()]
            cells += [interval([ratio(kids[name], kids[other]) for kids in runs.values()]) for other in ("last", "ema")]
            lines.append(f"| {name} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def ratio(kid: float, other: float) -> float:
    """One KID over another, both at least `LEAST`.

    >>> ratio(0.02, 0.04), ratio(-0.001, 0.002)
    (0.5, 0.5)
    """
    return max(kid, LEAST) / max(other, LEAST)


def interval(values: Sequence[float]) -> str:
    """The median and its 95% bootstrap interval."""
    draws = np.random.default_rng(0).choice(np.asarray(values), (DRAWS, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return f"{statistics.median(values):.2f} ({low:.2f}..{high:.2f})"


if __name__ == "__main__":
    main()
