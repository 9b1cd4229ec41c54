"""Learns the schedules that ship: small games on four families, evolution strategies.

`s1`, and `s2` that goes on from it in stages, with longer and shorter runs and larger images:

    .venv/bin/python tools/learn_schedule.py --updates 60 --name one
    .venv/bin/python tools/learn_schedule.py --closed     # how closed forms do on the same runs
    .venv/bin/python tools/learn_schedule.py --name one --ship s1   # bounds of what it saw, and a package's files
    .venv/bin/python tools/learn_schedule.py --name two --begin s1 --updates 200 --rate 0.05 \\
        --images 5k 40k --rates 0.05 12
    .venv/bin/python tools/learn_schedule.py --name three --begin two --updates 160 --rate 0.05 --images 2k 14k
    .venv/bin/python tools/learn_schedule.py --name four --begin three --updates 45 --rate 0.04 --images 4k 16k \\
        --side 16 --games "conv, augmented"
    .venv/bin/python tools/learn_schedule.py --name five --begin four --updates 60 --seed 1 ...  # likewise

All is kept in `--output`, and what is done there is not done again. Families that are held out for `schedules.py`
(Fashion-MNIST, emoji, textures) are never read here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.places import DATA, RESULTS
from mulligan.budget import parse_images
from mulligan.meta.schedule_learning.inner_problem import (
    WIDE,
    Pool,
    StartRange,
    embedding_features,
    gan_problem,
    offsets,
    random_controller,
    size,
    task_pool,
    unguarded,
    with_offsets,
)
from mulligan.meta.schedule_learning.learn_schedule import (
    ScheduleLearningConfig,
    learn_schedule,
    save_controller,
    trust_region,
    with_trust_region,
)
from mulligan.meta.schedule_learning.outer_gradients import InnerProblem, Parameters, persistent, truncated, whole
from mulligan.metrics.embed import load_embedding
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.schedules.controller import Controller, exponential
from mulligan.schedules.learned import shipped
from mulligan.tasks.families import read_family
from mulligan.tasks.task import Task
from mulligan.training.device import cache_programs

ESTIMATORS = {"persistent": persistent, "whole": whole, "truncated": truncated}
RATES = Hyperparameters(gen_lr=2e-3, disc_lr=2e-3, gamma=1.0)
MLP = Recipe(
    architecture=Architecture(family="mlp", gen_width=64, disc_width=64, gen_depth=2, disc_depth=2, latent=16),
    hyperparameters=RATES,
)
CONV = Recipe(
    architecture=Architecture(gen_width=8, disc_width=8, latent=16),
    augmentation=("translate",),
    hyperparameters=RATES._replace(augment=0.3),
)
GAMES = {"mlp": MLP, "conv, augmented": CONV}
SOURCES = ("digits@labels", "glyphs@labels", "mnist.npz@labels", "omniglot.npz@alphabet")
DECAYS = (0.0, 1.0, 2.0)  # of both rates, in nats a budget, that `--closed` tries
FACTORS = (1.0, 3.0, 9.0)  # on both rates, likewise
TASKS = 12  # of a source, at most, evenly from all of its classes


def tasks(data: Path, side: int) -> Iterator[Task]:
    for source in SOURCES:
        found = read_family(str(data / source) if ".npz" in source else source, size=side).tasks
        kept = np.linspace(0, len(found) - 1, min(TASKS, len(found))).round().astype(int)
        yield from (found[index] for index in kept)


def all_tasks(chosen: argparse.Namespace) -> Pool:
    """Read once and kept."""
    path = chosen.output / f"tasks-{chosen.side}.npz"
    if not path.exists():
        made = task_pool(list(tasks(chosen.data, chosen.side)), embedding_features(load_embedding()))
        np.savez(path, images=np.asarray(made.images), reals=np.asarray(made.reals))
    with np.load(path) as stored:
        return Pool(jnp.asarray(stored["images"]), jnp.asarray(stored["reals"]))


def inner_games(chosen: argparse.Namespace, start: Controller, span: StartRange = WIDE) -> dict[str, InnerProblem]:
    judge, found = embedding_features(load_embedding()), all_tasks(chosen)
    return {name: gan_problem(GAMES[name], found, judge, start, span) for name in chosen.games}


def drawn(chosen: argparse.Namespace) -> StartRange:
    """What the runs of the learning begin with."""
    return replace(WIDE, images=tuple(map(parse_images, chosen.images)), rates=tuple(chosen.rates))


def learn(chosen: argparse.Namespace, start: Controller) -> None:
    games = inner_games(chosen, start, drawn(chosen))
    estimator = ESTIMATORS[chosen.estimator]
    folder = chosen.output / chosen.name
    folder.mkdir(parents=True, exist_ok=True)
    began, busy = time.monotonic(), time.process_time()

    def tell(event: dict[str, Any]) -> None:
        spent = {"seconds": round(time.monotonic() - began, 1), "cpu": round(time.process_time() - busy, 1)}
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(event | spent) + "\n")

    estimators = {name: estimator(game, chosen.deviation, chosen.pairs) for name, game in games.items()}
    plan = ScheduleLearningConfig(chosen.updates, rate=chosen.rate, decay=chosen.decay, seed=chosen.seed)
    learned = learn_schedule(estimators, size(start), plan, folder, tell, beginning(chosen, start))
    np.save(folder / "learned.npy", np.asarray(learned))


def beginning(chosen: argparse.Namespace, start: Controller) -> Parameters | None:
    """Parameters of an earlier learning in `--output`, or of a schedule that ships."""
    if not chosen.begin:
        return None
    earlier = chosen.output / chosen.begin / "learned.npy"
    return jnp.asarray(np.load(earlier)) if earlier.exists() else offsets(start, shipped(chosen.begin))


def closed(chosen: argparse.Namespace, start: Controller) -> None:
    """Final log KID of exponentials from the recipe's rates times a factor, on runs that are the same for all."""
    path = chosen.output / "closed.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = [(row["factor"], row["decay"]) for row in rows]
    usual = StartRange(rates=(1.0, 1.0), apart=(1.0, 1.0), gamma=(1.0, 1.0))  # closed forms are tuned where they stand
    programs = {name: finals(game) for name, game in inner_games(chosen, start, usual).items()}
    keys = jax.random.split(jax.random.key(chosen.seed), chosen.runs)
    for factor, decay in itertools.product(FACTORS, DECAYS):
        if (factor, decay) in done:
            continue
        parameters = offsets(start, exponential({"gen_lr": decay, "disc_lr": decay}, start.offset.size))
        losses = {name: np.asarray(program(parameters, factor, keys)) for name, program in programs.items()}
        told = {"factor": factor, "decay": decay} | {name: round(float(of.mean()), 4) for name, of in losses.items()}
        with path.open("a") as file:
            file.write(json.dumps(told | {"all": round(float(np.mean([*losses.values()])), 4)}) + "\n")


def finals(game: InnerProblem) -> Callable[[jax.Array, float, jax.Array], jax.Array]:
    """`(parameters, factor on both rates, keys [n]) -> losses [n]` at the ends of whole runs."""

    def one(parameters: jax.Array, factor: jax.Array, key: jax.Array) -> jax.Array:
        run = game.init(key)
        known = run.state.schedule.inside
        initial = known.initial._replace(gen_lr=known.initial.gen_lr * factor, disc_lr=known.initial.disc_lr * factor)
        begun = run.state.schedule._replace(inside=known._replace(initial=initial))
        run = run._replace(state=run.state._replace(schedule=begun))
        _, losses = jax.lax.scan(lambda run, _: game.unroll(parameters, run), run, None, game.truncations)
        return losses[-1]

    return jax.jit(lambda parameters, factor, keys: jax.lax.map(lambda key: one(parameters, factor, key), keys))


def ship(chosen: argparse.Namespace, start: Controller) -> None:
    """Measures the region, and writes what a package holds."""
    folder = chosen.output / chosen.name
    parameters = jnp.asarray(np.load(folder / "learned.npy"))
    games = inner_games(chosen, start, drawn(chosen))
    seen = trust_region([*games.values()], parameters, chosen.runs, jax.random.key(chosen.seed + 1))
    rows = [json.loads(line) for line in (chosen.output / "closed.jsonl").read_text().splitlines()]
    best = min((row for row in rows if row["factor"] == 1), key=lambda row: row["all"])["decay"]
    controller = with_trust_region(with_offsets(unguarded(start), parameters), seen, {"gen_lr": best, "disc_lr": best})
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    card = {
        "name": chosen.ship,
        "games": {name: GAMES[name].to_json() for name in chosen.games},
        "learned_on": SOURCES,
        "began_with": chosen.begin,
        "images": chosen.images,
        "rates": chosen.rates,
        "side": chosen.side,
        "updates": len(log),
        "runs": 2 * chosen.pairs * len(chosen.games) * len(log),
        "fallback_decay": best,
    }
    save_controller(chosen.output, chosen.ship, controller, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--closed", action="store_true", help="judge exponentials instead")
    parser.add_argument("--ship", metavar="NAME", help="write the files of a learned schedule of this name")
    parser.add_argument("--name", default="learned", help="folder of this learning, inside of --output")
    parser.add_argument("--estimator", choices=list(ESTIMATORS), default="whole")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--units", type=int, default=4, help="hidden units")
    parser.add_argument("--deviation", type=float, default=0.15)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument(
        "--begin", metavar="NAME", help="a learning in --output, or a schedule that ships, to go on from"
    )
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--side", type=int, default=8, help="of the images")
    parser.add_argument("--images", nargs=2, default=["5k", "14k"], help="of the shortest and the longest run")
    parser.add_argument(
        "--rates", nargs=2, type=float, default=list(WIDE.rates), help="factors on rates, least and most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=32, help="of each game, to judge by or to see the region in")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the .npz files")
    parser.add_argument("--output", type=Path, default=RESULTS / "learn_schedule")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    cache_programs()
    start = random_controller(chosen.units, jax.random.key(chosen.seed))
    work = ship if chosen.ship else closed if chosen.closed else learn
    work(chosen, start)


if __name__ == "__main__":
    main()
