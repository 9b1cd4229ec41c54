"""Do the best rates move with width and size? Runs of one recipe over rates, widths and sizes.

    python benchmarks/quality/transfer_of_rates.py run --data ../shared/data --role learning --out rates.jsonl
    python benchmarks/quality/transfer_of_rates.py table rates.jsonl

A parametrisation says by how much Adam's rate is multiplied for each weight. Adam moves every weight by about its rate,
whatever the gradient's length, so a layer of fan-in `f` that is moved the same way at every input changes its outputs
by `rate * f`: in proportion to the width. With `power` 1 the rate of a weight is multiplied by `FAN / f`, which keeps
that change (muP for Adam, Yang et al. 2022, arXiv 2203.03466, table 3); with 1/2 by the root of it, which keeps the
change relative to the weights, whose standard deviation is `gain / sqrt(f)`; with 0 by nothing, as most GANs train.
Biases are not multiplied. Where a name ends with `BASE`, `f` counts in units of the same layer's fan-in at that width:
layers whose inputs do not widen keep the rate, and networks of that width train as they do today. Larger images add
coarser levels with more channels; `capped` counts these in units of the widest that 16x16 has.

Every line of the file is one finished run; runs that a file holds are not run again, so a study can be cut and go on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from benchmarks.common.family_judge import Classifier, Family
from benchmarks.common.population import Numbers, Population
from mulligan.meta.space.default import DECAY
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.networks.architecture import abstract
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.types import Pytree

FAMILIES = {
    "learning": ("solar_cells", "trash", "world_scripts"),
    "validation": ("clothing", "game_icons", "seedlings"),
}
FAN = 256  # of the middle layers of the narrowest networks: there all parametrisations are alike
BASE = 16
POWERS = {"plain": 0.0, "relative": 0.5, "mup": 1.0, "relative-16": 0.5, "mup-16": 1.0, "mup-16-capped": 1.0}
LEAST = 2e-3  # below it a KID of so few images is noise
CAP = 512  # the largest fan-in of networks of that width for images of 16x16


def kid(real: np.ndarray, fake: np.ndarray) -> float:
    """KID of features standardised by the real ones, whose quiet directions are not to drown the others."""
    centre, spread = real.mean(0), real.std(0) + 0.1 * real.std(0).mean() + 1e-6
    return float(mmd2_unbiased(jnp.asarray((real - centre) / spread), jnp.asarray((fake - centre) / spread)))


@dataclass(frozen=True)
class Run:
    """One run: its parametrisation (of `POWERS`), its networks and image side, its images, and its numbers."""

    parametrisation: str
    width: int
    size: int
    nimg: int
    rate: float
    family: str
    seed: int = 1
    gamma: float = 1.0
    batch: int = 64


def fans(network: Pytree) -> Pytree:
    """The fan-in of each leaf, that of a kernel with all of its taps; 0 for a bias, which is no sum."""

    def fan(path: Any, leaf: Any) -> int:
        return 0 if "bias" in jax.tree_util.keystr(path) else math.prod(leaf.shape[:-1])

    return jax.tree_util.tree_map_with_path(fan, network)


def multipliers(run: Run, architecture: Architecture) -> tuple[Pytree, Pytree]:
    """What each leaf's rate is multiplied by, in the generator and in the discriminator; 1 for biases."""
    power, shape = POWERS[run.parametrisation], (run.size, run.size, 3)

    def of_width(width: int) -> Pytree:
        chosen = replace(architecture, gen_width=width, disc_width=width)
        return fans(abstract(chosen, shape, 0))

    own = of_width(run.width)
    base = of_width(BASE) if f"-{BASE}" in run.parametrisation else jax.tree.map(lambda _: FAN, own)
    if run.parametrisation.endswith("capped"):
        base = jax.tree.map(lambda fan: min(fan, CAP), base)
    found = jax.tree.map(lambda fan, base: (base / fan) ** power if fan else 1.0, own, base)
    return found.gen, found.disc


def scaled_adam(gen: Pytree, disc: Pytree) -> Any:
    """Adam whose rate is multiplied leaf by leaf, for either player."""
    by_structure = {jax.tree.structure(factors): factors for factors in (gen, disc)}

    def optimiser(rate: Any, beta1: Any, beta2: Any) -> optax.GradientTransformation:
        def scale(updates: Pytree, params: Pytree | None = None) -> Pytree:
            del params
            return jax.tree.map(lambda update, by: update * by, updates, by_structure[jax.tree.structure(updates)])

        return optax.chain(optax.scale_by_adam(beta1, beta2), optax.stateless(scale), optax.scale(-rate))

    return optimiser


def population(run: Run, members: int) -> Population:
    """The program of all runs that differ from this one in numbers alone."""
    recipe = Recipe(
        Architecture(gen_width=run.width, disc_width=run.width),
        batch=run.batch,
        hyperparameters=Hyperparameters(augment=0.3),
        augmentation=("translate",),
        schedules=DECAY,
    )
    optimiser = scaled_adam(*multipliers(run, recipe.architecture))
    return Population(recipe, (run.size, run.size, 3), run.nimg, members, optimiser)


def study(data: Path, runs: Sequence[Run], done: set[Run], members: int) -> Iterator[dict[str, Any]]:
    """Finished runs, those of one program after another."""

    def program(run: Run) -> tuple[Any, ...]:
        return run.parametrisation, run.width, run.size, run.nimg, run.batch

    m1 = load_embedding("m1")
    for size in sorted({run.size for run in runs}):
        names = sorted({run.family for run in runs})
        known = {name: Family.read(data / "zoo", name, size) for name in names}
        judges = {"own": Classifier(known, 300), "m1": m1}
        real = {(name, judge): judges[judge](known[name].held) for name in known for judge in judges}
        wanted = [run for run in runs if run.size == size and run not in done]
        for _, some in itertools.groupby(wanted, key=program):
            group = list(some)
            made = population(group[0], members)
            for crew in (group[start : start + members] for start in range(0, len(group), members)):
                started = time.monotonic()
                numbers = [Numbers(run.rate, run.gamma, seed=run.seed) for run in crew]
                [(_, drawn, whole)] = made.train(numbers, [known[run.family].train for run in crew])
                for run, fakes, finite in zip(crew, drawn, whole, strict=True):
                    kids = {f"kid@{name}": kid(real[run.family, name], judge(fakes)) for name, judge in judges.items()}
                    seconds = round((time.monotonic() - started) / len(crew), 1)
                    yield {**asdict(run), **kids, "finite": bool(finite), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--role", choices=FAMILIES, default="learning")
    running.add_argument("--parametrisations", nargs="+", choices=POWERS, default=list(POWERS))
    running.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32, 64])
    running.add_argument("--size", type=int, default=16)
    running.add_argument("--images", type=int, default=20_000)
    running.add_argument("--rates", type=float, nargs="+", default=[1e-3 * 2**k for k in range(-2, 5)])
    running.add_argument("--gammas", type=float, nargs="+", default=[1.0])
    running.add_argument("--batch", type=int, default=64)
    running.add_argument("--seeds", type=int, nargs="+", default=[1])
    running.add_argument("--members", type=int, default=1, help="runs at once, on an accelerator")
    running.add_argument("--out", type=Path, required=True)
    commands.add_parser("table").add_argument("file", type=Path, nargs="+")
    drawing = commands.add_parser("plot")
    drawing.add_argument("file", type=Path, nargs="+")
    drawing.add_argument("--parametrisations", nargs="+", choices=POWERS, required=True)
    drawing.add_argument("--image", type=Path, required=True)
    options = parser.parse_args()
    if options.command != "run":
        rows = [json.loads(line) for file in options.file for line in file.read_text().splitlines()]
        if options.command == "plot":
            plot(rows, options.parametrisations, options.image)
        else:
            print(table(rows))
        return
    done = set()
    if options.out.exists():
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
        done = {Run(**{name: row[name] for name in Run.__dataclass_fields__}) for row in rows}
    runs = [
        Run(kind, width, options.size, options.images, rate, family, seed, gamma, options.batch)
        for seed in options.seeds
        for width in options.widths
        for kind in options.parametrisations
        for gamma in options.gammas
        for rate in options.rates
        for family in FAMILIES[options.role]
    ]
    with options.out.open("a") as file:
        for row in study(options.data, runs, done, options.members):
            file.write(json.dumps(row) + "\n")
            file.flush()


SETTING = ("parametrisation", "size", "nimg", "gamma", "batch", "width")


def curves(rows: Sequence[dict[str, Any]], judge: str) -> dict[tuple[Any, ...], dict[float, float]]:
    """By setting, the mean log KID over families and seeds for each rate; a run that blew up counts as KID 1,000."""
    values: dict[tuple[Any, ...], dict[float, list[float]]] = {}
    for row in rows:
        value = math.log(max(row[judge], LEAST) if row["finite"] else 1e3)
        values.setdefault(tuple(row[key] for key in SETTING), {}).setdefault(row["rate"], []).append(value)
    return {
        setting: {rate: float(np.mean(found)) for rate, found in sorted(of_rates.items())}
        for setting, of_rates in sorted(values.items())
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean log KID, the classifier's and m1's, by setting and rate, the lowest marked."""
    lines = []
    for judge in ("kid@own", "kid@m1"):
        for setting, means in curves(rows, judge).items():
            best = min(means, key=lambda rate: means[rate])
            cells = " ".join(f"{rate:.2g}:{mean:+.2f}{'*' if rate == best else ''}" for rate, mean in means.items())
            lines.append(f"{' '.join(map(str, setting)):40} {judge[4:]:4} {cells}")
    return "\n".join(lines)


def plot(rows: Sequence[dict[str, Any]], kinds: Sequence[str], path: Path) -> None:
    """A panel for each parametrisation and size: mean log KID over the rate, a line for each width."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = curves(rows, "kid@own")
    figure, axes = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds), 3.6), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for setting, means in found.items():
            if setting[0] == kind:
                best = min(means, key=lambda rate: means[rate])
                [line] = axis.plot(list(means), list(means.values()), marker=".", label=f"width {setting[-1]}")
                axis.plot(best, means[best], "o", color=line.get_color(), markersize=9)
        axis.set(xscale="log", title=kind, xlabel="Adam's rate", ylim=(-4, 3))
    axes[0][0].set_ylabel("mean log KID (classifier)")
    axes[0][-1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
