"""Is what `mulligan fit` draws nearer to reality than what an earlier version drew in as many seconds?

    git worktree add ../then COMMIT
    python benchmarks/quality/fit_of_versions.py run --versions now=. then=../then --time 120 --side 64
    python benchmarks/quality/fit_of_versions.py table --versions now=. then=../then

As a user would: each version trains by its own command line, on the same images, for as many seconds of this machine by
the clock, in a home of its own where nothing was compiled and no run is remembered, one after the other; so nothing
else should run. What it keeps draws 1,000 images by `mulligan sample`, which the judges of `fit_against_fresh.py`
compare with images that no run was given. What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common.families import ROLES, families
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.quality.fit_against_fresh import (
    COLUMNS,
    FAKES,
    INDEPENDENT,
    SHOWN,
    SPACES,
    Judged,
    log_ratio,
    of_family,
)
from mulligan.grid import save_grid


class Version:
    """A checkout of mulligan and the commands that it understands.

    Attributes:
      checkout: the folder whose package runs.
      home: a folder that it may fill, emptied before each run.
    """

    def __init__(self, checkout: Path, home: Path):
        self.checkout, self.home = checkout.resolve(), home.resolve()

    def draws(self, images: np.ndarray, seconds: int, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Images, uint8 `[n, h, w, c]`, of what it trains on these in so many seconds, and its own scores.

        Raises:
          CalledProcessError: a command failed, and has said why.
        """
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        data, run, drawn = self.home / "images.npy", self.home / "run", self.home / "drawn"
        np.save(data, images)
        result = self._command("fit", data, "--time", f"{seconds}s", "--seed", seed, "--out", run, "--quiet", "--json")
        self._command("sample", run, "-n", FAKES, "-o", drawn, "--seed", 1)
        files = sorted(drawn.glob("*.png"))
        mode = "L" if images.shape[-1] == 1 else "RGB"
        pixels = np.stack([np.asarray(Image.open(file).convert(mode)) for file in files])
        return pixels.reshape(-1, *images.shape[1:]), json.loads(result.splitlines()[-1])

    def _command(self, *words: Any) -> str:
        """What a command prints."""
        environment = os.environ | {"HOME": str(self.home), "PYTHONPATH": str(self.checkout)}
        line = [sys.executable, "-m", "mulligan", *map(str, words)]
        return subprocess.run(
            line, cwd=self.home, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout


def compare(options: argparse.Namespace, bench: Bench, name: str, seed: int) -> None:
    """Every version on one family, one at a time."""
    keys = [
        {"family": name, "side": options.side, "time": options.time, "of": of, "seed": seed} for of in options.versions
    ]

    def run(of: str, judged: Judged, picture: Path) -> dict[str, Any]:
        version = Version(options.versions[of], options.output / "home")
        fakes, result = version.draws(judged.train, options.time, seed)
        save_grid(picture, fakes[:SHOWN], columns=COLUMNS)
        return {"judged": judged.judge(fakes), "result": result}

    of_family(options, bench, keys, run)


def table(options: argparse.Namespace) -> None:
    """Ratios of the first version's energy distances to the second's, a table for each size and time."""
    results, (now, then) = Bench(options.output).results, options.versions
    for side, seconds in sorted({(row["side"], row["time"]) for row in results}):
        rows = {
            (row["family"], row["seed"], row["of"]): row["judged"]
            for row in results
            if (row["side"], row["time"]) == (side, seconds)
        }
        pairs = [
            (name, rows[name, seed, now], rows[name, seed, then])
            for name, seed in sorted({key[:2] for key in rows})
            if (name, seed, now) in rows and (name, seed, then) in rows
        ]
        print(f"\n{side}x{side}, {seconds} s: {now} over {then}\n")
        print(f"| family | three judges | {' | '.join(SPACES)} |\n" + "|---" * (2 + len(SPACES)) + "|")
        for name, ours, theirs in pairs:
            each = [f"{math.exp(log_ratio(ours, theirs, [space])):.2f}" if space in ours else "-" for space in SPACES]
            print(f"| {name} | {math.exp(log_ratio(ours, theirs, INDEPENDENT)):.2f} | {' | '.join(each)} |")
        if pairs:
            logs = [(name, log_ratio(ours, theirs, INDEPENDENT)) for name, ours, theirs in pairs]
            middle = math.exp(statistics.median(value for _, value in logs))
            mean, low, high = map(math.exp, interval(logs))
            print(f"\nmedian {middle:.2f}, mean {mean:.2f} ({low:.2f} to {high:.2f}), {len(logs)} runs")


def _version(words: str) -> tuple[str, Path]:
    name, _, checkout = words.partition("=")
    if not (Path(checkout) / "mulligan" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"NAME=CHECKOUT names a folder that holds mulligan, unlike '{words}'.")
    return name, Path(checkout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=64)
    parser.add_argument("--time", type=int, default=120, help="seconds by the clock")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--versions", type=_version, nargs=2, required=True, metavar="NAME=CHECKOUT")
    parser.add_argument("--role", choices=ROLES, default="test")
    parser.add_argument("--families", nargs="+", help="only these of the role")
    parser.add_argument("--output", type=Path, default=RESULTS / "fit-of-versions")
    options = parser.parse_args()
    options.versions = dict(options.versions)
    if options.what == "table":
        table(options)
        return
    bench, offered = Bench(options.output), families("test") if options.role == "test" else families(options.role)
    for seed, name in product(options.seeds, [name for name in offered if name in (options.families or offered)]):
        compare(options, bench, name, seed)


if __name__ == "__main__":
    main()
