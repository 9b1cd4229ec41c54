"""Ends runs at random instants and checks that each goes on to the very bits where an undisturbed run ends.

python benchmarks/robustness/kill.py --kills 70 --folder /tmp/kills
python benchmarks/robustness/kill.py --kills 70 --folder /tmp/kills --of stream  # of images that stay in their files
python benchmarks/robustness/kill.py --kills 60 --folder /tmp/kills --of race  # of three recipes, in turns
python benchmarks/robustness/kill.py --kills 20 --folder /tmp/kills --of side  # side by side
python benchmarks/robustness/kill.py --kills 20 --folder /tmp/kills --signal SIGTERM  # and checks that all was saved

Of two recipes that train side by side now the race is ended, now one of its processes, which the race replaces.

What was seen is appended to FOLDER/kills.jsonl, and a call goes on from there. A kill counts if no other came at its
point of training: the same run, after as many events.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from mulligan import cli
from mulligan.documents import SEAL
from mulligan.meta import fit as fitting
from mulligan.meta import planning
from mulligan.meta.race import race
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.warm_start import RacePlan
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training import evaluation, feed

FORK = multiprocessing.get_context("fork")  # nothing is imported twice; nothing here starts a device before
KILLS = 8  # of one run, at most, so that little is lost if this program is ended too
ARM = 0.5  # of the kills are of one recipe's process, where recipes train side by side
EARLY = 0.15  # of the signals come at any instant from the start on, the others after a number of events
FAKES = 100  # that a run is judged by: most of the time of a small run is judging
FIGURES = ("evaluation", "guard", "stop", "average", "choice", "final")
SMALL = Architecture(family="mlp", gen_width=64, disc_width=64, gen_depth=1, disc_depth=1, latent=8)
RECIPES = [
    Recipe(
        architecture=SMALL,
        batch=32,
        hyperparameters=Hyperparameters(gen_lr=rate, disc_lr=rate),
        averages=("ema", "power_05", "power_10"),
    )
    for rate in (2e-3, 1e-3, 1e-5)
]
ARMS = tuple(Arm(recipe, weight, "made up") for recipe, weight in zip(RECIPES, (0.3, 0.3, 0.4), strict=True))


class Case(NamedTuple):
    """A run of its own seed."""

    of: str  # run, stream, race, side
    images: int
    seed: int
    folder: Path

    def start(self, run: Path) -> Any:
        """A process that begins the run in a folder, or goes on with it."""
        process = FORK.Process(target=self._train, args=(run,))
        process.start()
        return process

    def _train(self, run: Path) -> None:
        sys.stdout = sys.stderr = (self.folder / "said.txt").open("a")
        evaluation.FAKES = evaluation.FINAL_FAKES = FAKES
        planning.plan_race = lambda *_: RacePlan(ARMS if self.of in ("race", "side") else ARMS[:1])
        race.lanes = lambda *_: 2 if self.of == "side" else 1
        data = "digits"
        if self.of == "stream":
            feed.BLOCK, feed.RING = 64, 1024  # fewer than there are
            fitting.read_task = partial(fitting.read_task, memory=1)
            data = str(self.folder / "images")
        budget = ["--images", str(self.images), "--seed", str(self.seed), "--experience", "none", "--out", str(run)]
        going_on = (run / "run.json").exists()
        sys.argv = ["mulligan", *(["resume", str(run)] if going_on else ["fit", data, *budget]), "--quiet"]
        cli.main()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--of", choices=("run", "stream", "race", "side"), default="run")
    parser.add_argument("--signal", choices=("SIGKILL", "SIGTERM"), default="SIGKILL")
    arguments = parser.parse_args()
    number = signal.Signals[arguments.signal]
    _make_images(arguments.folder / "images")
    ledger = arguments.folder / "kills.jsonl"
    while True:
        seen = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
        same = [entry for entry in seen if (entry["of"], entry["signal"]) == (arguments.of, arguments.signal)]
        kills = sum(len(entry["points"]) for entry in same)
        if kills >= arguments.kills:
            break
        case = Case(arguments.of, arguments.images, len(seen), arguments.folder)
        entry = {"of": case.of, "signal": arguments.signal, "seed": case.seed}
        entry |= _tried(case, number, min(KILLS, arguments.kills - kills))
        with ledger.open("a") as file:
            print(json.dumps(entry), file=file)
        print(json.dumps(entry))
    exact = sum(len(entry["points"]) for entry in same if entry["exact"])
    saved = sum(entry["saved"] for entry in same)
    print(f"{kills} kills, {exact} exact resumes" + (f", {saved} saved" if number == signal.SIGTERM else ""))
    return 0 if exact == kills and (number == signal.SIGKILL or saved == kills) else 1


def _make_images(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        for index, image in enumerate(load_digits().images):
            Image.fromarray((image * 15).astype("uint8")).save(folder / f"{index:04d}.png")


def _tried(case: Case, number: signal.Signals, most: int) -> dict[str, Any]:
    """Ends a run so often and lets it end by itself at last; a run that ends otherwise than it should is kept."""
    whole, run = (case.folder / f"{name}-{case.of}-{case.seed}" for name in ("whole", "killed"))
    for folder in (whole, run):  # of a call that was ended
        shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    _joined(case.start(whole))
    seconds, events = time.monotonic() - began, _count(whole)
    chance = random.Random(case.seed)
    points: dict[int, list[Any]] = {}
    saved, process = 0, None
    for after in sorted(chance.sample(range(events), min(most, events))):
        process = process if process and process.is_alive() else case.start(run)
        if chance.random() < EARLY:
            process.join(chance.uniform(0.0, seconds / 4))
        else:
            while process.is_alive() and _count(run) < after:
                time.sleep(0.01)
            process.join(chance.uniform(0.0, seconds / events))
        arms = _children(process.pid) if case.of == "side" and number == signal.SIGKILL else []
        if arms and chance.random() < ARM:
            os.kill(chance.choice(arms), number)
            found = _events(run)
            points[len(found)] = ["arm", *(found[-1][name] for name in ("kind", "nimg"))] if found else ["arm"]
            continue
        process.kill() if number == signal.SIGKILL else process.terminate()
        process.join()
        if process.exitcode == 0:  # it was done before the signal came
            break
        if not (run / "run.json").exists():  # too early for there to be anything to go on with
            shutil.rmtree(run, ignore_errors=True)
        elif (found := _events(run)) and len(found) not in points:
            points[len(found)] = [found[-1]["kind"], found[-1]["nimg"]]
            saved += process.exitcode == 128 + number and (_newest(run) or 0) == found[-1]["nimg"]
    if process and process.is_alive():
        _joined(process)
    else:
        _joined(case.start(run))
    exact = _end(run) == _end(whole)
    for folder in (whole, run) if exact else ():
        shutil.rmtree(folder)
    return {"exact": exact, "saved": saved, "points": [[events, *point] for events, point in points.items()]}


def _children(process: int) -> list[int]:
    """The processes of a race's arms."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _joined(process: Any) -> None:
    process.join()
    if process.exitcode:
        raise SystemExit(f"the run failed with exit code {process.exitcode}")


def _events(run: Path) -> list[dict[str, Any]]:
    """What a run, and of a race each of its recipes, has told of training; the last line may be torn."""
    found = []
    for path in sorted(run.rglob("events.jsonl"), key=lambda path: path.stat().st_mtime_ns):
        text = path.read_text()
        found += [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [event for event in found if event["kind"] != "resume"]


def _count(run: Path) -> int:
    """Lines of events, told as cheaply as may be."""
    return sum(path.read_bytes().count(b"\n") for path in run.rglob("events.jsonl"))


def _newest(run: Path) -> int | None:
    """Images seen at the newest checkpoint; of a race, of any of its recipes' checkpoints."""
    found = sorted(run.rglob("checkpoints/*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    with safe_open(found[-1], framework="numpy") as file:
        return json.loads(file.metadata()["progress"])["nimg"]


def _end(run: Path) -> tuple[dict[str, bytes], list[object]]:
    """The weights of the generator and of the snapshots, every figure that was measured, and every move of a race.

    Weights by name, not the file: safetensors writes its metadata in a different order from process to process.
    """
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    figures = [
        {name: value for name, value in event.items() if name not in ("seconds", "spent", "cost")}
        for event in lines
        if event["kind"] in FIGURES and event.get("code") != "interrupted"
    ]
    described = json.loads((run / "generator.json").read_text())
    described["result"].pop("cost")
    described.pop(SEAL)  # of all that it says, and so of what the run cost
    files = [run / "generator.safetensors", *sorted((run / "snapshots").glob("*.safetensors"))]
    weights = {f"{file.stem} {name}": array.tobytes() for file in files for name, array in load_file(file).items()}
    decisions = json.loads((run / "race.json").read_text())["decisions"] if (run / "race.json").exists() else []
    return weights, [figures, described, decisions]


if __name__ == "__main__":
    raise SystemExit(main())
