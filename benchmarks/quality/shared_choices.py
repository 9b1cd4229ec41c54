"""What all recipes share: does another game, optimiser or network end nearer to reality in as many seconds of a core?

    python benchmarks/quality/shared_choices.py speed                 # images a second of each, by turns
    python benchmarks/quality/shared_choices.py run --images 72000 --seeds 0 1
    python benchmarks/quality/shared_choices.py table --images 72000
    python benchmarks/quality/shared_choices.py run --side 64 --seconds 180 --contenders plain 'batch 16'
    python benchmarks/quality/shared_choices.py run --side 64 --images 20000 --weights FILE --contenders plain learned

A contender is what `fit` does at this size and budget but for one choice. Each run trains on as many images as it sees
while the plain recipe sees `--images` (its `cost`, by the first command), or what that sees in `--seconds` of a core by
the table of speeds. `learned` and `half learned` begin with weights of the plain recipe's networks (`tools/pretrain.py`
makes such files), or with half of them and half of fresh ones. The average of width 0.05 is judged, by images of the
family that no run sees: the features of a classifier of that family alone, two random networks, pixels at 8x8, m1, and
patches of edges. What is done is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon
from sklearn.cluster import KMeans

from benchmarks.common.families import families
from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import by_law, images_in
from benchmarks.metrics.judges import in_batches, pixel_space
from benchmarks.quality.fit_against_fresh import (
    COLUMNS,
    FAKES,
    INDEPENDENT,
    SHOWN,
    SPACES,
    Judged,
    log_ratio,
    of_family,
)
from mulligan.game.step import Data, Game
from mulligan.grid import save_grid
from mulligan.meta.space.default import default_recipe
from mulligan.metrics.embed import load_embedding
from mulligan.networks.architecture import Networks, build
from mulligan.networks.layers import ImageShape
from mulligan.networks.parameters import named_parameters, with_parameters
from mulligan.networks.refit import refit
from mulligan.networks.resampling import halvings
from mulligan.recipe import Architecture, Form, Recipe
from mulligan.training.budget import Budget
from mulligan.training.engine import Engine, Sampler, compile_engine, make_game, start_state
from tools.pretrain import read_weights

ROWS = 2500  # of the training images' array: families of one shape share a program
AVERAGE = "power_05"


@dataclass(frozen=True)
class Contender:
    """A choice that all recipes share.

    Attributes:
      architecture: fields of it that differ.
      numbers: hyperparameters that differ.
      rates: what both learning rates are multiplied by.
      recipe: other fields that differ.
      game: what is changed once the recipe has become a game.
      schedules: of further hyperparameters.
      clusters: classes that images without labels are given.
      learned: the share of `--weights` that both players begin with; the rest is of fresh ones.
      fresh: what of the players keeps fresh weights, by how the names of parameters begin.
      cost: seconds an image over the plain recipe's; 1 for those that do as much work. To be measured before it runs.
    """

    architecture: dict[str, Any] = dataclasses.field(default_factory=dict)
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    rates: float = 1.0
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    game: Callable[[Game], Game] = lambda game: game
    schedules: tuple[tuple[str, Form], ...] = ()
    clusters: int = 0
    learned: float = 0.0
    fresh: tuple[str, ...] = ()
    cost: float = 1.0

    def of(self, plain: Recipe) -> Recipe:
        numbers = plain.hyperparameters
        rates = {"gen_lr": numbers.gen_lr * self.rates, "disc_lr": numbers.disc_lr * self.rates}
        return replace(
            plain,
            architecture=replace(plain.architecture, **self.architecture),
            hyperparameters=numbers._replace(**rates | self.numbers),
            schedules=plain.schedules + self.schedules,
            **self.recipe,
        )


def with_muon(size: float, momentum: float) -> Callable[[Game], Game]:
    """Muon for kernels and matrices, Adam for the rest; its moves have `size` times Adam's mean square."""

    def optimiser(rate: Any, beta1: Any, beta2: Any) -> optax.GradientTransformation:
        return muon(
            rate,
            beta=momentum,
            consistent_rms=size,
            adam_b1=beta1,
            adam_b2=beta2,
            muon_weight_dimension_numbers=lambda params: jax.tree.map(_dimensions, params),
        )

    return lambda game: replace(game, optimiser=optimiser)


def _dimensions(leaf: Any) -> MuonDimensionNumbers | None:
    """A kernel `[k, k, in, out]` is a matrix from all of a window to the outputs."""
    if leaf.ndim == 2:
        return MuonDimensionNumbers(0, 1)
    return MuonDimensionNumbers((0, 1, 2), 3) if leaf.ndim == 4 else None


def of_width(width: int, cost: float, learned: float = 0.0, **others: Any) -> Contender:
    both = {"gen_width": width, "disc_width": width}
    return Contender(architecture=both, recipe=others, cost=cost, learned=learned)


BOTH = ("gen", "disc")
CONTENDERS: dict[str, Contender] = {
    "plain": Contender(),
    "minibatch std": Contender(architecture={"minibatch_std": True}, cost=1.17),
    "8 clusters": Contender(clusters=8),
    "32 clusters": Contender(clusters=32),
    "muon 0.2": Contender(game=with_muon(0.2, 0.9), cost=1.29),
    "muon 0.5": Contender(game=with_muon(0.5, 0.9), cost=1.29),
    "beta1 0.5": Contender(numbers={f"{player}_beta1": 0.5 for player in BOTH}),
    "beta2 0.5": Contender(numbers={f"{player}_beta2": 0.5 for player in BOTH}),
    "beta2 0.9": Contender(numbers={f"{player}_beta2": 0.9 for player in BOTH}),
    "beta2 0.9 to 0.99": Contender(
        numbers={f"{player}_beta2": 0.9 for player in BOTH},
        schedules=tuple((f"{player}_beta2", Form("linear", final=1.1)) for player in BOTH),
    ),
    "gamma falls": Contender(numbers={"gamma": 4.0}, schedules=(("gamma", Form("cosine", final=0.1)),)),
    "beta2 0.999": Contender(numbers={f"{player}_beta2": 0.999 for player in BOTH}),
    "residual": Contender(architecture={"family": "residual", "gen_depth": 1, "disc_depth": 1, "kernel": 3}),
    "deeper": Contender(architecture={"gen_depth": 1, "disc_depth": 1, "gen_width": 12, "disc_width": 12}, cost=1.61),
    "wide generator": Contender(architecture={"gen_width": 24}, cost=1.1),
    "wide discriminator": Contender(architecture={"disc_width": 24}, cost=1.46),
    "bilinear": Contender(architecture={"resampling": "bilinear", "kernel": 3}),
    "folded": Contender(architecture={"resampling": "folded", "kernel": 3}),
    "filtered": Contender(architecture={"resampling": "filtered", "kernel": 3}, cost=1.02),  # over folded networks
    "strided": Contender(architecture={"resampling": "strided", "kernel": 4}),
    "latent 16": Contender(architecture={"latent": 16}),
    "latent 256": Contender(architecture={"latent": 256}),
    "matching 0.3": Contender(recipe={"matching": 0.3}, cost=1.05),
    "unaugmented": Contender(numbers={"augment": 0.0}),
    "augmented twice as often": Contender(numbers={"augment": 0.6}),
    "two discriminator steps": Contender(recipe={"disc_steps": 2}),
    "relu": Contender(architecture={"activation": "relu"}),
    "simultaneous": Contender(recipe={"dynamics": "simultaneous"}, cost=0.82),
    "optimistic": Contender(recipe={"dynamics": "optimistic"}, cost=0.82),
    "optimistic, batch 8": Contender(recipe={"dynamics": "optimistic", "batch": 8}, cost=0.82),
    "batch 4": Contender(recipe={"batch": 4}, cost=1.08),
    "batch 4, half the rates": Contender(rates=0.5, recipe={"batch": 4}, cost=1.08),
    "batch 8": Contender(recipe={"batch": 8}),
    "batch 16": Contender(recipe={"batch": 16}),
    "batch 64": Contender(recipe={"batch": 64}),
    "twice the rates": Contender(rates=2.0),
    "critics": Contender(recipe={"features": "imagenet-1"}, cost=1.35),
    "critics, batch 16": Contender(recipe={"features": "imagenet-1", "batch": 16}, cost=1.35),
    "critics, width 16": Contender(recipe={"features": "imagenet-1"}, cost=1.12),
    "learned": Contender(learned=1.0),
    "learned, batch 16": Contender(learned=1.0, recipe={"batch": 16}),
    "half learned": Contender(learned=0.5),
    "learned, fresh map": Contender(learned=1.0, fresh=("gen.layers.0.",)),  # from latents to the coarsest map
    "learned, matching 0.3": Contender(learned=1.0, recipe={"matching": 0.3}, cost=1.05),
    "learned generator": Contender(learned=1.0, fresh=("disc.",)),
    "learned, width 16": of_width(16, 2.9, learned=1.0, batch=8),  # where the plain recipe has width 8
    "width 8": of_width(8, 0.345, batch=32),  # at 64x64 and five minutes, by an idle core; 0.57 beside another run
    "width 32": of_width(32, 2.3),
    "width 32, batch 8": of_width(32, 2.4, batch=8),
    "width 32, batch 64": of_width(32, 2.3, batch=64),
}


def plain_recipe(shape: ImageShape, count: int, nimg: int, seconds: float | None) -> tuple[Recipe, int]:
    """What `fit` trains on `count` images, and how many it sees: so many, or what a core does in so many seconds."""
    if seconds is None:
        return default_recipe(shape, count, Budget(seconds=None, images=nimg)), nimg
    recipe = by_law(shape, count, seconds)
    return recipe, images_in(seconds, shape[0], recipe.architecture)


class Run:
    """A contender on training images of one family, ready to train."""

    def __init__(
        self,
        name: str,
        images: np.ndarray,
        nimg: int,
        seed: int,
        seconds: float | None = None,
        weights: Path | None = None,
    ):
        contender, shape = CONTENDERS[name], images.shape[1:]
        plain, nimg = plain_recipe(shape, len(images), nimg, seconds)
        self.recipe, self.classes = contender.of(plain), contender.clusters
        self.nimg = int(nimg / contender.cost)
        self.game = contender.game(make_game(self.recipe, shape, self.classes, self.nimg))
        self.labels = _clusters(images, self.classes) if self.classes else None
        self.data = data_of(images, self.labels)
        players = players_from(weights, self.recipe.architecture, shape, contender, seed)
        self.state = start_state(self.game, self.recipe, shape, self.classes, seed, players)
        self.engine: Engine = compile_engine(self.game, self.state, self.data)

    def advance(self, steps: int) -> bool:
        """Trains; whether all numbers are finite."""
        self.state, info = self.engine.chunk(self.state, self.data, steps)
        return bool(info.finite)

    @property
    def steps(self) -> int:
        return math.ceil(self.nimg / self.recipe.batch / self.recipe.disc_steps)

    def draw(self) -> np.ndarray:
        sampler = Sampler.make(self.recipe.architecture, self.classes)
        labels = None
        if self.labels is not None:
            labels = self.labels[np.random.default_rng(1).integers(len(self.labels), size=FAKES)]
        gen = self.game.averager.value(self.state.averages)[AVERAGE]
        return sampler(gen, sampler.latents(FAKES, 1), labels)


def players_from(
    weights: Path | None, architecture: Architecture, shape: ImageShape, contender: Contender, seed: int
) -> Networks | None:
    """Players with the contender's share of the weights of a file that `tools/pretrain.py` made; None where it is 0."""
    share = contender.learned
    if not share:
        return None
    assert weights, "name the --weights that contenders begin with"
    card = json.loads(weights.with_suffix(".json").read_text())
    before, (h, w, c) = Architecture(**card["architecture"]), card["shape"]
    blank = build(before, (h, w, c), 0, jax.random.key(0))
    arrays = {name: jnp.asarray(array) for name, array in read_weights(weights).items()}
    learned, fresh = with_parameters(blank, arrays), build(architecture, shape, 0, jax.random.key(seed))
    ends = halvings((h, w), before.coarsest)[-1], halvings(shape[:2], architecture.coarsest)[-1]
    fitted = refit(learned, ends[0], fresh, ends[1])
    mixed = jax.tree.map(lambda old, new: share * old + (1 - share) * new, fitted, fresh)
    kept = {name: leaf for name, leaf in named_parameters(fresh).items() if name.startswith(contender.fresh)}
    return with_parameters(mixed, named_parameters(mixed) | kept)


def data_of(images: np.ndarray, labels: np.ndarray | None = None) -> Data:
    """Images of a family, each with the same chance, in an array as long as any family's."""
    rows = np.arange(ROWS) % len(images)
    chances = np.cumsum(np.arange(ROWS) < len(images), dtype=np.float32)
    given = None if labels is None else jnp.asarray(labels[rows], jnp.int32)
    return Data(jnp.asarray(images[rows]), given, jnp.asarray(chances))


def _clusters(images: np.ndarray, count: int) -> np.ndarray:
    """Classes of images, by k-means in the features of m1 and pixels at 8x8."""
    spaces = (in_batches(load_embedding("m1").features), pixel_space)
    beside = np.concatenate([features(images) for features in spaces], axis=1)
    return KMeans(count, random_state=0).fit_predict(beside).astype(np.int64)


def measured(
    name: str,
    judged: Judged,
    seed: int,
    nimg: int,
    picture: Path,
    seconds_in_all: float | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    run = Run(name, judged.train, nimg, seed, seconds_in_all, weights)
    began = time.process_time()
    finite = run.advance(run.steps)
    took = time.process_time() - began
    fakes = run.draw()
    save_grid(picture, fakes[:SHOWN], columns=COLUMNS)
    return {"trained": run.nimg, "took": round(took, 1), "finite": finite, "judged": judged.judge(fakes)}


Measure = Callable[[str, Judged, int, int, Path], dict[str, Any]]  # of a contender, judges, a seed, images, a picture


def work(options: argparse.Namespace, bench: Bench, name: str, seed: int, measure: Measure) -> None:
    """Every contender on one family, if its images are as large as that."""
    keys = [
        {"family": name, "side": options.side, "images": options.images, "of": of, "seed": seed}
        for of in options.contenders
    ]
    of_family(options, bench, keys, lambda of, judged, picture: measure(of, judged, seed, options.images, picture))


def run_or_show(options: argparse.Namespace, measure: Callable[..., dict[str, Any]]) -> None:
    """Every contender on every family, or the table of what is done; runs by seconds are kept by these.

    Args:
      measure: as `measured`.
    """
    options.images = options.images if options.seconds is None else f"{options.seconds} s"
    if options.what == "table":
        table(options)
        return
    bench, of_length = Bench(options.output), partial(measure, seconds_in_all=options.seconds)
    for seed, name in product(options.seeds, options.families):
        work(options, bench, name, seed, of_length)


def speed(options: argparse.Namespace) -> None:
    """Processor seconds for as many images, over the plain recipe's, by turns."""
    images = np.random.default_rng(0).integers(0, 256, (1500, options.side, options.side, 3)).astype(np.uint8)
    runs = {name: Run(name, images, options.images, 0) for name in options.contenders}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            began = time.process_time()
            run.advance(100)
            took[name].append((time.process_time() - began) / (100 * run.recipe.batch * run.recipe.disc_steps))
    plain = took[options.contenders[0]]
    for name, seconds in took.items():
        ratios = [a / b for a, b in zip(seconds, plain, strict=True)]
        print(f"{name:28} {1 / statistics.median(seconds):6.0f} images/s, cost {statistics.median(ratios):.2f}")


def table(options: argparse.Namespace) -> None:
    """Mean log ratio of each contender's distance to the plain recipe's, and 95% over families and seeds."""
    rows = [
        row for row in Bench(options.output).results if (row["side"], row["images"]) == (options.side, options.images)
    ]
    plain = {(row["family"], row["seed"]): row for row in rows if row["of"] == "plain"}
    print(f"| contender | runs | three judges | better | {' | '.join(SPACES)} |\n" + "|---" * (4 + len(SPACES)) + "|")
    for of in dict.fromkeys(row["of"] for row in rows if row["of"] != "plain"):
        pairs = [
            (row, plain[key]) for row in rows if row["of"] == of and (key := (row["family"], row["seed"])) in plain
        ]
        if not pairs:
            continue
        judged = [(row["family"], row["judged"], base["judged"]) for row, base in pairs]
        three = [(family, log_ratio(ours, theirs, INDEPENDENT)) for family, ours, theirs in judged]
        middle, low, high = map(math.exp, interval(three))
        each = [[log_ratio(ours, theirs, (space,)) for _, ours, theirs in judged if space in ours] for space in SPACES]
        cells = [f"{math.exp(float(np.mean(logs))):.2f}" if logs else "-" for logs in each]
        better = sum(ratio < 0 for _, ratio in three)
        print(f"| {of} | {len(pairs)} | {middle:.2f} ({low:.2f} to {high:.2f}) | {better} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--images", type=int, default=72_000, help="that the plain recipe sees")
    parser.add_argument("--seconds", type=int, help="of a core, in place of images: what is done is kept by them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--families", nargs="+", default=list(families("validation")))
    parser.add_argument("--weights", type=Path, help="that learned contenders begin with")
    parser.add_argument("--output", type=Path, default=RESULTS / "shared-choices")
    options = parser.parse_args()
    if options.what == "speed":
        speed(options)
    else:
        run_or_show(options, partial(measured, weights=options.weights))


if __name__ == "__main__":
    main()
