"""The mean and deviation of pixels at 8x8, by which `metrics.pixels` standardises them.

    python -m tools.pixel_constants

Over 100 images of each learning family whose licence lets what is learned ship, as they are and, those of 64 pixels a
side, at 32 as well. A tenth of the mean deviation is added to each, so that no pixel that hardly varies there counts
for more than others elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from benchmarks.common.families import read_family
from benchmarks.common.places import ROOT, ZOO
from mulligan.metrics.pixels import PIXELS, pixels_at_8x8
from tools.cards import write_with_card
from tools.m2_training import licences_of, resized, ships

EACH = 100  # images of a family
FLOOR = 0.1  # of the mean deviation
LEAST = 1e-4


def constants(zoo: Path) -> dict[str, np.ndarray]:
    """`mean` and `deviation`, float32 [192]."""
    sets = [read_family(zoo, name).images for name in ships(zoo)]
    sets = [each[np.random.default_rng(0).permutation(len(each))[:EACH]] for each in sets]
    sets += [resized(each, 32) for each in sets if each.shape[1] == 64]
    rows = np.concatenate([np.asarray(pixels_at_8x8(jnp.asarray(each))) for each in sets])
    deviation = rows.std(0)
    return {"mean": rows.mean(0), "deviation": deviation + LEAST + FLOOR * deviation.mean()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--out", type=Path, default=ROOT / "mulligan" / "metrics" / "pixels")
    options = parser.parse_args()
    card = {
        "dimension": PIXELS,
        "licence": "Apache-2.0",
        "measured_on": licences_of(options.zoo),
        "made_by": "python -m tools.pixel_constants",
    }
    write_with_card(options.out, constants(options.zoo), card)


if __name__ == "__main__":
    main()
