"""What an accelerator brings: populations, several devices, and bfloat16, each as a ratio within one run.

    .venv/bin/python benchmarks/speed/devices.py --pytorch PYTHON  # under 8 minutes of one GPU; PYTHON has torch
    .venv/bin/python benchmarks/speed/devices.py --small           # a minute or two of a CPU: that it runs, no more

Three questions. How many member-steps a second does a population make against its members one after the other, here and
in PyTorch on the same device? How many steps a second do several devices make against one of them? And bfloat16 against
float32: steps a second by image size, then KID after equal seconds. What is compared takes turns; medians count. On one
device the second question is passed over; with `XLA_FLAGS=--xla_force_host_platform_device_count=8` a CPU stands for
eight.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.places import RESULTS as ROOM
from benchmarks.speed.contenders.mulligan import recipe as recipe_of
from benchmarks.speed.throughput import Process
from benchmarks.speed.workload import WORKLOADS, Workload
from mulligan.game.step import Data
from mulligan.recipe import Architecture, Recipe
from mulligan.tasks.images import read_task
from mulligan.training.device import cache_programs, machine
from mulligan.training.engine import Sampler, compile_engine, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.mesh import VARIABLE, data_mesh, member_mesh, on_mesh, replicated
from mulligan.training.population import compile_population, stacked

RESULTS = ROOM / "devices.json"
LAYOUT = "contiguous"  # of PyTorch: in the other its compiler states the strides of a convolution's gradient wrongly
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    workload: Workload  # of the population, and of PyTorch
    members: tuple[int, ...]
    sides: tuple[int, ...]  # of images, for several devices and precision
    wide: Recipe  # that is trained on them
    turn: float  # seconds of one measurement
    rounds: int
    kid: tuple[str, int, float, tuple[int, ...]]  # task, side, seconds of training, seeds
    fakes: int  # images that KID judges
    pytorch: Path | None = None  # a Python that has it; None leaves it out


FULL = Plan(
    workload=WORKLOADS["dcgan-r1r2"],
    members=(16, 64),
    sides=(28, 64, 128),
    wide=Recipe(batch=64),
    turn=1.0,
    rounds=3,
    kid=("textures", 64, 15.0, (0, 1)),
    fakes=1000,
)
_NARROW = Architecture(gen_width=4, disc_width=4, latent=8)
SMALL = Plan(
    workload=Workload("small", family="conv", width=4, loss="relativistic", gamma=0.5, latent=8, batch=8, height=8),
    members=(4,),
    sides=(8, 16),
    wide=Recipe(_NARROW, batch=8),
    turn=0.2,
    rounds=2,
    kid=("digits/1", 8, 2.0, (0,)),
    fakes=100,
)


class Training:
    """Something that trains, of one member or many, and how fast it does."""

    def __init__(self, engine: Any, state: Any, data: Data, members: int = 1):
        self.engine, self.state, self.data, self.members = engine, state, data, members
        self.step_seconds = self.seconds(1) and self.seconds(1)  # the first call loads the program

    def seconds(self, steps: int) -> float:
        began = time.monotonic()
        self.state, info = self.engine.chunk(self.state, self.data, steps)
        jax.block_until_ready(info)
        return time.monotonic() - began

    def speed(self, seconds: float) -> float:
        """Member-steps a second."""
        steps = max(1, int(seconds / self.step_seconds))
        self.step_seconds = self.seconds(steps) / steps
        return self.members / self.step_seconds


def alone(recipe: Recipe, images: np.ndarray, devices: int = 1) -> Training:
    """One state, whose batches so many devices share."""
    os.environ[VARIABLE] = str(devices)
    game = make_game(recipe, images.shape[1:], 0, 1e6)
    game = on_mesh(game, data_mesh(recipe.batch, images.shape[1:]))
    state, data = start_state(game, recipe, images.shape[1:], 0, 0), replicated(Data(jnp.asarray(images)), game.mesh)
    return Training(compile_engine(game, state, data), state, data)


def population(recipe: Recipe, images: np.ndarray, members: int, devices: int = 1) -> Training:
    """Members that differ by their seeds, and that so many devices share."""
    os.environ[VARIABLE] = str(devices)
    game = make_game(recipe, images.shape[1:], 0, 1e6)
    states = stacked([start_state(game, recipe, images.shape[1:], 0, seed) for seed in range(members)])
    data = Data(jnp.asarray(images))
    return Training(compile_population(game, states, data, member_mesh(members)), states, data, members)


def in_turns(made: dict[str, Any], plan: Plan) -> dict[str, float]:
    """Median member-steps a second of each."""
    found: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(plan.rounds):
        for name, training in made.items():
            found[name].append(training.speed(plan.turn))
    return {name: float(np.median(speeds)) for name, speeds in found.items()}


def told(title: str, figures: dict[str, float], unit: str = "a second") -> dict[str, Any]:
    """Prints figures, and their ratios to the first."""
    first = next(iter(figures.values()))
    print(f"\n{title}\n| | {unit} | ratio |\n|---|---|---|")
    for name, figure in figures.items():
        print(f"| {name} | {figure:.4g} | {figure / first:.2f} |", flush=True)
    return {"question": title, unit: figures, "ratios": {name: figure / first for name, figure in figures.items()}}


class PyTorch:
    """Runs of the workload, one after the other, in a process of PyTorch's on the same device."""

    def __init__(self, python: Path, form: str, workload: Workload, stack: ExitStack):
        log = ROOM / f"devices-pytorch-{form}.log"
        arguments = ("benchmarks.peers.pytorch", workload.to_json(), form, LAYOUT)
        self._process = stack.enter_context(Process(python, *arguments, log=log, environment={}))
        self._process.warm(1.0)

    def speed(self, seconds: float) -> float:
        """Steps a second."""
        steps = max(1, round(self._process.steps * seconds))  # a second's number of them
        spent = self._process.ask(f"run {steps}")["seconds"]
        self._process.steps = max(1, round(steps / spent))
        return steps / spent


def populations(plan: Plan) -> list[dict[str, Any]]:
    side, here, recipe = plan.workload.height, jax.device_count(), recipe_of(plan.workload)
    images = random_images((side, side, plan.workload.channels))
    with ExitStack() as stack:
        made: dict[str, Any] = {"one after the other": alone(recipe, images)}
        for form in ("eager", "compiled") if plan.pytorch else ():
            made[f"PyTorch, {form}, one after the other"] = PyTorch(plan.pytorch, form, plan.workload, stack)
        made |= {f"{members} at once": population(recipe, images, members) for members in plan.members}
        if here > 1:
            most = max(plan.members)
            made[f"{most} at once on {here} devices"] = population(recipe, images, most, here)
        return [told(f"Member-steps of {side}x{side} images", in_turns(made, plan))]


def several_devices(plan: Plan) -> list[dict[str, Any]]:
    here = jax.device_count()
    if here == 1:
        print("\nOne device: there is nobody to share batches with.")
        return []
    found = []
    for side in plan.sides:
        made = {f"{number} devices": alone(plan.wide, random_images((side, side, 3)), number) for number in (1, here)}
        found.append(told(f"Steps of {side}x{side} images, batch {plan.wide.batch}", in_turns(made, plan)))
    return found


def precision(plan: Plan) -> list[dict[str, Any]]:
    found = []
    for side in plan.sides:
        images = random_images((side, side, 3))
        made = {name: alone(replace(plan.wide, precision=name), images) for name in PRECISIONS}
        found.append(told(f"Steps of {side}x{side} images by precision", in_turns(made, plan)))
    source, side, seconds, seeds = plan.kid
    task = read_task(source, size=side)
    evaluator = replace(Evaluator.make(task, Sampler.make(plan.wide.architecture, 0), "validation"), n=plan.fakes)
    for seed in seeds:
        wide = {name: replace(plan.wide, precision=name) for name in PRECISIONS}
        kids = {name: kid_after(seconds, recipe, task, evaluator, seed) for name, recipe in wide.items()}
        found.append(told(f"KID on {source} at {side}x{side} after {seconds:g} s, seed {seed}", kids, "KID"))
    return found


def kid_after(seconds: float, recipe: Recipe, task: Any, evaluator: Evaluator, seed: int) -> float:
    """KID of the averaged generator after so many seconds of training alone."""
    game = make_game(recipe, task.shape, 0, 1e6)
    state, data = start_state(game, recipe, task.shape, 0, seed), Feed(task.train, False, seed, 0).data(0)
    training = Training(compile_engine(game, state, data), state, data)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        training.speed(min(left, 1.0))
    gen = game.averager.value(training.state.averages)["ema"]
    print(f"{recipe.precision}: {int(training.state.nimg):,} images in {seconds:g} s", flush=True)
    return evaluator(gen)["kid"]


def random_images(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2000, *shape), np.uint8)


QUESTIONS: dict[str, Callable[[Plan], list[dict[str, Any]]]] = {
    "populations": populations,
    "devices": several_devices,
    "precision": precision,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny networks and short turns: that it runs")
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--pytorch", type=Path, metavar="PYTHON", help="that has torch; without it PyTorch is left out")
    chosen = parser.parse_args()
    cache_programs()
    began, plan = time.monotonic(), replace(SMALL if chosen.small else FULL, pytorch=chosen.pytorch)
    ROOM.mkdir(exist_ok=True)
    print(f"{jax.device_count()} x {machine()['device']}, jax {jax.__version__}")
    found: list[dict[str, Any]] = []
    for name in chosen.only:
        found += QUESTIONS[name](plan)
        print(f"({name}: {time.monotonic() - began:.0f} s since the start)", flush=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "small": chosen.small, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
