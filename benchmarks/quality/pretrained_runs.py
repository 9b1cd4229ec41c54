"""Whole runs at equal seconds of a core: which width, batch, rate and penalty, from learned or from fresh weights?

    python benchmarks/quality/pretrained_runs.py run --data ../shared/data --regimes 32:60 64:126 --out runs.jsonl
    python benchmarks/quality/pretrained_runs.py table runs.jsonl
    python benchmarks/quality/pretrained_runs.py gain runs.jsonl  # what choosing for each family would bring
    python benchmarks/quality/pretrained_runs.py run --data ../shared/data --role test --regimes 64:126 \\
        --seeds 1 2 3 --contenders 16/16/1e-3/2/0 16/64/1e-3/0.5/1 --out test.jsonl

A regime is SIDE:SECONDS, a contender WIDTH/BATCH/RATE/GAMMA/LEARNED, where LEARNED is the share of the learned weights
that it begins with; contenders are left out for whose width none ship. A sixth part NAME says which of the `--weights`
these are instead (`tools/pretrain.py` and `tools/reptile.py` make such files), NAME:gen or NAME:disc that only this
player begins with them. Each trains on as many images as an idle core would in that time (`common/speeds.py`), with a
warm-up and half a cosine. Runs of one width and batch are one population (`common/population.py`). Every line of the
file is one run at one moment; the judges are energy distances in a classifier trained on the very families, two random
networks, pixels at 8x8, and m1. Validation families choose; test families are run once, with what was chosen. Meant for
an accelerator.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.common.families import families
from benchmarks.common.family_judge import HELD, Classifier, Family, features
from benchmarks.common.intervals import interval
from benchmarks.common.population import FAKES, Numbers, Population
from benchmarks.common.speeds import images_in
from benchmarks.metrics.judges import network
from mulligan.meta.space.default import DECAY, INIT
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.embedding_network import random_weights, weight_shapes
from mulligan.networks.parameters import with_parameters
from mulligan.networks.pretrained import architectures
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from tools.m2_training import M2
from tools.pretrain import read_weights

MOMENTS = (0.25, 0.5, 1.0)  # of a run, at which it is judged
TOGETHER = 10  # runs that are judged at a time
SHOWN = 10  # images of each run that are kept
PASS = 8  # members
AT_ONCE = 2**20  # pixels of a batch of all members: more would not fit an accelerator of 80 GB; a CPU trains one by one
JUDGES = ("own", "random 1", "random 2", "pixels", "m1")
INDEPENDENT = JUDGES[:3]  # that no part of mulligan was chosen by
CHOOSING = {" + ".join(judges): judges for judges in (("m1",), ("pixels",), ("random 1",), ("m1", "pixels"))}
CHOOSING |= {"m1 + pixels + random 1": ("m1", "pixels", "random 1")}


def contenders(
    networks: Sequence[str], rates: Sequence[float], gammas: Sequence[float], learned: Sequence[float]
) -> Iterator[str]:
    """All combinations, in words."""
    for each in itertools.product(networks, rates, gammas, learned):
        yield "/".join(f"{value:g}" if isinstance(value, float) else value for value in each)


FRESH, BOTH, MIXED = (0.0,), (0.0, 1.0), (0.5, 1.0)
DESIGN: dict[tuple[int, int], list[str]] = {
    (32, 60): [
        *contenders(("16/16",), (2e-3, 4e-3), (2.0,), FRESH),
        *contenders(("16/32",), (1e-3, 2e-3, 4e-3), (2.0,), FRESH),
        *contenders(("16/32",), (1e-3, 2e-3), (2.0,), MIXED),
        *contenders(("8/16",), (2e-3, 4e-3, 8e-3), (2.0,), FRESH),
        *contenders(("8/16",), (2e-3, 4e-3), (0.5,), FRESH),
        *contenders(("8/16",), (1e-3, 2e-3), (2.0,), MIXED),
        *contenders(("32/32",), (2e-3,), (2.0,), FRESH),
        *contenders(("32/64",), (1e-3,), (2.0,), (1.0,)),
    ],
    (64, 126): [
        *contenders(("16/16",), (5e-4, 1e-3, 2e-3), (0.5, 2.0), FRESH),
        *contenders(("16/16",), (5e-4, 1e-3), (0.5, 2.0), MIXED),
        *contenders(("8/16",), (1e-3, 2e-3, 4e-3), (0.5, 2.0), FRESH),
        *contenders(("8/16",), (5e-4, 1e-3, 2e-3), (2.0,), MIXED),
        *contenders(("16/64",), (1e-3,), (0.5,), (1.0,)),
    ],
    (64, 600): [
        *contenders(("16/16",), (5e-4, 1e-3), (2.0,), (0.0, 0.5, 1.0)),
        *contenders(("8/16",), (1e-3,), (2.0,), FRESH),
        *contenders(("32/16",), (5e-4, 1e-3), (2.0,), FRESH),
    ],
    (32, 300): [
        *contenders(("16/32",), (1e-3, 2e-3), (2.0,), BOTH),
        *contenders(("32/32",), (5e-4, 1e-3), (2.0,), BOTH),
    ],
}


class Contender(NamedTuple):
    """A recipe: its networks' width, its batch, its numbers, and which weights that do not ship it begins with."""

    width: int
    batch: int
    rate: float
    gamma: float
    learned: float
    weights: str = ""

    @staticmethod
    def of(text: str) -> Contender:
        width, batch, rate, gamma, learned, *weights = text.split("/")
        return Contender(int(width), int(batch), float(rate), float(gamma), float(learned), *weights)

    @staticmethod
    def in_row(row: dict[str, Any]) -> Contender:
        return Contender(*(row[name] for name in Contender._fields if name in row))

    def __str__(self) -> str:
        return "/".join(value if isinstance(value, str) else f"{value:g}" for value in self if value != "")

    @property
    def file(self) -> str:
        """The name of the weights, without the player."""
        return self.weights.partition(":")[0]

    def numbers(self, seed: int) -> Numbers:
        return Numbers(self.rate, self.gamma, self.learned, seed, self.weights.partition(":")[2])


class Panel:
    """Energy distances between images that judge and images that were drawn, in each judge's features, of one scale."""

    def __init__(self, known: dict[str, Family], steps: int):
        self.spaces: dict[str, Callable] = {"own": partial(features, Classifier(known, steps).weights)}
        for seed in (1, 2):
            self.spaces[f"random {seed}"] = network(random_weights(weight_shapes(M2), seed))
        self.spaces |= {"pixels": _pixels, "m1": load_embedding("m1").features}
        self._together = jax.jit(jax.vmap(self._judge))

    def compile(self, known: dict[str, Family]) -> Panel:
        held = np.stack([next(iter(known.values())).held] * TOGETHER)
        self._together = self._together.lower(held, held[:, np.arange(FAKES) % HELD]).compile()
        return self

    def __call__(self, held: np.ndarray, fakes: np.ndarray) -> np.ndarray:
        """`[runs, judges]` of `[runs, HELD, ...]` and `[runs, FAKES, ...]`."""
        rows = np.arange(-(-len(held) // TOGETHER) * TOGETHER).reshape(-1, TOGETHER) % len(held)
        return np.concatenate([np.asarray(self._together(held[some], fakes[some])) for some in rows])[: len(held)]

    def _judge(self, held: Any, fakes: Any) -> Any:
        distances = []
        for space in self.spaces.values():
            real, fake = space(held), space(fakes)
            middle, scale = real.mean(0), jnp.sqrt(real.var(0).mean())
            distances.append(energy((real - middle) / scale, (fake - middle) / scale))
        return jnp.stack(distances)


def _pixels(images: Any) -> Any:
    n, side = images.shape[:2]
    small = images.astype(jnp.float32).reshape(n, 8, side // 8, 8, side // 8, 3).mean((2, 4))
    return (small / 127.5 - 1).reshape(n, -1)


def energy(real: Any, fake: Any) -> Any:
    """`2 E|x - y| - E|x - x'| - E|y - y'|`, each pair of different images."""

    def apart(a: Any, b: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return jnp.sqrt(jnp.maximum(squared, 0))

    def within(a: Any) -> Any:
        found = apart(a, a)
        return (found.sum() - jnp.trace(found)) / (len(a) * (len(a) - 1))

    return 2 * apart(real, fake).mean() - within(real) - within(fake)


class Work(NamedTuple):
    """Runs of one population, at most as many as it has members."""

    population: Population
    side: int
    seconds: int
    nimg: int
    runs: list[tuple[str, Contender, int]]  # that begin with one file's weights, or with what the recipe's `init` names


def plan(
    regimes: Sequence[tuple[int, int]], chosen: Sequence[str], names: Sequence[str], seeds: Sequence[int]
) -> Iterator[Work]:
    """What is to be done, a population at a time."""
    for side, seconds in regimes:
        known = {architecture.gen_width for architecture in architectures(INIT, (side, side, 3))}
        every = (Contender.of(text) for text in chosen or DESIGN[side, seconds])
        offered = [each for each in every if not each.learned or each.weights or each.width in known]
        wanted = sorted(offered, key=lambda each: each[:2])
        for (width, batch), some in itertools.groupby(wanted, key=lambda contender: contender[:2]):
            architecture = Architecture(gen_width=width, disc_width=width, coarsest=4)
            of_one, nimg = list(some), images_in(seconds, side, architecture)
            most = 1 if jax.default_backend() == "cpu" else max(1, AT_ONCE // (batch * side**2) * 16 // width)
            of_files = {
                file: [(name, each, seed) for each in of_one if each.file == file for name in names for seed in seeds]
                for file in dict.fromkeys(each.file for each in of_one)
            }
            members = at_once([len(runs) for runs in of_files.values()], most)
            recipe = Recipe(
                architecture,
                batch=batch,
                init=INIT if any(contender.learned and not contender.weights for contender in of_one) else "",
                hyperparameters=Hyperparameters(augment=0.3),
                augmentation=("translate",),
                schedules=DECAY,
            )
            population = Population(recipe, (side, side, 3), nimg, members)
            for runs in of_files.values():
                for start in range(0, len(runs), members):
                    yield Work(population, side, seconds, nimg, runs[start : start + members])


def at_once(runs: Sequence[int], most: int) -> int:
    """Members of the population that does all of these in the least time: a pass costs as much as `PASS` members more.

    Example:
      >>> at_once([37], 20), at_once([30, 60, 120], 64)
      (19, 30)
    """
    return min(range(1, most + 1), key=lambda members: sum(math.ceil(n / members) * (members + PASS) for n in runs))


def study(
    work: Sequence[Work],
    known: dict[int, dict[str, Family]],
    panels: dict[int, Panel],
    weights: dict[str, Path],
    until: float,
) -> Iterator[tuple[list[dict[str, Any]], list[np.ndarray]]]:
    """Every run at every moment, a population at a time, and some of what it draws; none begins after `until`."""
    with ThreadPoolExecutor(4) as pool:  # that compiles the next programs meanwhile
        made, judging = {}, {side: pool.submit(panel.compile, known[side]) for side, panel in panels.items()}
        for each in work:
            if id(each.population) not in made:
                images = next(iter(known[each.side].values())).train
                made[id(each.population)] = pool.submit(each.population.compile, images)
        for each in work:
            if time.monotonic() > until:
                pool.shutdown(wait=False, cancel_futures=True)
                return
            population = made[id(each.population)].result()
            begun, of_side = time.monotonic(), known[each.side]
            held = np.stack([of_side[name].held for name, _, _ in each.runs])
            images = [of_side[name].train for name, _, _ in each.runs]
            numbers = [contender.numbers(seed) for _, contender, seed in each.runs]
            if file := each.runs[0][1].file:
                population.centre = with_parameters(population.centre, read_weights(weights[file]))
            for moment, drawn, finite in population.train(numbers, images, MOMENTS):
                judged = judging[each.side].result()(held, drawn)
                seconds = round((time.monotonic() - begun) / len(each.runs), 2)
                rows = [
                    {"family": name, **contender._asdict(), "seed": seed, "side": each.side, "seconds": each.seconds}
                    | {"nimg": each.nimg, "moment": moment, "finite": bool(whole), "took": seconds}
                    | dict(zip(JUDGES, map(float, distances), strict=True))
                    for (name, contender, seed), whole, distances in zip(each.runs, finite, judged, strict=True)
                ]
                yield rows, list(drawn[:, :SHOWN]) if moment == 1.0 else []


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For each regime and contender the mean of the independent judges' log distances over families, less that of the
    best contender; then each judge's own. Of families that all contenders have done."""
    lines = []
    for side, seconds in sorted({(row["side"], row["seconds"]) for row in rows}):
        ended = [row for row in rows if (row["side"], row["seconds"], row["moment"]) == (side, seconds, 1.0)]
        done: dict[Contender, list[dict[str, Any]]] = {}
        for row in ended:
            done.setdefault(Contender.in_row(row), []).append(row)
        common = set.intersection(*({row["family"] for row in some} for some in done.values()))
        logs = {
            contender: {j: float(np.mean([logarithm(r, j) for r in some if r["family"] in common])) for j in JUDGES}
            for contender, some in done.items()
        }
        means = {contender: float(np.mean([each[judge] for judge in INDEPENDENT])) for contender, each in logs.items()}
        lines.append(
            f"{side}x{side}, {seconds} s, {len(common)} families: mean log, over the best; {', '.join(JUDGES)}"
        )
        for contender, mean in sorted(means.items(), key=lambda pair: pair[1]):
            own, best = logs[contender], min(means.values())
            lines.append(f"{contender!s:22} {mean - best:+.2f}  " + " ".join(f"{own[judge]:+.2f}" for judge in JUDGES))
    return "\n".join(lines)


def gain(rows: Sequence[dict[str, Any]]) -> str:
    """What choosing for each family would gain: for each regime and judge that chooses, the distance of the run that is
    nearest by it, over that of the one recipe that is best on the other families; by every judge, mean over families
    and 95% over them. A run is chosen after it ended, so this bounds what any choice among these can gain."""
    lines = []
    for side, seconds in sorted({(row["side"], row["seconds"]) for row in rows}):
        found: dict[str, dict[Contender, np.ndarray]] = {}
        for row in rows:
            if (row["side"], row["seconds"], row["moment"]) == (side, seconds, 1.0):
                logs = np.array([logarithm(row, judge) for judge in JUDGES])
                found.setdefault(row["family"], {})[Contender.in_row(row)] = logs
        names, everywhere = sorted(found), sorted(set.intersection(*(set(each) for each in found.values())))
        logs = np.array([[found[name][each] for each in everywhere] for name in names])  # families, contenders, judges
        means = logs[:, :, : len(INDEPENDENT)].mean(2)
        fixed = [int(np.delete(means, at, 0).mean(0).argmin()) for at in range(len(names))]
        lines.append(
            f"{side}x{side}, {seconds} s, {len(names)} families, {len(everywhere)} recipes; judged by {JUDGES}"
        )
        for chooses, judges in CHOOSING.items():
            score = np.exp(logs[:, :, [JUDGES.index(judge) for judge in judges]]).sum(2)
            cells = []
            for at, judge in enumerate(JUDGES):
                over = [logs[i, score[i].argmin(), at] - logs[i, fixed[i], at] for i in range(len(names))]
                mean, low, high = map(math.exp, interval(list(zip(names, over, strict=True))))
                cells.append("-" if judge in judges else f"{mean:.2f} ({low:.2f} to {high:.2f})")
            lines.append(f"{chooses:24}" + "  ".join(f"{cell:20}" for cell in cells))
    return "\n".join(lines)


def logarithm(row: dict[str, Any], judge: str) -> float:
    """Of a distance; what is nearer than judges can tell, and what blew up, count as bounds."""
    value = row[judge] if row["finite"] and math.isfinite(row[judge]) else 10.0
    return math.log(min(max(value, 5e-3), 10.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--role", choices=("validation", "test"), default="validation")
    running.add_argument("--families", nargs="+", help="only these of the role")
    running.add_argument("--regimes", nargs="+", required=True, help="SIDE:SECONDS")
    running.add_argument("--contenders", nargs="+", default=[])
    running.add_argument("--weights", type=Path, nargs="+", default=[], help="files that contenders name")
    running.add_argument("--seeds", type=int, nargs="+", default=[1])
    running.add_argument("--classifier-steps", type=int, default=500)
    running.add_argument("--seconds", type=float, default=math.inf, help="after which nothing more is begun")
    running.add_argument("--out", type=Path, required=True, help="rows; what runs draw goes into a .zip beside it")
    for name in ("table", "gain"):
        commands.add_parser(name).add_argument("file", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command in ("table", "gain"):
        rows = [json.loads(line) for file in options.file for line in file.read_text().splitlines()]
        print((table if options.command == "table" else gain)(rows))
        return
    until = time.monotonic() + options.seconds
    offered = families("test") if options.role == "test" else families("validation")
    names = [name for name in offered if name in (options.families or offered)]
    regimes = [(int(side), int(seconds)) for side, seconds in (text.split(":") for text in options.regimes)]
    sides = sorted({side for side, _ in regimes})
    with ThreadPoolExecutor() as pool:
        read = {(s, n): pool.submit(Family.read, options.data / "zoo", n, s) for s in sides for n in names}
    known = {side: {name: read[side, name].result() for name in names} for side in sides}
    panels = {side: Panel(known[side], options.classifier_steps) for side in sides}
    work = list(plan(regimes, options.contenders, names, options.seeds))
    weights = {path.stem: path for path in options.weights}
    with options.out.open("a") as file, zipfile.ZipFile(options.out.with_suffix(".zip"), "a") as pictures:
        for rows, drawn in study(work, known, panels, weights, until):
            for row in rows:
                file.write(json.dumps(row) + "\n")
            file.flush()
            for row, images in zip(rows, drawn, strict=False):
                keys = ("side", "seconds", "family", *Contender._fields, "seed")
                buffer = io.BytesIO()
                Image.fromarray(np.concatenate(list(images), axis=1)).save(buffer, "JPEG", quality=88)
                pictures.writestr("-".join(f"{row[key]}".replace(":", "_") for key in keys) + ".jpg", buffer.getvalue())
            last = rows[-1]
            at = f"{last['side']}:{last['seconds']} {last['width']}/{last['batch']}, {last['moment']:.0%}"
            print(f"{at}: {last['took']} s a run", flush=True)


if __name__ == "__main__":
    main()
