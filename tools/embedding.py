"""Which embedding ranks bad generators as a classifier of the very data set would?

    python tools/embedding.py judge    # trains what is missing, prints the table, writes JSON
    python tools/embedding.py ship     # the candidate that saw no digits becomes mulligan/metrics/m1.*

The candidates: random projections of pixels, the network of m1 (`mulligan.metrics.embedding_network`) with random
weights, and the same trained on the classes of all the sets together (one linear head a set), but never on the set
that it is judged on. Each scores 21 sets of images, from untouched to ruined (`corruptions`), against held-out real
ones. Kendall's tau says how well its ranking agrees with that of the Frechet distance in the features of
another network, a classifier trained on that set alone. Everything trained is kept in `--work` and not
trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import kendalltau

from benchmarks.common.places import DATA, RESULTS, ROOT
from mulligan.metrics.embed import preprocess
from mulligan.metrics.embedding_network import random_weights, weight_shapes
from mulligan.metrics.frechet import frechet_distance
from mulligan.metrics.kid import kid
from tools.cards import write_with_card
from tools.embedding_training import (
    GAN_STEPS,
    M1,
    SIDE,
    Labelled,
    Split,
    all_features,
    own_features,
    read,
    train_candidate,
    train_gan,
    train_own,
    with_constants,
)

SETS = ("mnist", "fashion_mnist", "omniglot", "emoji_noto", "cifar10")
UNSEEN = "mnist"  # what m1 is not trained on, so that digits judge it fairly
LICENCES = {
    "mnist": "LeCun and Cortes, commonly cited as CC BY-SA 3.0",
    "fashion_mnist": "MIT (Zalando)",
    "omniglot": "MIT (Lake)",
    "emoji_noto": "Apache-2.0 (Google)",
    "cifar10": "none stated; only weights learned from it are shipped, no images",
}


def corruptions(split: Split, gan: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Ladders of image sets, each as large as the reference, from the expected best to the worst."""
    rng = np.random.default_rng(0)
    source, n = split.source, len(split.reference.images)
    clean = source.images[:n]

    def noisy(level):
        return np.clip(clean + rng.normal(0, level, clean.shape), 0, 255).round().astype(np.uint8)

    def keeping(share):
        kinds = rng.permutation(np.unique(source.modes))
        rows = np.flatnonzero(np.isin(source.modes, kinds[: max(1, round(share * len(kinds)))]))
        return source.images[rng.choice(rows, n, replace=len(rows) < n)]

    return {
        "clean": {"0": clean},
        "blur": {f"{s}": gaussian_filter(clean, (0, s, s, 0)) for s in (0.5, 0.75, 1.0, 1.5)},
        "noise": {f"{s}": noisy(s) for s in (8, 16, 32, 64)},
        "modes kept": {f"{s:.0%}": keeping(s) for s in (0.8, 0.5, 0.2, 0.0)},
        "unique": {f"1/{k}": np.resize(clean[: n // k], clean.shape) for k in (2, 8, 32)},
        "gan": {f"{s} steps": gan[i] for i, s in reversed(list(enumerate(GAN_STEPS)))},
    }


Space = Callable[[np.ndarray], np.ndarray]


def network_space(weights: dict[str, np.ndarray], last: int) -> Space:
    """The last so many standardised features, the last layer's after those of the convolutions."""

    @jax.jit
    def features(images):
        standardised = (all_features(weights, preprocess(images, SIDE)) - weights["mean"]) / weights["deviation"]
        return standardised[:, -last:]

    return lambda images: np.asarray(features(images))


def pixel_space(train: dict[str, Labelled]) -> Space:
    """256 random projections of the pixels, standardised over the same images as the networks' features."""
    matrix = np.random.default_rng(0).normal(size=(SIDE**2 * 3, M1.units)).astype(np.float32)
    project = jax.jit(lambda images: preprocess(images, SIDE).reshape(len(images), -1) @ matrix)
    sample = np.concatenate([np.asarray(project(each.images[:1000])) for each in train.values()])
    return lambda images: np.asarray((project(images) - sample.mean(0)) / sample.std(0))


def own_space(params: dict[str, np.ndarray]) -> Space:
    apply = jax.jit(lambda images: own_features(params, preprocess(images, SIDE)))
    return lambda images: np.asarray(apply(images))


def spaces(sets: dict[str, Split], name: str, options: argparse.Namespace) -> dict[str, Space]:
    """The judge of one set first, then what is judged; none but `m1` has seen the set."""
    others = {other: split.train for other, split in sets.items() if other != name}
    random = with_constants(random_weights(weight_shapes(M1), seed=1), others)
    trained = train_candidate(sets, name, options.steps, options.work)
    shipped = train_candidate(sets, UNSEEN, options.steps, options.work)
    every = sum(M1.widths) + M1.units
    return {
        "own": own_space(train_own(name, sets[name], 0, 1000, options.work)),
        "pixels": pixel_space(others),
        "random, all": network_space(random, every),
        "random, last": network_space(random, M1.units),
        "trained, all": network_space(trained, every),
        "trained, last": network_space(trained, M1.units),
        "m1": network_space(shipped, M1.units),
    }


def judge_set(sets: dict[str, Split], name: str, options: argparse.Namespace) -> dict[str, Any]:
    """For each space and distance, the values over all corruptions."""
    split = sets[name]
    ladders = corruptions(split, train_gan(name, split.train, len(split.reference.images), options.work))
    values: dict[str, Any] = {}
    for space, features in spaces(sets, name, options).items():
        real = features(split.reference.images)
        for ladder, rungs in ladders.items():
            for rung, images in rungs.items():
                fake = features(images)
                for distance, value in (
                    ("frechet", frechet_distance(real, fake)),
                    ("kid", kid(real, fake, jax.random.key(0)).value),
                ):
                    values.setdefault(f"{space}: {distance}", {}).setdefault(ladder, {})[rung] = value
    return values


def flat(ladders: dict[str, dict[str, float]]) -> list[float]:
    return [value for rungs in ladders.values() for value in rungs.values()]


def agreement(values: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Kendall's tau with the judge over all corruptions, and with the expected order within ladders."""
    truth = flat(values["own: frechet"])
    return {
        name: {
            "judge": float(kendalltau(flat(ladders), truth).statistic),
            "order": float(
                np.mean(
                    [
                        kendalltau(list(rungs.values()), range(len(rungs))).statistic
                        for rungs in ladders.values()
                        if len(rungs) > 1
                    ]
                )
            ),
        }
        for name, ladders in values.items()
    }


def judge(options: argparse.Namespace) -> None:
    sets = {name: read(options.data, name) for name in SETS}
    values = {name: judge_set(sets, name, options) for name in SETS}
    taus = {name: agreement(each) for name, each in values.items()}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"tau": taus, "values": values}, indent=1))
    print(f"| features: distance | {' | '.join(SETS)} | mean | order |")
    print("|---" * (len(SETS) + 3) + "|")
    for row in taus[SETS[0]]:
        with_judge = [taus[name][row]["judge"] for name in SETS]
        order = np.mean([taus[name][row]["order"] for name in SETS])
        cells = [f"{value:.2f}" for value in (*with_judge, np.mean(with_judge), order)]
        print(f"| {row} | {' | '.join(cells)} |")


def ship(options: argparse.Namespace) -> None:
    """Writes `m1.safetensors` (float16) and its card."""
    sets = {name: read(options.data, name) for name in SETS}
    weights = train_candidate(sets, UNSEEN, options.steps, options.work)
    for constant in ("mean", "deviation"):
        weights[constant] = weights[constant][-M1.units :]
    card = {
        "dimension": M1.units,
        "input": [SIDE, SIDE, 3],
        "licence": "Apache-2.0",
        "trained_on": {
            name: {"images": len(sets[name].train.images), "licence": LICENCES[name]} for name in SETS if name != UNSEEN
        },
        "objective": "mean cross-entropy of a linear head a set; images moved up to 2 pixels, half inverted",
        "optimiser": f"AdamW, cosine from 2e-3, {options.steps} steps of 64 images of each set, seed 0",
        "made_by": "python tools/embedding.py ship",
    }
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    write_with_card(ROOT / "mulligan" / "metrics" / "m1", halves, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("judge", "ship"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mulligan-embedding")
    parser.add_argument("--json", type=Path, default=RESULTS / "embedding.json")
    parser.add_argument("--steps", type=int, default=1500, help="of training a candidate")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    {"judge": judge, "ship": ship}[options.action](options)


if __name__ == "__main__":
    main()
