"""How often the 95% interval of KID, or of the energy distance, misses the truth, for sides of unequal numbers.

    python benchmarks/metrics/kid_coverage.py --data ../shared/data
    python benchmarks/metrics/kid_coverage.py --figure energy

A population is the features of 6,000 images, in the default embedding and for the energy distance beside pixels,
untouched on one side, and on the other untouched, a little worse or much worse. The truth is the figure between the
populations; a trial draws images of each side and asks for the
interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.common.places import DATA
from mulligan.metrics.embed import Embedding, load_embedding
from mulligan.metrics.energy import energy_distance
from mulligan.metrics.kid import kid
from mulligan.metrics.mmd import MmdEstimate
from mulligan.metrics.pixels import beside_pixels

DISTANCES = {"kid": kid, "energy": energy_distance}
SIZES = ((30, 1000), (1000, 30), (100, 1000), (1000, 100), (300, 1000), (500, 500))  # real, generated


def populations(data: Path, name: str, space: Embedding) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Features of real images, and of others by how bad they are."""
    images = np.load(data / f"{name}.npz")["images"]
    images = images[np.random.default_rng(0).permutation(len(images))[:12_000]]
    images = images[..., None] if images.ndim == 3 else images
    half = len(images) // 2
    others = images[half:]
    worse = {
        "untouched": others,
        "blur 0.5": gaussian_filter(others, (0, 0.5, 0.5, 0)),
        "blur 1.5": gaussian_filter(others, (0, 1.5, 1.5, 0)),
    }
    return space(images[:half]), {kind: space(each) for kind, each in worse.items()}


def misses(
    distance: Callable[..., MmdEstimate], real: np.ndarray, fake: np.ndarray, sizes: tuple[int, int], trials: int
) -> tuple[float, float, float]:
    """Shares of intervals that lie wholly above and below the truth, and the median width over the truth."""
    truth = distance(real, fake).value
    rng, found = np.random.default_rng(0), []
    for trial in range(trials):
        some = [side[rng.choice(len(side), n, replace=False)] for side, n in zip((real, fake), sizes, strict=True)]
        found.append(distance(*some, trial))
    low, high = np.array([(each.low, each.high) for each in found]).T
    return float(np.mean(low > truth)), float(np.mean(high < truth)), float(np.median(high - low) / abs(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", default=["fashion_mnist", "cifar10"])
    parser.add_argument("--figure", choices=DISTANCES, default="kid")
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    print(
        "| set | images | real | generated | too high | too low | missed |\n|---|---|---|---|---|---|---|", flush=True
    )
    embedding, distance = load_embedding(), DISTANCES[options.figure]
    space = beside_pixels(embedding) if options.figure == "energy" else embedding
    for name in options.sets:
        real, worse = populations(options.data, name, space)
        for kind, fake in worse.items():
            for sizes in SIZES:
                above, below, _ = misses(distance, real, fake, sizes, options.trials)
                cells = (name, kind, *sizes, f"{above:.1%}", f"{below:.1%}", f"{above + below:.1%}")
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
