"""Live proof: real training on tasks of families that nothing was learned from, at equal operations.

    python benchmarks/meta/transfer.py --images 32000 --seeds 0 1 2

For each task its whole family is taken out of the experience, and the prior learns from the rest; its default is the
recipe made by hand, since the one that ships rests on every family. Then each contender trains for as many operations
as the yardstick takes for `--images` images. What counts is the generator with the lowest energy distance on the
validation split, judged once on the test split, by KID. Results go into a file as they come; what is there is not done
again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.data import groups_of
from benchmarks.common.places import RESULTS
from benchmarks.meta.live import Live, run
from benchmarks.meta.replay import SLICES, Moves, Trace, in_turn, leader, race
from benchmarks.meta.tpe import live_tpe
from mulligan.meta.collect.proposals import TRIAL_AVERAGES
from mulligan.meta.experience import read, shipped_and_own
from mulligan.meta.predict.prior import PRIORS, PartialCurve, Prior, Query, with_handmade_default
from mulligan.meta.race.warm_start import PRIOR
from mulligan.meta.space.default import default_recipe, handmade_recipe, textbook_recipe
from mulligan.meta.space.fidelity import reference_flops
from mulligan.meta.store.record import Point, Records, TaskRecord
from mulligan.recipe import Recipe
from mulligan.tasks.families import read_family
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs
from mulligan.training.engine import Sampler
from mulligan.training.evaluation import Evaluator
from tools.gather import SIZE, there

TASKS = (  # none of them is in the experience, and with their families hidden nothing like them is
    "fashion_mnist.npz@labels=5",
    "mnist.npz@labels=8",
    "omniglot.npz@alphabet=Latin",
    "glyphs@labels=R",
    "emoji_noto.npz@labels=Animals & Nature",
    "cifar10.npz@labels=frog",
)
RACERS = 3  # recipes in a race
BASE = "hand-made default"
LEAST_KID = 1e-4

Allocator = Callable[[Live], Moves]


class Setting:
    """One task, its prior, and the budget in images of the yardstick."""

    def __init__(self, task: Task, prior: Prior, images: int, seed: int):
        self.task, self.prior, self.images, self.seed = task, prior, images, seed
        record = TaskRecord.of(task, task.name.partition("/")[0])
        self.query = Query(record, reference_flops(task.shape, images))

    def named(self, make: Callable[[tuple[int, int, int], int, Budget], Recipe]) -> Recipe:
        return judged(make(self.task.shape, len(self.task.train), Budget(self.images, None)))


def judged(recipe: Recipe) -> Recipe:
    """The recipe with the average that trials are judged by, and no other."""
    return replace(recipe, averages=recipe.averages and TRIAL_AVERAGES)


# --- contenders


def alone(recipe: Recipe, live: Live) -> Moves:
    """One recipe for the whole budget."""
    return in_turn([live.add(recipe)], math.inf)


def first_proposal(setting: Setting) -> Allocator:
    """What the prior holds to be best."""
    return partial(alone, judged(setting.prior.propose(setting.query, 1)[0].recipe))


def raced(setting: Setting) -> Allocator:
    """The race of what the prior proposes, the hand-made recipe among them."""
    proposals = setting.prior.propose(setting.query, RACERS)
    recipes = [judged(proposal.recipe) for proposal in proposals]

    def outlook(index: int, points: Sequence[Sequence[Point]], flops: float) -> float:
        trials = [PartialCurve(recipe, seen) for recipe, seen in zip(recipes, points, strict=True)]
        others = [trial for other, trial in enumerate(trials) if other != index and trial.seen]
        forecast = setting.prior.forecast(setting.query._replace(flops=flops), *trials[index], others)
        return float(forecast.median[-1])

    def moves(live: Live) -> Moves:
        for recipe in recipes:
            live.add(recipe)
        weights = [proposal.weight for proposal in proposals]
        return race(len(recipes), live.budget, outlook, leader(weights, SLICES))

    return moves


def optuna(setting: Setting) -> Allocator:
    """TPE with Hyperband over the whole space, told of the hand-made recipe to begin with."""
    return partial(live_tpe, setting.named(handmade_recipe), setting.seed)


CONTENDERS: dict[str, Callable[[Setting], Allocator]] = {
    BASE: lambda setting: partial(alone, setting.named(handmade_recipe)),
    "textbook": lambda setting: partial(alone, textbook_recipe()),
    "prior": first_proposal,
    "prior + race": raced,
    "no experience": lambda setting: partial(alone, setting.named(default_recipe)),
    "Optuna": optuna,
}


def outcome(setting: Setting, allocator: Allocator) -> dict[str, Any]:
    """Trains, and judges what came of it."""
    live = Live(setting.task, setting.images, setting.seed)
    return outcome_of(live, run(live, allocator))


def outcome_of(live: Live, trace: Trace) -> dict[str, Any]:
    """The lowest distances on the way, and that of the best generator on the test split."""
    found: dict[str, Any] = {"spent": trace.spent.tolist(), "lowest": trace.lowest.tolist(), "kid": None}
    if live.best is not None:
        sampler = Sampler.make(live.best.recipe.architecture, 0)
        found["kid"] = Evaluator.make(live.task, sampler, "test")(live.best.gen)["kid"]
        found["recipe"] = live.best.recipe.to_json()
    return found | {"seconds": sum(course.cost()["training_cpu_seconds"] for course in live.arms)}


def without(records: Records, family: str) -> Records:
    """The experience without a family."""
    tasks = {name: task for name, task in records.tasks.items() if task.family != family}
    return Records(tasks, {name: trial for name, trial in records.trials.items() if trial.task in tasks})


# --- figures


def ratios(results: Sequence[dict[str, Any]], contender: str) -> dict[str, float]:
    """For each task the contender's test KID over the hand-made recipe's: the quotient of medians over seeds."""
    found = {}
    for task in dict.fromkeys(result["task"] for result in results):
        own, base = (kids(results, task, name) for name in (contender, BASE))
        if own and base:
            found[task] = float(np.median(own) / np.median(base))
    return found


def kids(results: Iterable[dict[str, Any]], task: str, contender: str) -> list[float]:
    """Test KIDs of all seeds; infinite where nothing came of it."""
    of_task = [each for each in results if each["task"] == task and each["contender"] == contender]
    return [math.inf if each["kid"] is None else max(each["kid"], LEAST_KID) for each in of_task]


def worse(results: Sequence[dict[str, Any]], contender: str) -> list[str]:
    """Tasks on which every seed of the contender is worse than every seed of the hand-made recipe."""
    tasks = ratios(results, contender)
    return [task for task in tasks if min(kids(results, task, contender)) > max(kids(results, task, BASE))]


def reach(results: Sequence[dict[str, Any]], contender: str, yardstick: str) -> float:
    """Operations until the yardstick's lowest validation distance, same seed, over all of its own: the median."""
    found = []
    for each in results:
        if each["contender"] == contender:
            of_same = [other for other in results if _same(each, other) and other["contender"] == yardstick]
            found += [_reached(each, other) for other in of_same]
    return float(np.median(found)) if found else math.nan


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["task"], one["seed"]) == (other["task"], other["seed"])


def _reached(one: dict[str, Any], other: dict[str, Any]) -> float:
    own, yard = (Trace(np.array(each["spent"]), np.array(each["lowest"])) for each in (one, other))
    if not len(yard.lowest):
        return math.nan
    return own.reached(float(yard.lowest[-1])) / float(yard.spent[-1])


def break_even(learned: float, images: float, share: float) -> float:
    """Tasks after which learning is paid back.

    Args:
      learned: images of the yardstick that all trials of the experience took.
      images: that the hand-made recipe takes on a task.
      share: of them that is enough for as good a generator now.
    """
    return learned / (images * (1 - share)) if share < 1 else math.inf


def cost(records: Records) -> float:
    """What the trials took, in images of the yardstick on their own shape."""
    shapes = {name: task.shape for name, task in records.tasks.items()}
    return sum(
        trial.cost.get("flops", 0.0) / reference_flops(shapes[trial.task], 1) for trial in records.trials.values()
    )


def table(results: Sequence[dict[str, Any]]) -> str:
    """A line for each contender, with what it takes to get where each yardstick ended."""
    head = "| contender | test KID / hand-made's, median | worst | worse on | compute to textbook's | to hand-made's |"
    lines = [head, "|---" * 6 + "|"]
    for contender in dict.fromkeys(result["contender"] for result in results):
        of_tasks = list(ratios(results, contender).values())
        if of_tasks:
            reached = [f"{reach(results, contender, yard):.2f}" for yard in ("textbook", BASE)]
            cells = (
                f"{np.median(of_tasks):.2f}",
                f"{max(of_tasks):.2f}",
                f"{len(worse(results, contender))} of {len(of_tasks)}",
            )
            lines.append(f"| {contender} | {' | '.join([*cells, *reached])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experience", help="a file, URL or exported file; the shipped and the user's own if left out")
    parser.add_argument("--images", type=int, default=32_000, help="of the yardstick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--output", type=Path, default=RESULTS / "transfer")
    chosen = parser.parse_args()
    cache_programs()
    records = read(chosen.experience) if chosen.experience else shipped_and_own()
    chosen.output.mkdir(parents=True, exist_ok=True)
    path = chosen.output / f"{chosen.images}.jsonl"
    results = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(each["task"], each["contender"], each["seed"]) for each in results}
    tasks = [
        task
        for source in there(chosen.tasks)
        for task in read_family(source, size=SIZE, groups=groups_of(source)).tasks
    ]
    priors: dict[str, Prior] = {}
    for seed in chosen.seeds:
        for task in tasks:
            family = task.name.partition("/")[0]
            if family not in priors:
                known = without(records, family)
                priors[family] = with_handmade_default(
                    PRIORS[PRIOR](list(known.tasks.values()), list(known.trials.values()))
                )
            for name in chosen.contenders:
                if (task.name, name, seed) in done:
                    continue
                setting = Setting(task, priors[family], chosen.images, seed)
                result = {"task": task.name, "contender": name, "seed": seed}
                result |= outcome(setting, CONTENDERS[name](setting))
                results.append(result)
                with path.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(f"{task.name} {seed} {name}: test KID {result['kid']}", flush=True)
    print(table(results))
    share = reach(results, "prior", BASE)
    learned = cost(records)
    print(f"learning took {learned:,.0f} images of the yardstick; it is paid back after "
          f"{break_even(learned, chosen.images, share):,.0f} tasks of {chosen.images:,} images")  # fmt: skip


if __name__ == "__main__":
    main()
