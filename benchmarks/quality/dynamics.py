"""What each dynamics and each opponent brings: toy games against theory, 25 modes, and 1000 modes of stacked digits.

    .venv/bin/python benchmarks/quality/dynamics.py --only toys mixture
    .venv/bin/python benchmarks/quality/dynamics.py --only digits --images 1M --seeds 0 1 2 3 4
    .venv/bin/python benchmarks/quality/dynamics.py --only digits --images 100k --size 16 --looks 4 --contenders "K = 0"

Stacked digits are three digits of `mnist.npz` as red, green and blue. 26,000 samples of a run's moving average are
named by a classifier trained on the digits, whose accuracy on digits that it has not seen is told; modes are the
three-digit numbers that occur, and KL is that of their shares to those of the training images. With several `--looks`
both are means over as many moments of the second half of the run, for what a bare game covers changes by the moment.
Textbook games have a discriminator half as wide as the generator, so that modes are lost (as in Metz et al. 2017,
arXiv 1611.02163). Results are kept one a line, with a picture of 64 samples each; what is done already is not done
again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.mixture_game import Choice, cover
from benchmarks.common.places import DATA, RESULTS
from benchmarks.common.results import Bench
from benchmarks.common.toy_games import EVERY, OUTER, bilinear, rate, theory
from mulligan.budget import parse_images
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.step import Data
from mulligan.grid import save_grid
from mulligan.metrics import embed
from mulligan.metrics.modes import modes, stacked_digits
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe
from mulligan.tasks.framing import Frame, resample
from mulligan.training.device import cache_programs
from mulligan.training.engine import Sampler, compile_engine, make_game, start_state
from tools import embedding_training as classifier

SAMPLES, STACKED = 26_000, 50_000
COLUMNS = 8
UNEVEN = Architecture(gen_width=8, disc_width=4)
TEXTBOOK = Hyperparameters(gen_lr=1e-3, disc_lr=1e-3, gen_beta1=0.5, disc_beta1=0.5, gen_beta2=0.999, disc_beta2=0.999)
PLAIN = Recipe(architecture=UNEVEN, loss="nonsaturating", penalty="none", hyperparameters=TEXTBOOK)
CONTENDERS = {
    "K = 0": PLAIN,
    "K = 5": dataclasses.replace(PLAIN, opponents=5),
    "K = 10": dataclasses.replace(PLAIN, opponents=10),
    "relativistic + R1 + R2": Recipe(
        architecture=Architecture(gen_width=32, disc_width=32),
        hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3, gamma=1.0),
        schedules=(("disc_lr", Form("cosine", final=0.1)), ("gen_lr", Form("cosine", final=0.1))),
    ),
    "gap-aware": dataclasses.replace(PLAIN, gap_aware=True),
    **{name: dataclasses.replace(PLAIN, dynamics=name) for name in DYNAMICS if name != "alternating"},
}
MIXTURE = {
    "alternating": Choice(),
    "relativistic + R1 + R2": Choice("relativistic", "r1r2"),
    "5 opponents": Choice(opponents=5),
    **{name: Choice(dynamics=name) for name in DYNAMICS if name != "alternating"},
}
PERIOD = {"lookahead": EVERY, "nested_lookahead": OUTER}


def toys(bench: Bench, chosen: argparse.Namespace) -> str:
    """Distance to the equilibrium of the bilinear game after so many steps, and its rate against theory."""
    del chosen
    lines = ["| dynamics | after 100 | after 1000 | factor a step | theory |", "|---|---|---|---|---|"]
    for name in DYNAMICS:
        found = bench.once({"kind": "toy", "dynamics": name}, lambda name=name: toy(name))
        cells = [f"{found[key]:.3g}" for key in ("after_100", "after_1000")]
        cells += [f"{found[key]:.5f}" for key in ("rate", "theory")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def toy(name: str) -> dict[str, Any]:
    distances = bilinear(name, 8000 if name == "nested_lookahead" else 2000)
    fitted = rate(distances[distances > 1e-30], PERIOD.get(name, 1))
    after = {f"after_{steps}": float(distances[steps]) for steps in (100, 1000)}
    return {**after, "rate": fitted, "theory": theory(name)}


def mixture(bench: Bench, chosen: argparse.Namespace) -> str:
    """Modes of 25 that each game covers."""
    steps = chosen.images // 128
    lines = ["| game | modes of 25 | share of samples near a mode |", "|---|---|---|"]
    for name, choice in MIXTURE.items():
        found = []
        for seed in chosen.seeds:
            key = {"kind": "mixture", "game": name, "steps": steps, "seed": seed}
            found.append(bench.once(key, lambda choice=choice, seed=seed: cover(choice, steps, seed)._asdict()))
        covered, quality = ([result[key] for result in found] for key in ("modes", "quality"))
        lines.append(f"| {name} | {spread(covered, 0)} | {spread(quality, 2)} |")
    return "\n".join(lines)


def digits(bench: Bench, chosen: argparse.Namespace) -> str:
    """Modes of 1000 that each contender covers, and the divergence of their shares."""
    classify, accuracy = judge(bench, chosen)
    lines = [f"A classifier with accuracy {accuracy:.4f} names the digits.", ""]
    lines += ["| contender | modes of 1000 | KL | seconds |", "|---|---|---|---|"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen.contenders}
    for seed in chosen.seeds:
        for name, results in found.items():
            recipe = CONTENDERS[name]
            key = {"kind": "digits", "contender": name, "images": chosen.images, "seed": seed}
            key |= {"size": chosen.size, "looks": chosen.looks}
            key |= {"samples": chosen.samples, "recipe": recipe.hash(), "judge": accuracy}
            work = partial(stack_run, recipe, seed, chosen, classify)
            results.append(bench.once(key, work))
    for name, results in found.items():
        cells = [spread([result[key] for result in results], places) for key, places in (("modes", 0), ("kl", 3))]
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.median(r['seconds'] for r in results):.0f} |")
    return "\n".join(lines)


Classify = Callable[[Any], np.ndarray]


def judge(bench: Bench, chosen: argparse.Namespace) -> tuple[Classify, float]:
    """A classifier of digits, trained once, and its accuracy on digits that it has not seen."""
    split = classifier.read(chosen.data, "mnist")
    split = classifier.Split(*(part._replace(images=resized(part.images, chosen.size)) for part in split))
    weights = classifier.train_own(f"mnist-{chosen.size}", split, 0, chosen.judge_steps, bench.folder)

    @jax.jit
    def name(images):
        head = weights[f"head.mnist-{chosen.size}"]
        return jnp.argmax(classifier.own_features(weights, embed.preprocess(images, classifier.SIDE)) @ head, axis=1)

    def classify(images: Any) -> np.ndarray:
        size = 1000
        padded = np.concatenate([images, np.zeros((-len(images) % size, *images.shape[1:]), np.uint8)])
        named = [np.asarray(name(padded[start : start + size])) for start in range(0, len(padded), size)]
        return np.concatenate(named)[: len(images)]

    return classify, float((classify(split.source.images) == split.source.labels).mean())


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Images `[n, h, w, c]` at this side, antialiased."""
    return resample(images, Frame(side, side, "crop", (0, 0, 0)))


def stacked(data: Path, n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` images of three digits drawn independently, uint8 `[n, size, size, 3]`, and the number each shows."""
    with np.load(data / "mnist.npz") as file:
        images, labels = file["images"][file["split"] == 0], file["labels"][file["split"] == 0]
    images = resized(images[..., None], size)[..., 0]
    rows = np.random.default_rng(seed).integers(len(images), size=(3, n))
    return np.stack(images[rows], axis=-1), labels[rows[0]] * 100 + labels[rows[1]] * 10 + labels[rows[2]]


def stack_run(recipe: Recipe, seed: int, chosen: argparse.Namespace, classify: Classify) -> dict[str, Any]:
    """One run: modes and divergence of the generator's moving average, with a picture of its first samples."""
    images, numbers = stacked(chosen.data, STACKED, chosen.size, seed)
    share = np.bincount(numbers, minlength=1000) + 1.0  # no mode without a share, even among few images
    shape, steps = images.shape[1:], chosen.images // recipe.batch
    game = make_game(recipe, shape, 0, chosen.images)
    state, data = start_state(game, recipe, shape, 0, seed), Data(jnp.asarray(images))
    engine, sampler = compile_engine(game, state, data), Sampler.make(recipe.architecture, 0)
    latents, done, looks = sampler.latents(chosen.samples, seed), 0, []
    for look in range(1, chosen.looks + 1):
        until = round(steps * (0.5 + 0.5 * look / chosen.looks))
        state, info = engine.chunk(state, data, until - done)
        done = until
        samples = sampler(game.averager.value(state.averages)["ema"], latents)
        looks.append(modes(stacked_digits(classify, samples), share))
    save_grid(
        chosen.output / f"{recipe.hash()}-{chosen.size}-{chosen.images}-{seed}.png", samples[: COLUMNS**2], COLUMNS
    )
    return {
        "modes": statistics.mean(look.covered for look in looks),
        "kl": statistics.mean(look.kl for look in looks),
        "finite": bool(info.finite),
        "accuracy": float(info.means.accuracy),
        "flops": engine.flops_per_step,
    }


PARTS = {"toys": toys, "mixture": mixture, "digits": digits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--images", default="500k", help="images a run sees")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--size", type=int, default=28, help="side that digits are resampled to")
    parser.add_argument("--looks", type=int, default=1, help="moments of a run's second half that are judged")
    parser.add_argument("--judge-steps", type=int, default=2000, help="training steps of the classifier")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=RESULTS / "game")
    chosen = parser.parse_args()
    chosen.images = parse_images(chosen.images)
    if "digits" in chosen.only and not (chosen.data / "mnist.npz").is_file():
        raise SystemExit(f"there is no mnist.npz in {chosen.data}: give its folder with --data.")
    warn_when_busy()
    cache_programs()
    bench = Bench(chosen.output.resolve())
    print("\n\n".join(PARTS[part](bench, chosen) for part in chosen.only))


if __name__ == "__main__":
    main()
