"""Does `mulligan prove` say what is so? Made-up data with a known answer, and six labelled families.

    .venv/bin/python benchmarks/quality/proofs.py coverage
    .venv/bin/python benchmarks/quality/proofs.py families

`coverage`: classes are Gaussian, so new test images, new generated ones and new seeds can be had at will, and the truth
is what many of them say. An interval is right where it holds the truth.

`families`: two long-tailed, two as they are, one whose generator is collapsed by hand (one image whatever the class),
one whose generator is a copier of training images. Runs are short and narrow.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from benchmarks.common.long_tails import make
from benchmarks.common.places import RESULTS
from benchmarks.common.results import Bench
from mulligan import api
from mulligan.budget import parse_images
from mulligan.proof.classifier import Examples
from mulligan.proof.leakage import near_copies, nearness_attack
from mulligan.proof.prove import prove
from mulligan.proof.usefulness import usefulness
from mulligan.tasks.images import read_task
from mulligan.training.generator import Generator, load
from mulligan.types import Pixels, Pytree

REPETITIONS = 20
DIMENSION, CLASSES = 16, 4
TRAINED, GENERATED, TESTED = 80, 1000, 400
MANY_TESTED, MANY_SEEDS = 8000, 40  # for the truth


class Made(eqx.Module):
    """Made-up features of classes: Gaussian, around means of their own."""

    means: np.ndarray
    deviation: float = 1.0

    def draw(self, n: int, rng: np.random.Generator) -> Examples:
        labels = (np.arange(n) % CLASSES).astype(np.int32)
        noise = rng.standard_normal((n, DIMENSION))
        return Examples((self.means[labels] + self.deviation * noise).astype(np.float32), labels)


def generators(real: Made, rng: np.random.Generator) -> dict[str, Made]:
    """Generators by what they should come to: as good as reality, blurred, with two classes exchanged, off the mark."""
    return {
        "perfect": real,
        "narrow": Made(real.means, 0.5),
        "shifted": Made(real.means + 0.5 * rng.standard_normal(real.means.shape)),
        "classes exchanged": Made(real.means[[1, 0, 2, 3]]),
    }


def coverage_of_gain(repetitions: int) -> list[dict[str, Any]]:
    """How often the interval of the gain holds the truth, for each generator."""
    rng = np.random.default_rng(0)
    real = Made(0.9 * rng.standard_normal((CLASSES, DIMENSION)))
    train = real.draw(TRAINED, rng)
    rows = []
    for name, generator in generators(real, rng).items():
        many = [generator.draw(GENERATED, rng) for _ in range(MANY_SEEDS)]
        truth = usefulness(train, many, real.draw(MANY_TESTED, rng), seed=10_000).gain.value
        held, verdicts, widths = 0, [], []
        for repetition in range(repetitions):
            drawn = [generator.draw(GENERATED, rng) for _ in range(5)]
            found = usefulness(train, drawn, real.draw(TESTED, rng), seed=repetition)
            held += found.gain.low <= truth <= found.gain.high
            widths.append(found.gain.high - found.gain.low)
            verdicts.append(found.verdict)
        said = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        rows.append(
            {"what": f"gain, {name}", "truth": truth, "held": held, "width": float(np.mean(widths)), "said": said}
        )
    return rows


def coverage_of_leaks(repetitions: int) -> list[dict[str, Any]]:
    """How often the intervals of near copies and of the attack hold the truth, for shares of copies."""
    rng = np.random.default_rng(1)
    real = Made(0.9 * rng.standard_normal((CLASSES, DIMENSION)))
    rows = []
    for share in (0.0, 0.1, 0.3):

        def once(n_generated: int, n_held_out: int, share: float = share) -> tuple[Any, Any]:
            train, held_out = real.draw(400, rng).features, real.draw(n_held_out, rng).features
            fresh = real.draw(n_generated, rng).features
            copied = rng.random(n_generated) < share
            fresh[copied] = train[rng.integers(len(train), size=copied.sum())]
            return near_copies(fresh, train, held_out), nearness_attack(train, held_out, fresh[:1000])

        large = [once(20_000, 4000) for _ in range(5)]
        truths = {
            "excess of near copies": float(np.mean([copies.excess.value for copies, _ in large])),
            "advantage of the attack": float(np.mean([attack.value for _, attack in large])),
        }
        found = [once(1000, 400) for _ in range(repetitions)]
        estimates = {
            "excess of near copies": [copies.excess for copies, _ in found],
            "advantage of the attack": [attack for _, attack in found],
        }
        said = {"copies": sum(copies.found for copies, _ in found)}
        for name, each in estimates.items():
            held = sum(estimate.low <= truths[name] <= estimate.high for estimate in each)
            width = float(np.mean([estimate.high - estimate.low for estimate in each]))
            rows.append({"what": f"{name}, {share:.0%} copies", "truth": truths[name], "held": held, "width": width})
            rows[-1]["said"] = said
    return rows


class Collapsed(eqx.Module):
    """One image, whatever the latent and the class, but for a little."""

    network: Pytree

    def __call__(self, latents: Float[Array, "n d"], labels: Any = None) -> Pixels:
        return self.network(0.05 * latents, None if labels is None else jnp.zeros_like(labels))


class Copier(eqx.Module):
    """Training images of the class that is asked for, chosen by the latent, with a little noise."""

    images: Float[Array, "m h w c"]
    rows: Int[Array, "k most"]  # of each class, padded with its own
    counts: Int[Array, " k"]

    @staticmethod
    def of(images: np.ndarray, labels: np.ndarray) -> Copier:
        counts = np.bincount(labels)
        rows = np.stack([np.resize(np.flatnonzero(labels == label), counts.max()) for label in range(len(counts))])
        return Copier(jnp.asarray(images / np.float32(127.5) - 1), jnp.asarray(rows), jnp.asarray(counts))

    def __call__(self, latents: Float[Array, "n d"], labels: Any) -> Pixels:
        number = jnp.abs((latents[:, 0] * 1e4).astype(jnp.int32)) % self.counts[labels]
        chosen = self.images[self.rows[labels, number]]
        noise = 0.02 * latents[:, 1][:, None, None, None] * jnp.sign(chosen)
        return jnp.clip(chosen + noise, -1, 1)


def plain(generator: Generator, file: Path) -> Generator:
    del file
    return generator


def collapsed(generator: Generator, file: Path) -> Generator:
    """The generator, collapsed by hand."""
    del file
    return replace(generator, network=Collapsed(generator.network))


def copying(generator: Generator, file: Path) -> Generator:
    """A copier of its training images in its place."""
    train = read_task(str(file), labels=True).train
    assert train.labels is not None
    return replace(generator, network=Copier.of(np.asarray(train.images), train.labels))


Making = Callable[[Generator, Path], Generator]
CASES: dict[str, tuple[str, bool, int, Making, str]] = {  # family, long tail, side, what is made of its run, budget
    "mnist, long tail": ("mnist", True, 28, plain, "6k"),
    "fashion_mnist, long tail": ("fashion_mnist", True, 28, plain, "6k"),
    "devanagari": ("devanagari", False, 32, plain, "6k"),
    "trash": ("trash", False, 32, plain, "6k"),
    "clothing, collapsed": ("clothing", False, 32, collapsed, "2k"),
    "turntable_objects, copying": ("turntable_objects", False, 32, copying, "2k"),
}


def proof_of_family(case: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """What is said of one case."""
    from benchmarks.quality.class_balance import RECIPE

    name, tail, side, making, images = CASES[case]
    file = make(name, tail, side, chosen.output / "data").file
    run = chosen.output / "runs" / case.replace(", ", "-").replace(" ", "_")
    if not (run / "generator.json").is_file():
        shutil.rmtree(run, ignore_errors=True)
        api.fit(
            file,
            images=parse_images(images) if chosen.images is None else chosen.images,
            out=run,
            recipe=RECIPE.to_json(),
            labels=True,
            experience="none",
        )
    proof = prove(making(load(run), file), file)
    found = proof["usefulness"]
    return {
        "sentence": proof["sentence"],
        "verdict": found["verdict"],
        "accuracy": {source: estimate["value"] for source, estimate in found["accuracy"].items()},
        "gain": found["gain"],
        "harmed": found["harmed"],
        "copies": proof["copies"],
        "attacks": proof["attacks"],
        "spent": proof["spent"],
        "n_test": proof["n_test"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("coverage", "families"))
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--images", type=parse_images, help="budget of every run, instead of its own")
    parser.add_argument("--output", type=Path, default=RESULTS / "proofs")
    chosen = parser.parse_args()
    if chosen.what == "coverage":
        print("| estimate | truth | intervals that hold it | mean width | said |\n|---|---|---|---|---|")
        for row in [*coverage_of_leaks(chosen.repetitions), *coverage_of_gain(chosen.repetitions)]:
            said = ", ".join(f"{word} {times}" for word, times in row["said"].items())
            held = f"{row['held']} of {chosen.repetitions}"
            print(f"| {row['what']} | {row['truth']:+.3f} | {held} | {row['width']:.3f} | {said} |", flush=True)
        return
    bench = Bench(chosen.output)
    for case in chosen.cases:
        result = bench.once({"case": case}, partial(proof_of_family, case, chosen))
        print(f"{case}: {result['sentence']}", flush=True)


if __name__ == "__main__":
    main()
