"""How much a race trains in equal seconds, with its arms side by side and in turns.

    python benchmarks/speed/arms.py --seconds 60 --repeats 2 --folder /tmp/arms

A race of three recipes in equal shares, on glyphs, that nobody wins before its slices are used up. Each race
is a program of its own; both kinds take turns. A line for each: images of all arms together, the seconds of the race,
processor seconds of all its processes, and the load of the machine before it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from mulligan.meta.fit import begin
from mulligan.meta.planning import Options
from mulligan.meta.race import race
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.warm_start import RacePlan
from mulligan.meta.space.default import default_recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs

CHANGES = ({}, {"batch": 32}, {"penalty": "r1"})  # of the default recipe: each compiles for itself
TEN_MINUTES = 300_000  # images of a budget, for networks of width 32: both kinds of race get the same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each race")
    parser.add_argument("--size", type=int, default=16, help="side of the images")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--one", choices=("turns", "side"), help="race once, in this program")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_raced(arguments.folder, arguments.size, arguments.seconds, arguments.one)), flush=True)
        return
    for repeat in range(arguments.repeats):
        for kind in ("side", "turns") if repeat % 2 else ("turns", "side"):
            folder = arguments.folder / f"{kind}-{repeat}"
            command = [sys.executable, __file__, "--seconds", str(arguments.seconds), "--size", str(arguments.size)]
            subprocess.run([*command, "--folder", str(folder), "--one", kind], check=True)


def _raced(folder: Path, size: int, seconds: float, kind: str) -> dict[str, object]:
    """One race, and what it trained."""
    load = os.getloadavg()[0]
    if kind == "turns":
        race.lanes = lambda task, footprints: 1
    cache_programs()
    task, budget = read_task("glyphs", size=size), Budget(None, seconds / race.SHARE)
    usual = default_recipe(task.shape, len(task.train), Budget(TEN_MINUTES, None))
    recipes = [dataclasses.replace(usual, **change) for change in CHANGES]
    plan = RacePlan(tuple(Arm(recipe, 1.0, "a change of the default") for recipe in recipes))
    run = begin("glyphs", task, plan, budget, Options(out=folder, size=size, allocation="uniform", experience="none"))
    began = time.monotonic()
    race.Race(race.RaceSpec(run, task, 0, budget, lambda event: None, began)).run()
    took, document = time.monotonic() - began, run.document(race.DOCUMENT)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    images = [arm["spent"]["images"] for arm in document["arms"]]
    slices = sum(len(decision["arms"]) for decision in document["decisions"] if not decision["won"])
    return {
        "kind": kind,
        "size": size,
        "images": sum(images),
        "each": images,
        "slices": slices,
        "seconds": round(took, 1),
        "processor": round(sum(each.ru_utime + each.ru_stime for each in used), 1),
        "load": load,
    }


if __name__ == "__main__":
    main()
