"""What a strategy inside a run brings at equal images, from good and bad learning rates.

    .venv/bin/python benchmarks/quality/strategies.py --images 150k --seeds 0 1 2

All see the same number of training images, those of discarded forks included. The base recipe is the default one; its
learning rates are multiplied by each of `--factors`. KID of the run's generator on the test split; a ratio is to the
run of the same task and seed with the recipe's own rates and no strategy. With `--brief` nothing looks on but the
forks, and the moving average is scored as it ends: a third of the work, and no guard.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
from pathlib import Path
from typing import Any

from benchmarks.common.data import TASKS, groups_of
from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from mulligan.budget import parse_images
from mulligan.meta.fit import fit
from mulligan.meta.planning import Options
from mulligan.meta.space.default import handmade_recipe
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget, steps_left
from mulligan.training.device import cache_programs
from mulligan.training.engine import Sampler, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.forks import fork
from mulligan.training.progress import Progress
from mulligan.training.session import advance, open_session
from mulligan.training.strategist import FORKS, Strategist, due

CONTENDERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gap-aware": {"gap_aware": True},
    "fork": {"strategy": "fork"},
    "switch": {"strategy": "switch"},
    "learned schedule": {"learned_schedule": "s2"},
    "fork, learned schedule": {"strategy": "fork", "learned_schedule": "s2"},
}


def altered(recipe: Recipe, changes: dict[str, Any], factor: float) -> Recipe:
    """The recipe with these fields, and both learning rates times `factor`."""
    values = recipe.hyperparameters
    values = values._replace(gen_lr=values.gen_lr * factor, disc_lr=values.disc_lr * factor)
    return dataclasses.replace(recipe, hyperparameters=values, **changes)


def one(task: str, contender: str, factor: float, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The final score of one run."""
    source = str((chosen.data / f"{task}.npz").resolve())
    read = read_task(source, size=chosen.size, groups=groups_of(task))
    budget = Budget(chosen.images, None)
    recipe = altered(handmade_recipe(read.shape, len(read.train), budget), CONTENDERS[contender], factor)
    folder = chosen.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    gan = fit(source, budget, Options(out=folder, seed=seed, recipe=recipe, size=chosen.size, groups=groups_of(task)))
    shutil.rmtree(folder, ignore_errors=True)
    result = gan.result or {}
    return {name: result[name] for name in ("kid", "frechet", "best_nimg", "cost")} | {"recipe": recipe.hash()}


def brief(task: str, contender: str, factor: float, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The score of the moving average at the end of a run that nobody watches."""
    read = read_task(str((chosen.data / f"{task}.npz").resolve()), size=chosen.size, groups=groups_of(task))
    budget = Budget(chosen.images, None)
    recipe = altered(handmade_recipe(read.shape, len(read.train), budget), CONTENDERS[contender], factor)
    game = make_game(recipe, read.shape, 0, chosen.images)
    state, feed = start_state(game, recipe, read.shape, 0, seed), Feed(read.train, False, seed, 0)
    sampler = Sampler.make(recipe.architecture, 0)
    session = open_session(game, state, feed, lambda: Evaluator.make(read, sampler, "validation"))
    progress, strategist, played = Progress(horizon_nimg=chosen.images), Strategist.make(recipe.strategy), []
    while steps_left(progress, budget, recipe.batch) > 0:
        plan = due(progress.forks, progress.spent_nimg, chosen.images) if recipe.strategy == "fork" else None
        if plan:
            forked = fork(session, strategist, plan, state, progress, budget)
            state, strategist, progress = forked[:3]
        if plan and forked.losses:
            played.append({"nimg": progress.nimg, "strategy": forked.strategy, "losses": forked.losses})
        until = FORKS[progress.forks].at if recipe.strategy == "fork" and progress.forks < len(FORKS) else 1.0
        steps = (int(until * chosen.images) - progress.spent_nimg) // recipe.batch
        state, info, progress = advance(session, state, max(1, steps), progress)
    kid = Evaluator.make(read, sampler, "test")(game.averager.value(state.averages)["ema"])["kid"]
    return {"kid": kid, "finite": bool(info.finite), "played": played, "spent": progress.spent_nimg}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--factors", nargs="+", type=float, default=[1.0, 10.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", default="150k")
    parser.add_argument("--size", type=int, default=16, help="side that images are resampled to")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the .npz files")
    parser.add_argument("--output", type=Path, default=RESULTS / "strategies")
    parser.add_argument("--brief", action="store_true", help="no looks, no guard, no choice among averages")
    chosen = parser.parse_args()
    chosen.images = parse_images(chosen.images)
    run = brief if chosen.brief else one
    warn_when_busy()
    cache_programs()
    bench = Bench(chosen.output.resolve())
    found: dict[tuple[str, str, float, int], dict[str, Any]] = {}
    for seed in chosen.seeds:
        for task in chosen.tasks:
            for factor in chosen.factors:
                for contender in chosen.contenders:
                    key = {"task": task, "contender": contender, "factor": factor, "seed": seed}
                    key |= {"images": chosen.images, "size": chosen.size, "brief": chosen.brief}
                    arguments = (task, contender, factor, seed)
                    found[arguments] = bench.once(key, lambda arguments=arguments: run(*arguments, chosen))
    print(table(found, chosen))


def table(found: dict[tuple[str, str, float, int], dict[str, Any]], chosen: argparse.Namespace) -> str:
    """KID of each contender on each task, and the median over tasks and seeds of its ratio to the plain run."""
    names = [(contender, factor) for factor in chosen.factors for contender in chosen.contenders]
    lines = ["| rates | strategy | " + " | ".join(chosen.tasks) + " | median ratio |"]
    lines.append("|---" * (len(chosen.tasks) + 3) + "|")
    for contender, factor in names:
        cells, ratios = [], []
        for task in chosen.tasks:
            kids = [found[task, contender, factor, seed]["kid"] for seed in chosen.seeds]
            plain = [found[task, chosen.contenders[0], chosen.factors[0], seed]["kid"] for seed in chosen.seeds]
            ratios += [kid / base for kid, base in zip(kids, plain, strict=True)]
            cells.append(spread(kids, 4))
        lines.append(f"| x {factor:g} | {contender} | {' | '.join(cells)} | {statistics.median(ratios):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
