"""Few-shot generation: a start that was learned on background characters, a few drawings of a new one, a few updates.

    .venv/bin/python benchmarks/few_shot/episodes.py learn --contender ours --seconds 1200
    .venv/bin/python benchmarks/few_shot/episodes.py judge
    .venv/bin/python benchmarks/few_shot/episodes.py run
    .venv/bin/python benchmarks/few_shot/episodes.py table
    .venv/bin/python benchmarks/few_shot/episodes.py pictures --output docs/images

`learn` can be stopped and goes on; `run` appends a line for every contender, setting and seed to its results. A seed is
a draw of classes, support images, latents and others to be told apart from; what was learned is one run each.
Evaluation characters are of alphabets that no contender has seen; rates of fine-tuning are chosen on background ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from benchmarks.common.intervals import spread
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from benchmarks.few_shot.contenders import CONTENDERS, SHAPE, TUNED, UPDATES, Player, inner_for, ready
from benchmarks.few_shot.judge import Case, Embed, Figures, judge_cases, learn_judge
from mulligan.game.step import Data, to_bytes
from mulligan.grid import save_grid
from mulligan.meta.initialisation.adaptation import adapt_for
from mulligan.meta.initialisation.learn_initialisation import MetaRun, learn_initialisation
from mulligan.recipe import Recipe
from mulligan.training.device import cache_programs

CLASSES, SAMPLES, DRAWINGS = 30, 24, 20
PROTOCOL = [("omniglot", 4, UPDATES), ("mnist", 4, UPDATES), ("fashion_mnist", 4, UPDATES)]
SWEEP = [("omniglot", shots, UPDATES) for shots in (1, 5, 10)]
SWEEP += [("omniglot", 4, updates) for updates in (0, 1, 3, 30, 100, 200)]
EPISODES = 500  # that the prototype network learns from
FLOORS = ("noise", "copies", "real")
OTHERS = 19


# --- classes


def drawings(data: Path, split: int) -> UInt8[np.ndarray, "t n h w c"]:
    """The 20 drawings of each character: 0 background, 1 evaluation."""
    with np.load(data / "omniglot.npz") as arrays:
        images, labels, splits = arrays["images"], arrays["labels"], arrays["split"]
    images, labels = images[splits == split], labels[splits == split]
    return np.stack([images[labels == label][:DRAWINGS] for label in np.unique(labels)])[..., None]


def foreign(data: Path, name: str, each: int = 100) -> UInt8[np.ndarray, "t n h w c"]:
    """Test images of the classes of another set, in negative so that they are dark on white as Omniglot is."""
    with np.load(data / f"{name}.npz") as arrays:
        chosen = arrays["split"] == 1
        images, labels = arrays["images"][chosen], arrays["labels"][chosen]
    return 255 - np.stack([images[labels == label][:each] for label in np.unique(labels)])[..., None]


def cases_of(pool: UInt8[np.ndarray, "t n h w c"], shots: int, number: int, seed: int) -> list[Case]:
    """Classes drawn at random, `shots` images of each to learn from, and all others of it as the query."""
    rng = np.random.default_rng(seed)
    cases = []
    for chosen in np.resize(rng.permutation(len(pool)), number):
        images = pool[chosen][rng.permutation(pool.shape[1])]
        rest = np.setdiff1d(np.arange(len(pool)), [chosen])
        others = rng.choice(rest, min(OTHERS, len(rest)), replace=False)
        prototypes = pool[others, rng.integers(0, pool.shape[1], len(others))]
        cases.append(Case(images[:shots], images[shots:], prototypes))
    return cases


# --- samples


@lru_cache(maxsize=4)
def program(recipe: Recipe, free_rate: bool) -> Any:
    """Compiled samples of many classes: of what was learned, rates, support images, keys and a number of updates."""
    inner = inner_for(recipe, free_rate)

    def of_all(learned: Any, hyperparameters: Any, supports: Any, keys: Any, updates: Any) -> Any:
        def of_class(arguments: tuple[Any, Any]) -> Any:
            support, key = arguments
            own = inner._replace(hyperparameters=hyperparameters)
            players = adapt_for(own, learned, Data(support), key, updates)
            return to_bytes(players.gen(jax.random.normal(jax.random.fold_in(key, 1), (SAMPLES, inner.game.latent))))

        return jax.lax.map(of_class, (supports, keys))

    return jax.jit(of_all)


def drawn(player: Player, cases: Sequence[Case], updates: int, seed: int) -> UInt8[np.ndarray, "t s h w c"]:
    """Samples of each class after so many updates on its support images.

    Batches draw from the support with replacement, so each of its images may as well be there several times.
    """
    supports = np.stack([np.resize(case.support, (DRAWINGS, *SHAPE)) for case in cases])
    keys = jax.random.split(jax.random.key(seed), len(cases))
    hyperparameters = jax.tree.map(jnp.float32, player.hyperparameters)
    run = program(player.recipe, player.free_rate)
    return np.asarray(run(player.learned, hyperparameters, jnp.asarray(supports), keys, jnp.int32(updates)))


def floor(name: str, cases: Sequence[Case], seed: int) -> UInt8[np.ndarray, "t s h w c"]:
    """What needs no learning: noise, copies of the support, or the second half of the class's own other images."""
    rng = np.random.default_rng(seed)
    if name == "noise":
        return rng.integers(0, 256, (len(cases), SAMPLES, *SHAPE), np.uint8)
    if name == "copies":
        return np.stack([np.resize(case.support, (SAMPLES, *SHAPE)) for case in cases])
    return np.stack([case.query[len(case.query) // 2 :] for case in cases])


def judged(name: str, cases: Sequence[Case], samples: Any, embed: Embed) -> dict[str, Any]:
    """Means over the classes; real images are judged against the half of the query that they are not."""
    if name == "real":
        cases = [case._replace(query=case.query[: len(case.query) // 2]) for case in cases]
    figures = np.array(judge_cases(cases, samples, embed))
    return {
        "figures": dict(zip(Figures._fields, figures.mean(0).round(5).tolist(), strict=True)),
        "errors": dict(zip(Figures._fields, (figures.std(0) / np.sqrt(len(cases))).round(5).tolist(), strict=True)),
        "queries": len(cases[0].query),
        "classes": len(cases),
    }


# --- commands


def learn(chosen: argparse.Namespace) -> None:
    curriculum = CONTENDERS[chosen.contender].config
    assert curriculum is not None, f"{chosen.contender} learns nothing"
    source = f"{chosen.data / 'omniglot.npz'}@labels"
    course = MetaRun(
        [source], chosen.results / f"{chosen.contender}.safetensors", chosen.seconds, curriculum, chosen.steps
    )
    print(learn_initialisation(course, lambda event: print(event, flush=True)))


def judge_network(chosen: argparse.Namespace) -> Embed:
    """The prototype network, learned once and kept."""
    return learn_judge(drawings(chosen.data, 0), EPISODES, 0, chosen.results / "judge.safetensors")


def run(chosen: argparse.Namespace) -> None:
    bench, embed = Bench(chosen.results), judge_network(chosen)
    players = [name for name in chosen.contenders if name in CONTENDERS]
    rates = {name: best_rate(name, bench, chosen, embed) for name in players if CONTENDERS[name].free_rate}
    pools = {"omniglot": drawings(chosen.data, 1)}
    pools |= {name: foreign(chosen.data, name) for name in ("mnist", "fashion_mnist")}
    wanted = SWEEP if chosen.sweep else PROTOCOL
    for family, shots, updates in [setting for setting in wanted if setting[0] in chosen.families]:
        for seed in chosen.seeds:
            cases = cases_of(pools[family], shots, CLASSES, seed)
            for name in chosen.contenders:
                key = {"family": family, "shots": shots, "updates": updates, "name": name, "seed": seed}

                def work(name=name, cases=cases, updates=updates, seed=seed) -> dict[str, Any]:
                    if name in FLOORS:
                        return judged(name, cases, floor(name, cases, seed), embed)
                    player = ready(name, chosen.results, rates.get(name, 0.0), seed)
                    return judged(name, cases, drawn(player, cases, updates, seed), embed)

                bench.once(key, work)


def best_rate(name: str, bench: Bench, chosen: argparse.Namespace, embed: Embed) -> float:
    """The rate with the least KID on background characters, whose drawings the multi-task GAN has even seen."""
    cases = cases_of(drawings(chosen.data, 0), 4, CLASSES, 1000)
    kids = {}
    for rate in TUNED:
        key = {"family": "background", "name": name, "rate": rate}
        work = lambda rate=rate: judged(  # noqa: E731
            name, cases, drawn(ready(name, chosen.results, rate, 0), cases, UPDATES, 0), embed
        )
        kids[rate] = bench.once(key, work)["figures"]["kid"]
    return min(kids, key=kids.__getitem__)


def table(chosen: argparse.Namespace) -> None:
    found = [result for result in Bench(chosen.results).results if "seed" in result]
    for family, shots, updates in PROTOCOL + SWEEP:
        rows = [r for r in found if (r["family"], r["shots"], r["updates"]) == (family, shots, updates)]
        if rows:
            print(f"\n{family}, {shots} images, {updates} updates, {rows[0]['queries']} other images a class\n")
            print(
                "| contender | "
                + " | ".join(Figures._fields)
                + " | seeds |\n"
                + "|---" * (len(Figures._fields) + 2)
                + "|"
            )
        for name in dict.fromkeys(row["name"] for row in rows):
            own = [row["figures"] for row in rows if row["name"] == name]
            cells = [spread([figures[field] for figures in own], 3) for field in Figures._fields]
            print(f"| {name} | {' | '.join(cells)} | {len(own)} |")


def pictures(chosen: argparse.Namespace) -> None:
    """Characters never seen: four drawings, then samples after 0, 1 and 10 updates, a row a character."""
    for family, pool in (("omniglot", drawings(chosen.data, 1)), ("mnist", foreign(chosen.data, "mnist"))):
        cases = cases_of(pool, 4, CLASSES, 0)
        for name in [name for name in chosen.contenders if name in CONTENDERS]:
            contender = CONTENDERS[name]
            rate = best_rate(name, Bench(chosen.results), chosen, judge_network(chosen)) if contender.free_rate else 0.0
            player = ready(name, chosen.results, rate, 0)
            blocks = [np.stack([case.support for case in cases])]
            blocks += [drawn(player, cases, updates, 0)[:, :6] for updates in (0, 1, UPDATES)]
            gap = np.full((len(cases), 1, *SHAPE), 200, np.uint8)
            parts = [part for block in blocks for part in (block, gap)][:-1]
            rows = np.concatenate(parts, axis=1)[: 8 if family == "omniglot" else 5]
            save_grid(chosen.output / f"few-shot-{family}-{name}.png", rows.reshape(-1, *SHAPE), rows.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["learn", "judge", "run", "table", "pictures"])
    parser.add_argument("--contender", choices=CONTENDERS, default="ours")
    everyone = [*CONTENDERS, *FLOORS]
    parser.add_argument("--contenders", nargs="+", choices=everyone, default=everyone)
    parser.add_argument("--families", nargs="+", default=["omniglot", "mnist", "fashion_mnist"])
    parser.add_argument("--seconds", type=float, default=1200.0, help="of learning, over all calls")
    parser.add_argument("--steps", type=int, default=None, help="outer steps, at most")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--sweep", action="store_true", help="other numbers of images and updates")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the .npz files")
    parser.add_argument("--results", type=Path, default=RESULTS / "few_shot")
    parser.add_argument("--output", type=Path, default=Path("."))
    chosen = parser.parse_args()
    cache_programs()
    commands = {"learn": learn, "judge": judge_network, "run": run, "table": table, "pictures": pictures}
    commands[chosen.command](chosen)


if __name__ == "__main__":
    main()
