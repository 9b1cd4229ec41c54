"""Which features and which distance rank bad images as a person, or a classifier of the very family, would?

    python benchmarks/metrics/judges.py measure --role validation   # what is measured is kept, family by family
    python benchmarks/metrics/judges.py table --role validation     # Kendall's tau, with intervals over families

Contenders are the networks of `--candidates` (weights by variant, as `m2_training.py` writes them), the same network
with random weights, m1, a network trained on ImageNet (`imagenet.py`) where its weights are, histograms of oriented
gradients, pixels at 8x8, and unions of these. Each measures how far sets of known badness (`degradations.py`,
`half_trained.py`) are from held-out real images, at 64 and at 32 pixels. Two things judge the ranking: a classifier
trained on that family alone, where it has classes, and the order within each kind, which anyone would give.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.stats import kendalltau, rankdata

from benchmarks.common.families import families, read_family
from benchmarks.common.intervals import interval
from benchmarks.common.places import ZOO, imagenet_weights
from benchmarks.metrics.degradations import TRAINED, UNORDERED, Material, clusters, degraded
from benchmarks.metrics.half_trained import (
    CLASSIFIER_SIDE,
    GANS,
    accuracy,
    classifier_features,
    colour,
    half_trained,
    train_classifier,
)
from benchmarks.metrics.imagenet import imagenet_features
from mulligan.metrics.embed import load_embedding
from mulligan.metrics.embedding_network import features as features_of
from mulligan.metrics.embedding_network import random_weights, weight_shapes
from mulligan.tasks.halves import halve
from tools.embedding_training import log_to
from tools.m2_training import M2, ships

COUNTS = {32: 160, 64: 100}  # images a side of each comparison
RANDOM_SEEDS = (1, 2)
FURTHER = ("class+simclr+deg",)  # of which more choices of features are tried
BOUND = 3.0  # deviations, beyond which features grow no more
BATCH = 40
FLOOR = 0.1  # of the mean deviation, added to each where no training made the features alike in scale
CLASSIFIER_STEPS = 300
PARTS = {"levels": slice(0, 304), "dense": slice(304, 432), "both": slice(0, 432)}
# Several spaces side by side, each so scaled that it adds as much to a squared distance as the others.
UNIONS = (
    ("m1", "gradients"),
    ("m1", "random 1"),
    ("m1", "pixels"),
    ("gradients", "random 1"),
    ("gradients", "pixels"),
    ("m1", "gradients", "random 1"),
    ("m1", "gradients", "pixels"),
    ("m1", "gradients", "random 1", "pixels"),
)
EDGES = (1, 2)  # pixels of the finest details, and of the next, of which patches are compared
PATCH, PATCHES = 7, 4  # side of a patch; from each image
Space = Callable[[np.ndarray], np.ndarray]  # uint8 [n, h, w, c] to [n, d], or to several rows an image


def in_batches(apply: Callable[[jax.Array], jax.Array]) -> Space:
    """Compiled once an image shape: the last batch is filled up."""

    def features(images: np.ndarray) -> np.ndarray:
        filled = np.concatenate([images, np.zeros((-len(images) % BATCH, *images.shape[1:]), np.uint8)])
        parts = [np.asarray(apply(filled[i : i + BATCH])) for i in range(0, len(filled), BATCH)]
        return np.concatenate(parts)[: len(images)]

    return features


def network(weights: dict[str, np.ndarray]) -> Callable[[jax.Array], jax.Array]:
    """Features of uint8 images in a network with these weights; traceable."""
    return lambda images: features_of(M2, weights, colour(images, images.shape[1]))


def network_space(weights: dict[str, np.ndarray]) -> Space:
    return in_batches(jax.jit(network(weights)))


def independent() -> dict[str, Space]:
    """Spaces that know nothing of the family that they judge: pixels at 8x8, m1, and two random networks."""
    known: dict[str, Space] = {"pixels": pixel_space, "m1": in_batches(load_embedding("m1").features)}
    random = {f"random {seed}": network_space(random_weights(weight_shapes(M2), seed)) for seed in RANDOM_SEEDS}
    return known | random


def edges() -> dict[str, Space]:
    """Spaces that see the finest details and no colours, by the details' side in pixels."""
    return {f"edges {side}": partial(edge_space, side) for side in EDGES}


@cache
def imagenet() -> dict[str, Space]:
    """The space of a network trained on ImageNet, where its weights are."""
    weights = imagenet_weights()
    return {"imagenet": in_batches(jax.jit(imagenet_features(weights)))} if weights else {}


def in_one_scale(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features around the real ones' mean, in their mean deviation."""
    middle, scale = real.mean(0), math.sqrt(float(real.var(0).mean()))
    return (real - middle) / scale, (fake - middle) / scale


def gradient_space(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients in 4x4 cells, 8 orientations; then means and deviations of the channels."""
    pixels = np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.float32) / 127.5 - 1
    down, right = np.gradient(pixels.mean(-1), axis=(1, 2))
    size, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi
    side = images.shape[1]
    bins = np.minimum((angle / np.pi * 8).astype(int), 7)[..., None] == np.arange(8)
    cells = (size[..., None] * bins).reshape(len(images), 4, side // 4, 4, side // 4, 8).mean((2, 4))
    return np.concatenate([cells.reshape(len(images), -1), pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)


def pixel_space(images: np.ndarray) -> np.ndarray:
    side = images.shape[1]
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    small = images.reshape(len(images), 8, side // 8, 8, side // 8, 3).mean((2, 4))
    return (small / 127.5 - 1).reshape(len(images), -1).astype(np.float32)


def edge_space(pixel: int, images: np.ndarray) -> np.ndarray:
    """Patches of what images lose when they are halved, at random places: several rows an image, without its colours.

    A level of a Laplacian pyramid, as in the sliced Wasserstein distance of Karras et al. 2018 (arXiv 1710.10196).

    Args:
      pixel: side of a detail, a power of 2: of the images themselves, or halved first.
    """
    n, height, width = (images.shape[0], *(side // pixel for side in images.shape[1:3]))
    fine = np.broadcast_to(images, (*images.shape[:3], 3)).reshape(n, height, pixel, width, pixel, 3).mean((2, 4))
    coarse = fine.reshape(n, height // 2, 2, width // 2, 2, 3).mean((2, 4))
    details = (fine - coarse.repeat(2, axis=1).repeat(2, axis=2)) / 127.5
    patches = np.lib.stride_tricks.sliding_window_view(details, (PATCH, PATCH), axis=(1, 2))
    rng, rows = np.random.default_rng(0), np.arange(n).repeat(PATCHES)
    top, left = (rng.integers(count, size=len(rows)) for count in patches.shape[1:3])
    return patches[rows, top, left].reshape(len(rows), -1).astype(np.float32)


def read_candidates(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Weights by variant, then random ones of the same network."""
    found: dict[str, dict[str, np.ndarray]] = {}
    stored = np.load(path) if path.exists() else {}
    for key in stored:
        variant, name = key.split("/")
        if not name.startswith("head"):
            found.setdefault(variant, {})[name] = stored[key]
    for seed in RANDOM_SEEDS:
        found[f"random {seed}"] = random_weights(weight_shapes(M2), seed)
    return found


def constants(spaces: dict[str, Space], zoo: Path, work: Path) -> dict[str, np.ndarray]:
    """Mean and deviation of every space's features over the families that may ship, at 64 and 32 pixels."""
    path = work / "constants.safetensors"
    if not path.exists():
        sets = [read_family(zoo, name).images for name in ships(zoo)]
        sets = [each[np.random.default_rng(0).permutation(len(each))[:100]] for each in sets]
        sets += [halve(each) for each in sets if each.shape[1] == 64]
        found = {}
        for name, space in spaces.items():
            features = np.concatenate([space(each) for each in sets])
            least = 1e-4 + FLOOR * features.std(0).mean() * (name in ("gradients", "pixels"))
            found[f"{name}/mean"], found[f"{name}/deviation"] = features.mean(0), features.std(0) + least
        save_file(found, path)
    return load_file(path)


# --- distances: real and fake [n, d] and [m, d]


def mean_distance(real: np.ndarray, fake: np.ndarray) -> float:
    return float(((real.mean(0) - fake.mean(0)) ** 2).sum())


def kid_distance(real: np.ndarray, fake: np.ndarray) -> float:
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    return discrepancy(kernel(real, real), kernel(fake, fake), kernel(real, fake))


def discrepancy(rr: np.ndarray, ff: np.ndarray, rf: np.ndarray) -> float:
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (rr, ff)]
    return float(within[0] + within[1] - 2 * rf.mean())


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squared, 0))


def energy_distance(real: np.ndarray, fake: np.ndarray) -> float:
    return -discrepancy(apart(real, real), apart(fake, fake), apart(real, fake))


def sliced_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Mean squared difference of sorted projections on 64 random directions; equal numbers of images."""
    directions = np.random.default_rng(0).normal(size=(real.shape[1], 64)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    return float(((np.sort(real @ directions, axis=0) - np.sort(fake @ directions, axis=0)) ** 2).mean())


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """With `tr (A B)^(1/2)` as the nuclear norm of the centred features' products, which are smaller than A and B."""
    a, b = real - real.mean(0), fake - fake.mean(0)
    crossed = a @ b.T / np.sqrt((len(a) - 1) * (len(b) - 1))
    values = np.linalg.eigvalsh((crossed @ crossed.T).astype(np.float64))
    spreads = (a**2).sum() / (len(a) - 1) + (b**2).sum() / (len(b) - 1)
    return float(mean_distance(real, fake) + spreads - 2 * np.sqrt(np.clip(values, 0, None)).sum())


DISTANCES = {
    "kid": kid_distance,
    "energy": energy_distance,
    "sliced": sliced_distance,
    "frechet": frechet,
}


# --- measuring


def split(images: np.ndarray, labels: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Half trains; of the rest, a reference, and as many or more that are made worse."""
    order = np.random.default_rng(0).permutation(len(images))
    cut = len(images) // 2
    count = min(count, (len(images) - cut) // 2)
    rows = {"train": order[:cut], "reference": order[cut : cut + count], "rest": order[cut + count :]}
    return {**{k: images[v] for k, v in rows.items()}, **{f"{k} labels": labels[v] for k, v in rows.items()}}


def sets_of(parts: dict[str, np.ndarray], strangers: np.ndarray, classes: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Names, "kind/strength", and images, as many as the reference has."""
    count, rest = len(parts["reference"]), parts["rest"]
    modes = parts["rest labels"] if classes else clusters(rest)
    yield "clean/0", rest[:count]
    for kind, sets in degraded(Material(rest[:count], rest, modes, strangers)).items():
        for strength, images in enumerate(sets, 1):
            yield f"{kind}/{strength}", images
    if rest.shape[1] == 32:
        for kind, gan in GANS.items():
            for step, images in zip(gan.steps, half_trained(gan, parts["train"], count), strict=True):
                yield f"gan: {kind}/{-step}", images


def contenders(
    name: str, raw: np.ndarray, real: np.ndarray, known: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Each choice of a network's features; of other spaces the one there is, standardised by the reference."""
    if name == "m1":  # as it ships
        yield name, raw
        return
    if name in ("own", "imagenet"):  # in one scale: single units may rest on all real images
        yield name, (raw - real.mean(0)) / np.sqrt(real.var(0).mean())
        return
    fixed = (raw - known[f"{name}/mean"]) / known[f"{name}/deviation"]
    if name in ("gradients", "pixels"):
        yield name, (raw - real.mean(0)) / (real.std(0) + FLOOR * real.std(0).mean())
        yield f"{name}, fixed", fixed
        return
    yield f"{name}, dense", fixed[:, PARTS["dense"]]
    yield f"{name}, both", fixed
    if name in FURTHER:
        yield f"{name}, levels", fixed[:, PARTS["levels"]]
        yield f"{name}, both, bounded", BOUND * np.tanh(fixed / BOUND)
        yield f"{name}, dense, bounded", BOUND * np.tanh(fixed[:, PARTS["dense"]] / BOUND)
        yield f"{name}, both, by reference", (raw - real.mean(0)) / (real.std(0) + 0.1 * known[f"{name}/deviation"])


def unions(raw: dict[str, np.ndarray], known: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The spaces of each of `UNIONS` side by side, by constants that no family of the study has touched."""
    for names in UNIONS:
        parts = []
        for name in names:
            part = raw[name] if name == "m1" else (raw[name] - known[f"{name}/mean"]) / known[f"{name}/deviation"]
            parts.append(part / np.sqrt(part.shape[1]))
        joined = np.concatenate(parts, axis=1)
        yield " + ".join(names), joined * np.sqrt(joined.shape[1] / len(parts))


def measure_family(name: str, side: int, options: argparse.Namespace, spaces: dict[str, Space], known: Any) -> None:
    path = options.work / f"{name}-{side}.json"
    family = read_family(options.zoo, name)
    if path.exists() or family.images.shape[1] < side:
        return
    started, classes = time.monotonic(), int(family.labels.max()) + 1
    parts = split(
        family.images if family.images.shape[1] == side else halve(family.images), family.labels, COUNTS[side]
    )
    names = families(options.role)
    stranger = read_family(options.zoo, names[(names.index(name) + 1) % len(names)]).images[:200]
    if stranger.shape[1] != side:
        stranger = halve(stranger) if stranger.shape[1] > side else stranger.repeat(2, 1).repeat(2, 2)
    channels = parts["rest"].shape[-1]
    stranger = (
        stranger[..., :channels]
        if channels < stranger.shape[-1]
        else np.broadcast_to(stranger, (*stranger.shape[:3], channels))
    )
    spaces = {**spaces, "m1": in_batches(load_embedding("m1").features), **imagenet()}
    found: dict[str, Any] = {"classes": classes, "values": {}}
    if classes > 1:
        weights = own_classifier(name, family, options)
        held = split(family.images, family.labels, COUNTS[64])
        found["accuracy"] = accuracy(weights, held["rest"], held["rest labels"])
        spaces["own"] = in_batches(
            jax.jit(lambda images: classifier_features(weights, colour(images, CLASSIFIER_SIDE)))
        )
    real = {space: features(parts["reference"]) for space, features in spaces.items()}
    reals = {space: dict(contenders(space, raw, raw, known)) for space, raw in real.items()}
    joined = dict(unions(real, known))
    log = log_to(options.work, f"{name} {side}")
    log("begun")
    for which, images in sets_of(parts, stranger, classes > 1):
        log(f"{which} {time.monotonic() - started:.0f} s, {time.process_time():.0f} of processor")
        raw = {space: features(images) for space, features in spaces.items()}
        pairs = [
            (label, reals[space][label], fake)
            for space in spaces
            for label, fake in contenders(space, raw[space], real[space], known)
        ]
        pairs += [(label, joined[label], fake) for label, fake in unions(raw, known)]
        for label, reference, fake in pairs:
            for distance in options.distances:
                value = DISTANCES[distance](reference, fake)
                found["values"].setdefault(f"{label}: {distance}", {})[which] = value
    path.write_text(json.dumps(found))
    log(f"{time.monotonic() - started:.0f} s, accuracy {found.get('accuracy')}")


def own_classifier(name: str, family: Any, options: argparse.Namespace) -> dict[str, np.ndarray]:
    path = options.work / f"own-{name}.safetensors"
    if not path.exists():
        parts = split(family.images, family.labels, COUNTS[64])
        log = log_to(options.work, f"own {name}")
        weights = train_classifier(parts["train"], parts["train labels"], CLASSIFIER_STEPS, log)
        save_file({key: np.asarray(value) for key, value in weights.items()}, path)
    return load_file(path)


def measure(options: argparse.Namespace) -> None:
    networks = read_candidates(options.candidates)
    spaces = {name: network_space(networks[name]) for name in options.variants or networks}
    spaces |= {"gradients": gradient_space, "pixels": pixel_space}
    known = constants(spaces, options.zoo, options.work)
    for side in options.sides:
        for name in options.only or families(options.role):
            measure_family(name, side, options, spaces, known)


# --- tables


def group(which: str) -> str:
    kind = which.split("/", maxsplit=1)[0]
    return (
        "gan"
        if kind.startswith("gan")
        else "trained"
        if kind in TRAINED
        else "clean"
        if kind == "clean"
        else "untrained"
    )


def with_truth(values: dict[str, dict[str, float]], groups: tuple[str, ...]) -> dict[str, float]:
    """Kendall's tau with the mean rank of KID and Frechet distance, as far as they were measured, in the family's own
    classifier."""
    true = [values[name] for name in ("own: kid", "own: frechet") if name in values]
    if not true:
        return {}
    sets = [which for which in true[0] if group(which) in (*groups, "clean")]
    truth = sum(rankdata([each[which] for which in sets]) for each in true)
    return {name: tau([each[which] for which in sets], truth) for name, each in values.items()}


def with_order(values: dict[str, dict[str, float]], groups: tuple[str, ...]) -> dict[str, float]:
    """The mean over kinds of Kendall's tau with the order of strengths, untouched images first."""
    kinds: dict[str, list[str]] = {}
    for which in next(iter(values.values())):
        kind = which.split("/")[0]
        if group(which) in groups and kind not in UNORDERED:
            kinds.setdefault(kind, ["clean/0"]).append(which)
    for rungs in kinds.values():
        rungs[1:] = sorted(rungs[1:], key=lambda which: int(which.split("/")[1]))  # steps are negative: most first
    return {
        name: float(np.mean([tau([each[which] for which in rungs], range(len(rungs))) for rungs in kinds.values()]))
        for name, each in values.items()
    }


def tau(found: Any, truth: Any) -> float:
    return float(np.nan_to_num(kendalltau(found, truth).statistic))


MEASURES = {
    "classifier, untrained": (with_truth, ("untrained",)),
    "classifier, gan": (with_truth, ("gan",)),
    "classifier, all": (with_truth, ("trained", "untrained", "gan")),
    "order, trained": (with_order, ("trained",)),
    "order, untrained": (with_order, ("untrained",)),
    "order, gan": (with_order, ("gan",)),
}

DECIDING = ("classifier, untrained", "classifier, gan", "order, trained", "order, untrained", "order, gan")


def agreements(options: argparse.Namespace) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """By measure and contender, (family, tau) pairs: one a side."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = {measure: {} for measure in MEASURES}
    for path in sorted(options.work.glob("*-[36][24].json")):
        name, side = path.stem.rsplit("-", 1)
        if name not in families(options.role):
            continue
        values = json.loads(path.read_text())["values"]
        for measure, (judge, groups) in MEASURES.items():
            if "gan" in groups and len(groups) == 1 and side != "32":
                continue
            for contender, value in judge(values, groups).items():
                found[measure].setdefault(contender, []).append((name, value))
    return found


def rival(name: str) -> list[str]:
    """The random weights with the same features and distance, or with all features."""
    features, distance = name.split(": ")
    part = features.split(", ", 1)[1] if ", " in features else "both"
    part = part if part in ("both", "dense") else "dense" if part.startswith("dense") else "both"
    return [f"random {seed}, {part}: {distance}" for seed in RANDOM_SEEDS]


def better(found: dict[str, list[tuple[str, float]]], name: str) -> list[tuple[str, float]]:
    """By how much its tau exceeds the mean of random weights, family by family."""
    others = np.mean([[value for _, value in found[other]] for other in rival(name)], axis=0)
    return [(family, value - float(other)) for (family, value), other in zip(found[name], others, strict=True)]


def table(options: argparse.Namespace) -> None:
    """Means of tau over families, the best first; in brackets the gain over random weights, 95% over families."""
    found = agreements(options)
    rows = [name for name in found["order, trained"] if not name.startswith("own")]
    scored = {name: np.mean([interval(found[m][name]).mean for m in DECIDING]) for name in rows}
    print(f"families: {len({family for family, _ in found['order, trained'][rows[0]]})}")
    print(f"| features: distance | {' | '.join(MEASURES)} | mean |\n{'|---' * (len(MEASURES) + 2)}|")
    for name in sorted(rows, key=lambda name: -scored[name])[: options.rows]:
        cells = []
        for measure in MEASURES:
            by, gain = found[measure], interval(better(found[measure], name))
            cells.append(f"{interval(by[name]).mean:.3f} ({gain.mean:+.3f}: {gain.low:+.3f}..{gain.high:+.3f})")
        print(f"| {name} | {' | '.join(cells)} | {scored[name]:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("measure", "table"))
    parser.add_argument("--role", choices=("validation", "test"), default="validation")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mulligan-judges")
    parser.add_argument("--candidates", type=Path, default=Path(tempfile.gettempdir()) / "mulligan-judges" / "m2.npz")
    parser.add_argument("--variants", nargs="+", help="of the candidates and of random 1, random 2; all if not given")
    parser.add_argument("--distances", nargs="+", choices=DISTANCES, default=list(DISTANCES))
    parser.add_argument("--only", nargs="+", help="families, to share the work among processes")
    parser.add_argument("--sides", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    {"measure": measure, "table": table}[options.action](options)


if __name__ == "__main__":
    main()
