"""Schedules on families that no learned one has seen, at equal images, from good and bad learning rates.

    .venv/bin/python benchmarks/quality/schedules.py --images 32k --seeds 0 1 2 3 4

The base recipe is the one made by hand, at half of its width, its two learning rates multiplied by each of `--factors`.
KID of the moving average on the test split, halfway and at the end. Population-based training divides its images among
its members. A run has failed when a number was no longer finite, or when its KID at the end is more than ten times that
of the constant schedule at the recipe's own rates, same task and seed.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.data import groups_of
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from mulligan.budget import parse_images
from mulligan.game.step import Game, GanState, initial_state, scheduled
from mulligan.meta.collect.trial import pool
from mulligan.meta.schedule_learning.inner_problem import unguarded
from mulligan.meta.space.default import handmade_recipe
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.metrics.selection import KID
from mulligan.networks.architecture import build
from mulligan.recipe import Form, Hyperparameters, Recipe
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs
from mulligan.training.engine import Sampler, compile_engine, make_game
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed

TASKS = ("fashion_mnist", "emoji_noto", "textures")
LOOKS = 2
Found = dict[tuple[str, str, float, int], list[float]]  # (task, contender, factor, seed) to KID at the looks
FAILED = 10.0  # times the KID of the constant schedule
WIDTH = 8  # channels at the finest inner resolution
WORST = 20.0  # KID that a run whose numbers were no longer finite counts as
RATE, DECAY = 9.0, 2.0  # times the recipe's rates, nats a budget: the best of `learn_schedule.py --closed`
MEMBERS, ROUNDS = 4, 4  # of population-based training
PERTURBED = ("gen_lr", "disc_lr", "gamma")


def exponential(images: int) -> dict[str, Any]:
    return {"schedules": tuple((name, Form("exponential", rate=DECAY / images)) for name in ("disc_lr", "gen_lr"))}


def cosines(images: int) -> dict[str, Any]:
    """R3GAN's five (arXiv 2501.05441): rates to a quarter, gamma to a tenth; beta2, augmentation and EMA rise."""
    del images
    fall = {"gen_lr": 0.25, "disc_lr": 0.25, "gamma": 0.1}
    rise = {"gen_beta2": 0.99 / 0.9, "disc_beta2": 0.99 / 0.9, "augment": 10.0, "ema_nimg": 10.0}
    return {"schedules": tuple((name, Form("cosine", final=final)) for name, final in sorted((fall | rise).items()))}


CONTENDERS = {
    "constant": lambda images: {},
    "exponential": exponential,
    "cosines": cosines,
    "gap-aware": lambda images: {"gap_aware": True},
    "PBT": lambda images: {},
    "learned": lambda images: {"learned_schedule": "s2"},
    "unguarded": lambda images: {"learned_schedule": "s2"},
}


@dataclass(frozen=True)
class Ready:
    """A task with what judges generators on it."""

    task: Task
    test: Evaluator
    validation: Evaluator


@lru_cache(maxsize=4)
def ready(name: str, data: Path, size: int) -> Ready:
    source = str((data / f"{name}.npz").resolve()) if (data / f"{name}.npz").exists() else name
    task = read_task(source, size=size, groups=groups_of(source))
    sampler = Sampler.make(recipe_of("constant", 1.0, task, 1000).architecture, 0)
    return Ready(task, Evaluator.make(task, sampler, "test"), Evaluator.make(task, sampler, "validation"))


def recipe_of(contender: str, factor: float, task: Task, images: int) -> Recipe:
    """The default recipe with a contender's schedule, its rates multiplied by `factor`."""
    base = handmade_recipe(task.shape, len(task.train), Budget(images, None))
    values = base.hyperparameters
    factor *= RATE if contender == "exponential" else 1.0
    values = values._replace(gen_lr=values.gen_lr * factor, disc_lr=values.disc_lr * factor)
    if contender == "cosines":  # what rises in R3GAN ends where the default stands
        ends = {"gen_beta2": 0.9, "disc_beta2": 0.9, "augment": values.augment / 10, "ema_nimg": values.ema_nimg / 10}
        values = values._replace(**ends)
    width = replace(base.architecture, gen_width=WIDTH, disc_width=WIDTH)
    return replace(base, architecture=width, averages=("ema",), hyperparameters=values, **CONTENDERS[contender](images))


class Player:
    """Trains recipes that differ in numbers only, with one compiled program."""

    def __init__(self, recipe: Recipe, ready: Ready, images: int):
        self.images, self.shape, self.recipe = images, ready.task.shape, recipe
        game = self.game(recipe)

        def begin(key: jax.Array) -> GanState:
            network_key, game_key = jax.random.split(key)
            networks = build(recipe.architecture, self.shape, 0, network_key)
            return initial_state(game, networks.gen, networks.disc, recipe.hyperparameters, game_key)

        self.begin = jax.jit(begin)
        self.data = Feed(pool(ready.task), False, 0, 0).data(0)
        self.engine = compile_engine(game, self.begin(jax.random.key(0)), self.data)
        self.step_nimg = recipe.batch * recipe.disc_steps

    def game(self, recipe: Recipe) -> Game:
        return make_game(recipe, self.shape, 0, float(self.images))

    def start(self, recipe: Recipe, seed: int) -> GanState:
        state = self.begin(jax.random.key(seed))
        return state._replace(schedule=self.game(recipe).schedule.init(recipe.hyperparameters))

    def train(self, state: GanState, until: float) -> tuple[GanState, bool]:
        """On to so many images; whether all numbers are finite."""
        steps = round((until - int(state.nimg)) / self.step_nimg)
        state, info = self.engine.chunk(state, self.data, steps)
        return state, bool(info.finite)


PLAYERS: dict[tuple[Any, ...], Player] = {}


def player_of(recipe: Recipe, ready: Ready, images: int) -> Player:
    key = (ready.task.hash, recipe.gap_aware, recipe.learned_schedule, images)
    if key not in PLAYERS:
        PLAYERS[key] = Player(recipe, ready, images)
    return PLAYERS[key]


def one(task: str, contender: str, factor: float, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """KID at the looks of one run."""
    known = ready(task, chosen.data, chosen.size)
    recipe = recipe_of(contender, factor, known.task, chosen.images)
    player = player_of(recipe, known, chosen.images)
    run = {"PBT": population, "unguarded": partial(alone, change=freed)}.get(contender, alone)
    kids, state = run(player, recipe, known, seed)
    guarded = {"guarded": int(state.schedule.guarded)} if recipe.learned_schedule else {}
    return {"kids": [round(kid, 5) for kid in kids], "recipe": recipe.hash(), **guarded}


def freed(state: GanState) -> GanState:
    """With a learned schedule that has no guard."""
    return state._replace(schedule=state.schedule._replace(controller=unguarded(state.schedule.controller)))


def alone(
    player: Player,
    recipe: Recipe,
    known: Ready,
    seed: int,
    change: Callable[[GanState], GanState] = lambda state: state,
) -> tuple[list[float], GanState]:
    """One run, whose state is changed before it begins."""
    state, kids = change(player.start(recipe, seed)), []
    for look in range(1, LOOKS + 1):
        state, finite = player.train(state, player.images * look / LOOKS)
        kids.append(judged(known.test, state) if finite else WORST)
    return kids, state


def population(player: Player, recipe: Recipe, known: Ready, seed: int) -> tuple[list[float], GanState]:
    """Population-based training (Jaderberg et al. 2017, arXiv 1711.09846), the members' images adding up to a run's.

    Members begin with rates and gamma up to three times the recipe's or a third. After each round the worst takes over
    the weights and hyperparameters of the best, these perturbed by 0.8 or 1.25, by KID on the validation split. A look
    sees the best member.
    """
    rng = np.random.default_rng(seed)
    members = [player.start(recipe, seed * MEMBERS + index) for index in range(MEMBERS)]
    members = [scaled(member, 3.0 ** rng.uniform(-1, 1, len(PERTURBED))) for member in members]
    kids: list[float] = []
    for turn in range(1, ROUNDS + 1):
        until = player.images / MEMBERS * turn / ROUNDS
        trained = [player.train(member, until) for member in members]
        members = [member for member, _ in trained]
        scores = [judged(known.validation, member) if finite else WORST for member, finite in trained]
        best, worst = int(np.argmin(scores)), int(np.argmax(scores))
        if turn % (ROUNDS // LOOKS) == 0:
            kids.append(judged(known.test, members[best]) if scores[best] < WORST else WORST)
        if best != worst:
            heir = jax.tree.map(jnp.copy, members[best])._replace(key=members[worst].key)
            members[worst] = scaled(heir, rng.choice([0.8, 1.25], len(PERTURBED)))
    return kids, members[best]


def scaled(state: GanState, factors: np.ndarray) -> GanState:
    """The state with these factors on the hyperparameters of `PERTURBED`."""
    initial: Hyperparameters = state.schedule.initial
    changed = {name: getattr(initial, name) * float(by) for name, by in zip(PERTURBED, factors, strict=True)}
    return state._replace(schedule=state.schedule._replace(initial=initial._replace(**changed)))


def judged(evaluator: Evaluator, state: GanState) -> float:
    """KID of the moving average, without the interval that an evaluation adds."""
    reference, joint = evaluator.reference, evaluator.features(state.averages["ema"].params)
    fakes = jnp.asarray(reference.columns(KID, joint))
    kid = float(mmd2_unbiased(jnp.asarray(reference.features), fakes))
    return min(kid, WORST) if math.isfinite(kid) else WORST


# --- a picture

DRAWN = {"gen_lr": "generator's rate", "disc_lr": "discriminator's rate", "gamma": "gamma", "ema_nimg": "EMA, images"}
POINTS = 48


def draw(task: str, chosen: argparse.Namespace, path: Path) -> None:
    """What the learned schedule makes of the base recipe's numbers, from each factor on its rates."""
    from matplotlib.figure import Figure

    known = ready(task, chosen.data, chosen.size)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = dict(zip(DRAWN, figure.subplots(2, 2, sharex=True).ravel(), strict=True))
    for factor in chosen.factors:
        recipe = recipe_of("learned", factor, known.task, chosen.images)
        player = player_of(recipe, known, chosen.images)
        game, state = player.game(recipe), player.start(recipe, 0)
        points = [(0, scheduled(game, state))]
        for point in range(1, POINTS + 1):
            state, _ = player.train(state, player.images * point / POINTS)
            points.append((int(state.nimg), scheduled(game, state)))
        for name, axis in axes.items():
            values = [float(getattr(values, name)) for _, values in points]
            axis.plot([nimg for nimg, _ in points], values, label=f"x {factor:g}")
    for name, axis in axes.items():
        axis.set(yscale="log", title=DRAWN[name])
    for axis in list(axes.values())[2:]:
        axis.set_xlabel("images seen")
    axes["gen_lr"].legend(title="base rates")
    figure.savefig(path, dpi=110)


# --- what it comes to


def tables(found: Found) -> str:
    """Final KID by factor, and a summary."""
    tasks, contenders, factors, seeds = (sorted({key[place] for key in found}) for place in range(4))
    contenders = [name for name in CONTENDERS if name in contenders]
    lines = ["| task | schedule | " + " | ".join(f"x {factor:g}" for factor in factors) + " |"]
    lines.append("|---" * (len(factors) + 2) + "|")
    for task in tasks:
        for contender in contenders:
            cells = [spread([found[task, contender, factor, seed][-1] for seed in seeds]) for factor in factors]
            lines.append(f"| {task} | {contender} | {' | '.join(cells)} |")
    lines += ["", "| schedule | final KID, own rates | area, own rates | KID at its worst over its best | failed |"]
    lines.append("|---" * 5 + "|")
    for contender in contenders:
        cells = [ratio(found, contender, tasks, seeds, final), ratio(found, contender, tasks, seeds, area)]
        cells += [sensitivity(found, contender, tasks, factors, seeds), failures(found, contender)]
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def final(kids: list[float]) -> float:
    return math.log(max(kids[-1], 1e-3))


def area(kids: list[float]) -> float:
    """The mean of log KID over the looks."""
    return statistics.fmean(math.log(max(kid, 1e-3)) for kid in kids)


def ratio(found: Found, contender: str, tasks: list[str], seeds: list[int], of: Callable[[list[float]], float]) -> str:
    """Median over tasks and seeds of the ratio to the constant schedule at the same rates, and its quartiles."""
    pairs = [
        (found[task, contender, 1.0, seed], found[task, "constant", 1.0, seed]) for task in tasks for seed in seeds
    ]
    ratios = [math.exp(of(own) - of(constant)) for own, constant in pairs]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"


def sensitivity(found: Found, contender: str, tasks: list[str], factors: list[float], seeds: list[int]) -> str:
    """Over windows of thirty times in the rate (33 from 0.3): median KID at the worst factor over the best, by task."""
    windows = [[f for f in factors if low <= f <= 34 * low] for low in factors if 30 * low <= factors[-1] * 1.01]
    cells = []
    for task in tasks:
        middle = {f: statistics.median(found[task, contender, f, seed][-1] for seed in seeds) for f in factors}
        middle = {f: max(kid, 1e-3) for f, kid in middle.items()}
        cells.append("/".join(f"{max(middle[f] for f in w) / min(middle[f] for f in w):.1f}" for w in windows))
    return ", ".join(cells)


def failures(found: Found, contender: str) -> str:
    """Share of the runs of all factors."""
    failed = [
        kids[-1] >= min(FAILED * max(found[task, "constant", 1.0, seed][-1], 1e-3), WORST)
        for (task, name, _, seed), kids in found.items()
        if name == contender
    ]
    return f"{sum(failed)} of {len(failed)}"


def spread(values: list[float]) -> str:
    """Median (smallest..largest)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}..{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--factors", nargs="+", type=float, default=[0.1, 0.3, 1.0, 3.0, 10.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", default="32k")
    parser.add_argument("--size", type=int, default=16, help="side that images are resampled to")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the .npz files")
    parser.add_argument("--output", type=Path, default=RESULTS / "schedules")
    parser.add_argument("--draw", type=Path, metavar="PNG", help="draw the learned schedule on the first task instead")
    chosen = parser.parse_args()
    chosen.images = int(parse_images(chosen.images))
    warn_when_busy()
    cache_programs()
    if chosen.draw:
        draw(chosen.tasks[0], chosen, chosen.draw)
        return
    bench = Bench(chosen.output.resolve())
    found: Found = {}
    for seed in chosen.seeds:
        for task in chosen.tasks:
            for contender in chosen.contenders:
                for factor in chosen.factors:
                    key = {"task": task, "contender": contender, "factor": factor, "seed": seed}
                    key |= {"images": chosen.images, "size": chosen.size}
                    of = (task, contender, factor, seed)
                    found[of] = bench.once(key, lambda of=of: one(*of, chosen))["kids"]
    print(tables(found))


if __name__ == "__main__":
    main()
