"""Is what `mulligan fit` does better than fresh weights with the best fixed recipe, on families that taught it nothing?

    python benchmarks/quality/fit_against_fresh.py run --side 32 --budget 160
    python benchmarks/quality/fit_against_fresh.py run --side 32 --role learning --contenders 16/32/2e-3/1/
    python benchmarks/quality/fit_against_fresh.py run --side 32 --images 50  # of which runs begin from learned weights
    python benchmarks/quality/fit_against_fresh.py table

Contenders, each through `mulligan.fit`, each for as many seconds of one core: `fit`, the recipe that the command takes;
`default`, what it chooses with `--init none`; `learned`, that with learned weights, where some suit the images;
`families`, with weights of many families, where images are few; the name of learned weights, that with these;
`strided` and `folded`, fresh networks that resize so; `handmade`, the yardstick; and any WIDTH/BATCH/RATE/GAMMA/INIT,
with warm-up and half a cosine, where INIT names learned weights or is left empty for fresh ones. A quarter of a
family, at most 300 images, judges and is never shown to a run. The judges: the features of a classifier of that family
alone, two random networks, pixels at 8x8, m1, patches of edges, and a network trained on ImageNet, where its weights
are (`benchmarks/metrics/imagenet.py`). Rates are tried on families for learning that no learned weights saw (`--role
learning`). Test families are run once, with what was chosen before. What is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.common.families import ROLES, Labelled, families, read_family
from benchmarks.common.places import RESULTS, ZOO
from benchmarks.common.results import Bench
from benchmarks.common.speeds import by_law, images_in
from benchmarks.metrics.half_trained import CLASSIFIER_SIDE, accuracy, classifier_features, colour, train_classifier
from benchmarks.metrics.judges import (
    Space,
    edges,
    energy_distance,
    imagenet,
    in_batches,
    in_one_scale,
    independent,
    kid_distance,
)
from mulligan import api
from mulligan.grid import save_grid
from mulligan.meta.initialisation.kindred import begun_with, learned_recipe
from mulligan.meta.space.default import DECAY, ENOUGH_LEARNED, handmade_recipe, pretrained_recipe
from mulligan.networks.pretrained import FILES, cards
from mulligan.networks.resampling import STRIDED
from mulligan.recipe import Architecture, Recipe
from mulligan.tasks.halves import halve
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget

HELD, FAKES = 300, 1000  # at most so many images judge; so many are generated
CLASSIFIER_STEPS = 400
SPACES = ("own", "random 1", "random 2", "pixels", "m1", "edges 1", "edges 2", "imagenet")  # in the order of the table
INDEPENDENT = SPACES[:3]  # that no part of mulligan was chosen by
LEAST = 0.01  # a distance below which nothing is told apart
SHOWN, COLUMNS = 40, 10  # images of a grid


def recipe_of(contender: str, train: np.ndarray, seconds: float) -> Recipe:
    """The recipe of a contender for these training images and so many seconds of one core."""
    budget, shape, images = Budget(seconds=seconds, images=None), train.shape[1:], len(train)
    default = by_law(shape, images, seconds)
    if contender in ("default", "learned", "families", "fit"):
        learned = families = None
        if contender in ("learned", "fit"):
            learned = learned_recipe(read_task(train), default, by_law(shape, images, seconds, ENOUGH_LEARNED))
        if contender in ("families", "fit"):
            families = pretrained_recipe(shape, images, budget)
        return learned or families or default
    if contender in FILES:
        learned = begun_with(contender, default, shape)
        assert learned, f"no weights {contender} for {shape} and width {default.architecture.gen_width}"
        return learned
    if contender == "handmade":
        return handmade_recipe(shape, images, budget)
    if contender in STRIDED:
        resized = replace(default.architecture, resampling=contender, kernel=STRIDED[contender])
        return replace(default, architecture=resized)
    width, batch, rate, gamma, init = contender.split("/")
    return replace(
        default,
        architecture=Architecture(gen_width=int(width), disc_width=int(width), coarsest=4),
        batch=int(batch),
        init=init,
        hyperparameters=default.hyperparameters._replace(gen_lr=float(rate), disc_lr=float(rate), gamma=float(gamma)),
        schedules=DECAY,
    )


def untaught(zoo: Path) -> list[str]:
    """Families for learning that none of the learned weights saw."""
    seen = {name for init in FILES for card in cards(init) for name in card["trained_on"]}
    return [name for name in families("learning") if name not in seen and (zoo / f"{name}.zip").exists()]


class Judged:
    """A family, the images that judge it, and the judges, made once.

    Attributes:
      train: images that a run is given, uint8 `[n, h, w, c]`.
      spaces: what gives images their features, by name.
      real: features of the images that judge, by the space's name.
      accuracy: of the family's own classifier on them; 0 where the family has no classes.
    """

    def __init__(self, family: Labelled, side: int):
        images = family.images if family.images.shape[1] == side else halve(family.images)
        order = np.random.default_rng(0).permutation(len(images))
        held, train = np.split(order, [min(HELD, len(images) // 4)])
        self.train, self.accuracy = images[train], 0.0
        self.spaces: dict[str, Space] = independent() | edges() | imagenet()
        if family.labels.max() > 0:
            weights = train_classifier(self.train, family.labels[train], CLASSIFIER_STEPS, lambda text: None)
            self.spaces["own"] = in_batches(
                jax.jit(lambda rows: classifier_features(weights, colour(rows, CLASSIFIER_SIDE)))
            )
            self.accuracy = accuracy(weights, images[held], family.labels[held])
        self.real = {space: features(images[held]) for space, features in self.spaces.items()}

    def judge(self, fakes: np.ndarray) -> dict[str, dict[str, float]]:
        """Distances by space, in features of one scale."""
        found = {}
        for space, features in self.spaces.items():
            real, fake = in_one_scale(self.real[space], features(fakes))
            found[space] = {"energy": energy_distance(real, fake), "kid": kid_distance(real, fake)}
        return found


Distances = dict[str, dict[str, float]]  # what `Judged.judge` gives


def log_ratio(of: Distances, over: Distances, spaces: Sequence[str]) -> float:
    """The mean log ratio of two runs' energy distances in these spaces, as far as the family has them."""
    logs = [[math.log(max(run[space]["energy"], LEAST)) for run in (of, over)] for space in spaces if space in of]
    return float(np.mean([a - b for a, b in logs]))


def compare(options: argparse.Namespace, bench: Bench, name: str, seed: int) -> None:
    """Every contender on one family, one at a time."""
    given = {} if options.images is None else {"images": options.images}
    keys = [
        {"family": name, "side": options.side, "budget": options.budget, "of": of, "seed": seed} | given
        for of in options.contenders
    ]
    trained: dict[Recipe, dict[str, Any]] = {}  # contenders of the same recipe are the same run

    def run(of: str, judged: Judged, picture: Path) -> dict[str, Any]:
        train = judged.train[: options.images]  # their order is random, and the judges have seen them all
        folder = options.output / "run"
        shutil.rmtree(folder, ignore_errors=True)
        recipe = recipe_of(of, train, options.budget)
        if recipe in trained:
            return trained[recipe]
        images = images_in(options.budget, options.side, recipe.architecture)
        gan = api.fit(train, images=images, out=folder, seed=seed, recipe=recipe, experience="none")
        fakes = gan.sample(FAKES, seed=1)
        save_grid(picture, fakes[:SHOWN], columns=COLUMNS)
        found = {"trained": images, "accuracy": judged.accuracy, "init": recipe.init}
        trained[recipe] = found | {"judged": judged.judge(fakes), "result": gan.result}
        return trained[recipe]

    of_family(options, bench, keys, run)


def of_family(
    options: argparse.Namespace,
    bench: Bench,
    keys: Sequence[dict[str, Any]],
    measure: Callable[[str, Judged, Path], dict[str, Any]],
) -> None:
    """The results of several contenders on one family, if its images are as large as `--side`.

    Args:
      keys: of the results: those that are known are not worked out again.
      measure: of a contender, the judges of its family, and where its picture goes.
    """
    if all(bench.known(key) for key in keys):
        return
    family = read_family(options.zoo, keys[0]["family"])
    if family.images.shape[1] < options.side:
        return
    judged = Judged(family, options.side)
    for key in keys:
        words = "-".join(str(value).replace(" ", "_").replace("/", "_") for value in key.values())
        bench.once(key, partial(measure, key["of"], judged, options.output / f"{words}.png"))


def table(options: argparse.Namespace) -> None:
    """Energy distances of each contender on each family, a table for each size and budget."""
    results = Bench(options.output).results
    for side, budget in sorted({(row["side"], row["budget"]) for row in results}):
        rows = [row for row in results if (row["side"], row["budget"]) == (side, budget)]
        names = list(dict.fromkeys(row["family"] for row in rows))
        print(f"\n{side}x{side}, {budget:.0f} s; {' / '.join(SPACES)}, means over seeds\n")
        print("| contender | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
        for of in dict.fromkeys(row["of"] for row in rows):
            cells = [ended([row for row in rows if (row["of"], row["family"]) == (of, name)]) for name in names]
            print(f"| {of} | " + " | ".join(cells) + " |")


def ended(rows: list[dict[str, Any]]) -> str:
    """The mean distance in each space of runs that differ by seed alone."""
    judged = [row["judged"] for row in rows]
    found = [[each[space]["energy"] for each in judged if space in each] for space in SPACES]
    means = (f"{sum(values) / len(values):.2f}" if values else "-" for values in found)
    return " / ".join(means) if rows else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one core, by the table of speeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", default=["fit", "default"])
    parser.add_argument("--role", choices=ROLES, default="validation")
    parser.add_argument("--families", nargs="+", help="only these of the role")
    parser.add_argument("--images", type=int, help="so many images of each are given, and no more")
    parser.add_argument("--output", type=Path, default=RESULTS / "fit-against-fresh")
    options = parser.parse_args()
    if options.what == "table":
        table(options)
        return
    bench = Bench(options.output)
    offered = families("test") if options.role == "test" else families("validation")
    if options.role == "learning":
        offered = untaught(options.zoo)
    if strangers := set(options.families or ()) - set(offered):
        parser.error(f"not among the families of this role: {', '.join(sorted(strangers))}; name another --role.")
    names = [name for name in offered if name in (options.families or offered)]
    for seed, name in product(options.seeds, names):
        compare(options, bench, name, seed)


if __name__ == "__main__":
    main()
