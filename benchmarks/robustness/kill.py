"""Kills runs at random instants and checks that each resumes to the very bits where an uninterrupted run ends.

python benchmarks/robustness/kill.py --kills 50 --folder /tmp/kills
python benchmarks/robustness/kill.py --kills 20 --folder /tmp/kills --race
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors.numpy import load_file

from mulligan.documents import SEAL

CHILD = """
import sys
from pathlib import Path
from mulligan.meta import fit as module
from mulligan.meta.race.warm_start import RacePlan
from mulligan.meta.fit import Options, fit, resume
from mulligan.meta.race.arms import Arm
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training.budget import Budget
run = Path(sys.argv[1])
small = Architecture(family="mlp", gen_width=64, disc_width=64, gen_depth=1, disc_depth=1, latent=8)
recipes = [
    Recipe(
        architecture=small,
        batch=32,
        hyperparameters=Hyperparameters(gen_lr=rate, disc_lr=rate),
        averages=("ema", "power_05", "power_10"),
    )
    for rate in (2e-3, 1e-3, 1e-5)
]
arms = tuple(Arm(recipe, weight, "made up") for recipe, weight in zip(recipes, (0.3, 0.3, 0.4), strict=True))
module.plan_race = lambda *arguments: RacePlan(arms)
recipe = None if sys.argv[3] == "race" else recipes[0]
resume(run) if (run / "run.json").exists() else fit(
    "digits", Budget(int(sys.argv[2]), None), Options(out=run, recipe=recipe, experience="none")
)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--race", action="store_true", help="of three recipes, in place of one run")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    whole = arguments.folder / "whole"
    what = (str(arguments.images), "race" if arguments.race else "run")
    seconds = _timed(lambda: _start(whole, what).wait())
    chance = random.Random(arguments.seed)
    kills = exact = 0
    while kills < arguments.kills:
        run = arguments.folder / "killed"
        shutil.rmtree(run, ignore_errors=True)
        killed, moments = _killed(run, what, chance, seconds, arguments.kills - kills)
        same = _end(run) == _end(whole)
        kills, exact = kills + killed, exact + killed * same
        print(f"killed after {', '.join(f'{moment:.2f} s' for moment in moments)}: {'exact' if same else 'DIFFERENT'}")
    print(f"{kills} kills, {exact} exact resumes")
    return 0 if exact == kills else 1


def _killed(
    run: Path, what: tuple[str, str], chance: random.Random, seconds: float, most: int
) -> tuple[int, list[float]]:
    """Lets a run go on from kill to kill until it ends; how often and when it was killed."""
    moments: list[float] = []
    while True:
        child = _start(run, what)
        moment = chance.uniform(0.0, seconds) if len(moments) < most else float("inf")
        try:
            child.wait(timeout=None if moment == float("inf") else moment)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            moments.append(moment)
            if not (run / "run.json").exists():  # too early for there to be anything to resume
                shutil.rmtree(run, ignore_errors=True)
            continue
        if child.returncode:
            raise SystemExit(f"the run failed with exit code {child.returncode}")
        return len(moments), moments


def _start(run: Path, what: tuple[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(run), *what])


def _end(run: Path) -> tuple[dict[str, bytes], list[object]]:
    """The weights of the generator and of the snapshots, every figure that was measured, and every move of a race.

    Weights by name, not the file: safetensors writes its metadata in a different order from process to process.
    """
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    figures = [
        {name: value for name, value in event.items() if name not in ("seconds", "spent", "cost")}
        for event in lines
        if event["kind"] in ("evaluation", "guard", "stop", "average", "choice", "final")
    ]
    described = json.loads((run / "generator.json").read_text())
    described["result"].pop("cost")
    described.pop(SEAL)  # of all that it says, and so of what the run cost
    files = [run / "generator.safetensors", *sorted((run / "snapshots").glob("*.safetensors"))]
    weights = {f"{file.stem} {name}": array.tobytes() for file in files for name, array in load_file(file).items()}
    decisions = json.loads((run / "race.json").read_text())["decisions"] if (run / "race.json").exists() else []
    return weights, [figures, described, decisions]


def _timed(work: object) -> float:
    began = time.monotonic()
    work()  # type: ignore[operator]
    return time.monotonic() - began


if __name__ == "__main__":
    raise SystemExit(main())
