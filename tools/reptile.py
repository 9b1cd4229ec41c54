"""Learns weights that whole runs begin with: where runs on many families end, on the mean, is where the next begin.

    python tools/reptile.py pack --data ../shared/data --size 32 --out tasks.npz
    python tools/reptile.py learn tasks.npz --width 16 --stages 1000x24 4500x8 --share 0.5 --out reptile-32px-w16

A task is a family whose licence lets weights ship, out of those for learning (`families.py`), or one of its four
largest classes. A round trains as many runs as there are members, each on another task, as one population
(`benchmarks/common/population.py`; meant for an accelerator), by the recipe of the law of sizes: warm-up and decay
included. Where they end on the mean is the new centre, and the next round begins at `share` of it and the rest of the
fresh weights that the first began with. In the terms of follow-the-regularised-leader: `start` minimises the sum of
squared distances to where runs ended, and to the fresh weights. Nichol et al. 2018, arXiv 1803.02999, with the pull
back of Ash and Adams 2020, arXiv 1910.08475.

A stage STEPSxROUNDS has runs of so many steps. `OUT.safetensors` holds the mean of the last stage's centres, float16.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.families import families, may_ship, read_family
from benchmarks.common.family_judge import TRAIN, filled
from benchmarks.common.population import Numbers, Population, between
from mulligan.meta.space.default import DECAY, GAMMA, RATE, RATE_POWER
from mulligan.networks.architecture import Networks, build
from mulligan.networks.parameters import with_parameters
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from tools.pretrain import read_weights, resized, sources, write_weights

CLASSES, LEAST = 4, 120  # classes of each family that are tasks of their own, and how many images they have at least
EACH = 384  # images of a task
SEED = 1  # of the fresh weights


def pack(data: Path, size: int, out: Path) -> None:
    """All tasks as one file: arrays uint8 `[n, size, size, 3]` by name, n at most `EACH`."""
    rng = np.random.default_rng(0)
    tasks = {name: images[rng.permutation(len(images))[:EACH]] for name, (images, _) in sources(data, size).items()}
    for name in sorted(set(families("learning")) & set(may_ship(data / "zoo"))):
        family = read_family(data / "zoo", name)
        counts = np.bincount(family.labels)
        for label in np.argsort(-counts)[:CLASSES] if len(counts) > 1 else []:
            if counts[label] >= LEAST:
                chosen = rng.permutation(np.flatnonzero(family.labels == label))
                tasks[f"{name}/{label}"] = resized(family.images[chosen[:EACH]], size)
    np.savez_compressed(out, **tasks)  # type: ignore[arg-type]
    print(f"{out}: {', '.join(tasks)}")


def population(width: int, batch: int, size: int, steps: int, members: int) -> Population:
    """Runs by the recipe of the law of sizes."""
    recipe = Recipe(
        Architecture(gen_width=width, disc_width=width, coarsest=4),
        batch=batch,
        hyperparameters=Hyperparameters(augment=0.3),
        augmentation=("translate",),
        schedules=DECAY,
    )
    return Population(recipe, (size, size, 3), steps * batch, members)


def mean(networks: Networks, finite: np.ndarray) -> Networks:
    """Of the members whose numbers are finite."""
    kept = jnp.asarray(np.flatnonzero(finite))
    return jax.tree.map(lambda leaf: leaf[kept].mean(0), networks)


def apart(networks: Networks, fresh: Networks) -> list[float]:
    """How far each player lies from fresh weights, in their norm."""

    def norm(tree: Any) -> Any:
        return jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tree)))

    pairs = zip(networks, fresh, strict=True)
    return [float(norm(jax.tree.map(lambda x, y: x - y, a, b)) / norm(b)) for a, b in pairs]


def learn(options: argparse.Namespace) -> None:
    tasks = np.load(options.tasks)
    names, size = list(tasks), tasks[next(iter(tasks))].shape[1]
    images = {name: filled(tasks[name], TRAIN) for name in names}
    rate = options.rate or RATE * (32 / size) ** RATE_POWER
    stages = [(int(steps), int(rounds)) for steps, rounds in (text.split("x") for text in options.stages)]
    with ThreadPoolExecutor() as pool:
        made = {
            steps: pool.submit(
                population(options.width, options.batch, size, steps, options.members).compile, images[names[0]]
            )
            for steps, _ in stages
        }
        populations = {steps: each.result() for steps, each in made.items()}
    architecture = next(iter(populations.values())).recipe.architecture
    fresh = build(architecture, (size, size, 3), 0, jax.random.key(SEED))
    start = fresh
    if options.begin:
        start = between(options.share, with_parameters(fresh, read_weights(options.begin)), fresh)
    rng, begun, seen = np.random.default_rng(SEED), time.monotonic(), 0
    for stage, (steps, rounds) in enumerate(stages):
        of_stage, centres = populations[steps], []
        for index in range(rounds):
            if time.monotonic() - begun > options.seconds:
                break
            chosen = [names[row] for row in rng.permutation(len(names))[np.arange(options.members) % len(names)]]
            runs = [Numbers(rate, GAMMA, 1.0, int(seed)) for seed in rng.integers(2**31, size=options.members)]
            of_stage.centre = start
            [(_, finite)] = of_stage.advance(runs, [images[name] for name in chosen])
            centre = mean(of_stage.ends(), finite)
            spread = apart(centre, fresh)
            start, seen = between(options.share, centre, fresh), seen + steps * options.batch * options.members
            centres.append(centre)
            took = time.monotonic() - begun
            print(
                f"{steps}x{index}: {took:.0f} s, {finite.sum()} finite, moved {spread[0]:.3f} {spread[1]:.3f}",
                flush=True,
            )
        if centres:
            late = centres[len(centres) // 2 :]
            learned = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *late)
            card = {
                "architecture": dataclasses.asdict(architecture),
                "shape": [size, size, 3],
                "trained_on": names,
                "images_seen": seen,
                "seconds": round(time.monotonic() - begun),
                "device": jax.devices()[0].device_kind,
                "recipe": of_stage.recipe.to_json(),
                "seed": SEED,
                "share": options.share,
                "licence": "Apache-2.0 for the file; the sources keep their licences",
                "made_by": "python tools/reptile.py",
            }
            write_weights(options.out.with_name(f"{options.out.name}-{stage}"), learned, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("--data", type=Path, required=True)
    packing.add_argument("--size", type=int, choices=(32, 64), required=True)
    learning = commands.add_parser("learn")
    learning.add_argument("tasks", type=Path)
    learning.add_argument("--width", type=int, required=True)
    learning.add_argument("--batch", type=int, default=16)
    learning.add_argument("--rate", type=float, help="the law's unless given")
    learning.add_argument("--members", type=int, default=32)
    learning.add_argument("--stages", nargs="+", required=True, help="STEPSxROUNDS")
    learning.add_argument("--begin", type=Path, help="with these weights, of an earlier stage")
    learning.add_argument("--share", type=float, default=0.5, help="of the centre, in what a round begins with")
    learning.add_argument("--seconds", type=float, default=float("inf"), help="after which no round begins")
    for each in (packing, learning):
        each.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "pack":
        pack(options.data, options.size, options.out)
    else:
        learn(options)


if __name__ == "__main__":
    main()
