"""Whole runs from learned and from fresh weights: validation families choose the recipe, test families are run once.

    python benchmarks/quality/pretrained_runs.py --data ../shared/data --size 64 --images 24000 --out runs.jsonl

Members of a population share one compiled program (`vmap`; convolutions as matrix products) and differ by family,
weights to begin with, rate, gamma and seed. Every line of the file is one run at one moment. The judges are the
package's embeddings and a classifier trained on the very families that it judges. Meant for an accelerator: on one H100
the whole of docs/log/2026-11-27-learned-weights-whole-runs.md, both sizes and five times the images as well, took four
minutes besides compiling.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.common.families import families, read_family
from mulligan.game.step import Data, GanState, initial_state, to_bytes
from mulligan.meta.space.default import INIT
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.networks.architecture import build
from mulligan.networks.convolution import lowered
from mulligan.networks.pretrained import architectures, initial_networks, load_initial
from mulligan.recipe import Hyperparameters, Recipe
from mulligan.training.engine import chunk, make_game
from tools.pretrain import resized

TRAIN, HELD, FAKES = 512, 300, 400  # images of a family that train, that judge, and that are generated
STEPS = 25  # a compiled chunk
MOMENTS = (0.125, 0.25, 0.5, 1.0)  # of a run, at which it is judged
RATES, GAMMAS, BEGINNINGS = (5e-4, 1e-3, 2e-3, 4e-3), (0.5, 2.0), ("fresh", "both")
SEEDS = (1, 2, 3)  # on test families
LEAST = 2e-3  # below it a KID of so few images is noise


@dataclass(frozen=True)
class Member:
    """One run: what it trains on, what it begins with (`fresh`, `gen`, `disc` or `both` learned), and its numbers."""

    family: str
    init: str
    rate: float
    gamma: float
    seed: int = 1


@dataclass(frozen=True)
class Family:
    """Images that train and images that judge, uint8 `[n, size, size, 3]`, and classes of those that train."""

    train: np.ndarray
    held: np.ndarray
    labels: np.ndarray

    @staticmethod
    def read(zoo: Path, name: str, size: int) -> Family:
        stored = read_family(zoo, name)
        order = np.random.default_rng(1).permutation(len(stored.images))
        cut = min(TRAIN, int(0.62 * len(order)))
        train, held = order[:cut], order[cut:]
        images = resized(stored.images, size)
        return Family(filled(images[train], TRAIN), filled(images[held], HELD), filled(stored.labels[train], TRAIN))


def filled(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows: repeated where there are fewer."""
    return rows[np.arange(count) % len(rows)]


class Population:
    """`members` GANs of the narrowest pretrained architecture for images of this size, as one program."""

    def __init__(self, size: int, members: int):
        self.shape, self.members = (size, size, 3), members
        architecture = architectures(INIT, self.shape)[0]
        numbers = Hyperparameters(augment=0.3)
        self.recipe = Recipe(architecture, init=INIT, augmentation=("translate",), hyperparameters=numbers)
        self.game = make_game(self.recipe, self.shape, 0, 1e9)
        self.learned = load_initial(self.recipe, self.shape)
        self.start = jax.jit(jax.vmap(self._start, in_axes=(0, 0, 0, 0)))
        self.run = jax.jit(jax.vmap(self._run), donate_argnums=0)
        self.draw = jax.jit(jax.vmap(self._draw, in_axes=(0, None)))

    def _start(self, seed: Any, use_gen: Any, use_disc: Any, numbers: Hyperparameters) -> GanState:
        keys = jax.random.split(jax.random.key(seed))
        fresh = build(self.recipe.architecture, self.shape, 0, keys[0])
        learned = initial_networks(self.recipe, self.shape, 0, keys[0], self.learned)
        gen = jax.tree.map(lambda a, b: jnp.where(use_gen, a, b), learned.gen, fresh.gen)
        disc = jax.tree.map(lambda a, b: jnp.where(use_disc, a, b), learned.disc, fresh.disc)
        return initial_state(self.game, gen, disc, numbers, keys[1])

    def _run(self, state: GanState, data: Data) -> Any:
        with lowered("matmul"):
            return chunk(self.game, state, data, STEPS)

    def _draw(self, gen: Any, latents: Any) -> Any:
        with lowered("matmul"):
            return to_bytes(gen(latents))

    def begin(self, runs: Sequence[Member]) -> GanState:
        numbers = self.recipe.hyperparameters
        of = {"gen_lr": "rate", "disc_lr": "rate", "gamma": "gamma"}
        values = [
            [getattr(run, of[name]) if name in of else getattr(numbers, name) for run in runs]
            for name in numbers._fields
        ]
        return self.start(
            jnp.array([run.seed for run in runs]),
            jnp.array([run.init in ("gen", "both") for run in runs]),
            jnp.array([run.init in ("disc", "both") for run in runs]),
            Hyperparameters(*(jnp.array(row, jnp.float32) for row in values)),
        )

    def train(self, runs: Sequence[Member], images: np.ndarray, nimg: int) -> Iterator[tuple[float, np.ndarray]]:
        """Trains all runs; yields each of `MOMENTS` with what they draw, `[members, FAKES, ...]`."""
        state, data = self.begin(runs), Data(jnp.asarray(images))
        rates = np.array([run.rate for run in runs], np.float32)
        steps = math.ceil(nimg / self.recipe.batch / STEPS) * STEPS
        due = list(MOMENTS)
        for done in range(0, steps, STEPS):
            now = rates * 0.5 * (1 + math.cos(math.pi * done / steps)) * min(1.0, 0.1 + done / 20)
            initial = state.schedule.initial._replace(gen_lr=jnp.array(now), disc_lr=jnp.array(now))
            state, _ = self.run(state._replace(schedule=state.schedule._replace(initial=initial)), data)
            while due and (done + STEPS) / steps >= due[0]:
                yield due.pop(0), self.drawn(state)

    def drawn(self, state: GanState) -> np.ndarray:
        gen = self.game.averager.value(state.averages)["ema"]
        batches = (jax.random.normal(jax.random.key(70 + i), (100, 64)) for i in range(FAKES // 100))
        return np.concatenate([np.asarray(self.draw(gen, latents)) for latents in batches], axis=1)


@dataclass
class Classifier:
    """Features of a small convolutional network, trained on the classes of the very families that it judges."""

    known: dict[str, Family]
    steps: int
    weights: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels, base = [], 0
        for family in self.known.values():
            labels.append(family.labels + base)
            base += int(family.labels.max()) + 1
        images = jnp.asarray(np.concatenate([family.train for family in self.known.values()]))
        classes = jnp.asarray(np.concatenate(labels))
        rng, channels = np.random.default_rng(5), (3, 24, 48, 96, 128)
        shapes = {f"conv{i}": (3, 3, a, b) for i, (a, b) in enumerate(pairwise(channels))}
        shapes |= {"dense": (16 * channels[-1], 128), "head": (128, base)}
        drawn = {name: rng.normal(size=shape) * math.sqrt(2 / math.prod(shape[:-1])) for name, shape in shapes.items()}
        weights: Any = {name: jnp.asarray(value, jnp.float32) for name, value in drawn.items()}
        optimiser = optax.adamw(optax.cosine_decay_schedule(2e-3, self.steps), weight_decay=1e-2)

        @jax.jit
        def step(weights, state, key):
            rows, shift = jax.random.split(key)
            chosen = jax.random.randint(rows, (256,), 0, len(images))
            moved = jnp.roll(images[chosen], jax.random.randint(shift, (2,), -3, 4), (1, 2))

            def loss(weights):
                logits = features(weights, moved) @ weights["head"]
                return optax.softmax_cross_entropy_with_integer_labels(logits, classes[chosen]).mean()

            updates, state = optimiser.update(jax.grad(loss)(weights), state, weights)
            return optax.apply_updates(weights, updates), state

        state = optimiser.init(weights)
        for index in range(self.steps):
            weights, state = step(weights, state, jax.random.key(index))
        self.weights = weights

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(features(self.weights, jnp.asarray(images)))


@jax.jit
def features(weights: dict[str, Any], images: Any) -> Any:
    x = images.astype(jnp.float32) / 127.5 - 1
    for layer in range(4):
        x = jax.lax.conv_general_dilated(
            x, weights[f"conv{layer}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        n, h, w, c = x.shape
        x = jax.nn.relu(x)
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)) if h > 4 else x
    return jax.nn.relu(x.reshape(len(x), -1) @ weights["dense"])


def kid(real: np.ndarray, fake: np.ndarray) -> float:
    """KID of features standardised by the real ones, whose quiet directions are not to drown the others."""
    centre, spread = real.mean(0), real.std(0) + 0.1 * real.std(0).mean() + 1e-6
    return float(mmd2_unbiased(jnp.asarray((real - centre) / spread), jnp.asarray((fake - centre) / spread)))


def study(
    population: Population, known: dict[str, Family], runs: Sequence[Member], nimg: int, judges: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every run at every moment, a population at a time."""
    for start in range(0, len(runs), population.members):
        some = list(runs[start : start + population.members])
        crew = [*some, *some[:1] * (population.members - len(some))]
        images = np.stack([known[run.family].train for run in crew])
        for moment, fakes in population.train(crew, images, nimg):
            for run, drawn in zip(some, fakes, strict=False):
                held = known[run.family].held
                kids = {name: kid(judge(held), judge(drawn)) for name, judge in judges.items()}
                yield {**asdict(run), "size": population.shape[0], "moment": moment, "nimg": nimg, **kids}


def best(rows: Sequence[dict[str, Any]], judges: Sequence[str]) -> dict[str, tuple[float, float]]:
    """For each beginning, the rate and gamma of the lowest mean log KID, families and judges weighing the same."""
    ends = [row for row in rows if row["moment"] == 1.0]
    means: dict[tuple[str, float, float], list[float]] = {}
    for row in ends:
        value = float(np.mean([math.log(max(row[judge], LEAST)) for judge in judges]))
        means.setdefault((row["init"], row["rate"], row["gamma"]), []).append(value)
    ranked = sorted((float(np.mean(values)), row) for row, values in means.items())
    return {init: next(row[1:] for _, row in ranked if row[0] == init) for init in BEGINNINGS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, choices=(32, 64), required=True)
    parser.add_argument("--images", type=int, required=True, help="of each run")
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--classifier-steps", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    population = Population(options.size, options.members)
    embeddings = {f"kid@{name}": load_embedding(name) for name in ("m1", "m2")}
    chosen: dict[str, tuple[float, float]] = {}
    with options.out.open("a") as file:
        for role in ("validation", "test"):
            known = {name: Family.read(options.data / "zoo", name, options.size) for name in families(role)}
            judges = {**embeddings, "kid@own": Classifier(known, options.classifier_steps)}
            each = [(init, rate, gamma, 1) for init in BEGINNINGS for rate in RATES for gamma in GAMMAS]
            if role == "test":
                each = [(init, *chosen[init], seed) for init in BEGINNINGS for seed in SEEDS]
            runs = [Member(name, *row) for name in known for row in each]
            rows = []
            for row in study(population, known, runs, options.images, judges):
                rows.append(row)
                file.write(json.dumps({"role": role, **row}) + "\n")
                file.flush()
            chosen = chosen or best(rows, tuple(judges))
            print(role, chosen)


if __name__ == "__main__":
    main()
