"""What equal seconds buy: mulligan's default recipe against the textbook DCGAN in PyTorch, judged on the test split.

    make peers
    .venv/bin/python benchmarks/quality/equal_seconds.py --seconds 120

One process at a time. The DCGAN trains for all of these seconds; mulligan gets them for the whole of
`mulligan fit --time`: reading, compiling, training, evaluating and the final score. Both see the same training
images, and 2,000 samples of each are scored in mulligan's embedding and in the features of a classifier trained on
that set (`peers/judge.py`). What is done already is not done again: results are kept one a line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.data import groups_of
from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS, ROOT, peers_python
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.frechet import frechet_distance
from mulligan.metrics.score import make_reference, validation_metrics
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.device import machine
from mulligan.training.generator import load

SETS = ("fashion_mnist", "mnist", "emoji_noto", "cifar10", "omniglot")
CONTENDERS = ("mulligan", "textbook")
SAMPLES, SAMPLE_SEED, REALS = 2000, 3, 2000


class Bench:
    """Where everything lies, and what is known so far."""

    def __init__(self, folder: Path, data: Path, seconds: float):
        self.folder, self.data, self.seconds = folder, data, seconds
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.results: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def known(self, kind: str, **key: Any) -> dict[str, Any] | None:
        """The result of this kind whose entries agree with `key`, if it is there."""
        matches = (
            r for r in self.results if r["kind"] == kind and all(r[name] == value for name, value in key.items())
        )
        return next(matches, None)

    def add(self, kind: str, **entries: Any) -> None:
        self.results.append({"kind": kind, "seconds": self.seconds, **entries})
        with self.path.open("a") as file:
            file.write(json.dumps(self.results[-1]) + "\n")

    def samples(self, name: str, contender: str, seed: int) -> Path:
        return self.folder / f"{name}-{contender}-{seed}-{self.seconds:g}s.npz"


def run(bench: Bench, name: str, contender: str, seed: int) -> dict[str, Any]:
    """Trains once and writes the samples; what it cost."""
    target = bench.samples(name, contender, seed)
    return (run_mulligan if contender == "mulligan" else run_textbook)(bench, name, target, seed)


def run_mulligan(bench: Bench, name: str, target: Path, seed: int) -> dict[str, Any]:
    folder = target.with_suffix(".run")
    shutil.rmtree(folder, ignore_errors=True)
    source = str(bench.data / f"{name}.npz")
    options = ["--time", f"{bench.seconds:g}s", "--seed", str(seed), "--out", str(folder), "--quiet"]
    command = [str(Path(sys.executable).with_name("mulligan")), "fit", source, *options]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    generator = load(folder)
    np.savez(target, images=generator.sample(SAMPLES, seed=SAMPLE_SEED))
    assert generator.result is not None
    return {"recipe": generator.recipe.hash(), "best_nimg": generator.result["best_nimg"], **generator.result["cost"]}


def run_textbook(bench: Bench, name: str, target: Path, seed: int) -> dict[str, Any]:
    source = bench.folder / f"{name}-train.npz"
    return peer("textbook_dcgan", str(source), str(target), str(bench.seconds), str(seed))


def peer(module: str, *arguments: str) -> dict[str, Any]:
    command = [str(peers_python()), "-m", f"benchmarks.peers.{module}", *arguments]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def train_all(bench: Bench, name: str, task: Task, seeds: list[int]) -> None:
    """Every run of one set that is not there yet, contenders in turns, each scored at once."""
    np.savez(bench.folder / f"{name}-train.npz", images=task.train.sample(len(task.train), seed=0))
    reference = make_reference(load_embedding(), task.test.sample(REALS, seed=0), limit=REALS)
    for seed, contender in product(seeds, CONTENDERS):
        key = {"set": name, "contender": contender, "seed": seed, "seconds": bench.seconds}
        if bench.known("run", **key):
            continue
        cost = run(bench, name, contender, seed)
        with np.load(bench.samples(name, contender, seed)) as file:
            scores = validation_metrics(reference, file["images"])
        key.pop("seconds")
        bench.add("run", **key, **scores, cost=cost, machine=machine())
        print(f"{name} {contender} seed {seed}: KID {scores['kid']:.4f}, Frechet {scores['frechet']:.2f}", flush=True)


def judge_all(bench: Bench, name: str, seeds: list[int]) -> None:
    """Frechet distances in the features of a classifier trained on the set, which all have labels."""
    wanted = [(contender, seed) for contender in CONTENDERS for seed in seeds]
    key = {"set": name, "seconds": bench.seconds}
    if all(bench.known("judge", contender=c, seed=s, **key) for c, s in wanted):
        return
    task = read_task(bench.data / f"{name}.npz", labels=True, groups=groups_of(name))
    labelled, real = bench.folder / f"{name}-labelled.npz", bench.folder / f"{name}-test.npz"
    everything = task.train.take(np.arange(len(task.train)))
    assert everything.labels is not None
    np.savez(labelled, images=everything.images, labels=everything.labels)
    np.savez(real, images=task.test.sample(REALS, seed=0))
    files = [real, *(bench.samples(name, *one) for one in wanted)]
    accuracy = peer("judge", str(labelled), *map(str, files))["accuracy"]
    features = [np.load(path.with_suffix(".features.npy")) for path in files]
    for (contender, seed), fake in zip(wanted, features[1:], strict=True):
        distance = frechet_distance(features[0], fake)
        bench.add("judge", set=name, contender=contender, seed=seed, frechet=distance, accuracy=accuracy)


def table(bench: Bench, names: list[str], seeds: list[int]) -> str:
    """Medians and ranges over the seeds, as Markdown."""
    lines = ["| set | figure | mulligan | textbook DCGAN | ratio of medians |", "|---|---|---|---|---|"]
    for name, (title, kind, figure) in product(names, FIGURES):
        found = [
            [bench.known(kind, set=name, contender=c, seed=s, seconds=bench.seconds) for s in seeds] for c in CONTENDERS
        ]
        values = [[one[figure] for one in each if one] for each in found]
        if all(values):
            ours, theirs = (statistics.median(each) for each in values)
            digits = 4 if figure == "kid" else 2
            cells = [spread(each, digits) for each in values]
            lines.append(f"| {name} | {title} | {cells[0]} | {cells[1]} | {ours / theirs:.2f} |")
    return "\n".join(lines)


FIGURES = (
    ("KID@m1", "run", "kid"),
    ("Frechet@m1", "run", "frechet"),
    ("Frechet, own classifier", "judge", "frechet"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets' .npz files")
    parser.add_argument("--output", type=Path, default=RESULTS / "quality")
    chosen = parser.parse_args()
    if not peers_python().exists():
        raise SystemExit(f"the peers are not installed in {peers_python().parents[1]}: run `make peers` first.")
    if not chosen.data.is_dir():
        raise SystemExit(f"there is no folder {chosen.data} with the sets' .npz files: give one with --data.")
    warn_when_busy()
    bench = Bench(chosen.output.resolve(), chosen.data.resolve(), chosen.seconds)
    for name in chosen.sets:
        task = read_task(bench.data / f"{name}.npz", groups=groups_of(name))
        train_all(bench, name, task, chosen.seeds)
        judge_all(bench, name, chosen.seeds)
    print(table(bench, chosen.sets, chosen.seeds))


if __name__ == "__main__":
    main()
