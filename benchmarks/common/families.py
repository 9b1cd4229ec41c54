"""Which image families learn, which validate, which test: drawn once, before anything was run on them, and frozen.

`families.json` was written by `python benchmarks/common/families.py draw ZOO`. The six older sets designed much of
mulligan (networks, default recipes, the embedding `m1`), so they can only be for learning. Of the 34 families of the
zoo, ten test and ten validate, two of each ten among those whose licence lets weights learned from them ship, so that
enough of these are left to learn from. The families under `test` design, probe, tune and select nothing: only programs
named in `MAY_TEST` read them.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

FROZEN = Path(__file__).with_name("families.json")
OLDER = ("cifar10", "digits", "emoji_noto", "fashion_mnist", "mnist", "omniglot")
ELSEWHERE = ("clipart", "objects drawn at random")  # no families, but what else weights that ship may be learned from
SEED = 20261127
EACH, EACH_SHIPPING = 10, 2
ROLES = ("learning", "validation", "test")
MAY_TEST = (  # programs that may ask for the families under "test"
    "benchmarks/quality/fit_against_fresh.py",
    "benchmarks/quality/fit_of_versions.py",
    "benchmarks/quality/pretrained_runs.py",
    "benchmarks/quality/weighted_latents.py",
)


class Labelled(NamedTuple):
    """Images uint8 `[n, h, w, c]`, and the class of each, int64 `[n]` (zeros where a family has no classes)."""

    images: np.ndarray
    labels: np.ndarray


def families(role: str) -> tuple[str, ...]:
    """The names of the families with this role, in alphabetical order."""
    return tuple(json.loads(FROZEN.read_text())[role])


def may_ship(zoo: Path) -> tuple[str, ...]:
    """The families of the zoo whose licence lets weights learned from them ship, by the table in its README."""
    rows = [line.split("|")[1:-1] for line in (zoo / "README.md").read_text().splitlines() if line.startswith("| ")]
    names = {row[0].strip().removesuffix(".zip"): row[9].strip() for row in rows if ".zip" in row[0]}
    return tuple(sorted(name for name, ship in names.items() if ship == "yes"))


def read_family(zoo: Path, name: str) -> Labelled:
    """All images of one family of the zoo, in the order of their names."""
    with zipfile.ZipFile(zoo / f"{name}.zip") as archive:
        files = sorted(entry for entry in archive.namelist() if entry.lower().endswith((".png", ".jpg")))
        images = [np.asarray(Image.open(io.BytesIO(archive.read(file)))) for file in files]
    classes = [str(Path(file).parent) for file in files]
    stacked = np.stack(images)
    labels = np.unique(classes, return_inverse=True)[1].astype(np.int64)
    return Labelled(stacked[..., None] if stacked.ndim == 3 else stacked, labels)


def draw(zoo: Path) -> dict[str, list[str]]:
    """The roles of all families: two strata, each shuffled with the seed."""
    every = sorted(path.stem for path in zoo.glob("*.zip"))
    shipping = [name for name in every if name in may_ship(zoo)]
    others = [name for name in every if name not in shipping]
    rng = np.random.default_rng(SEED)
    drawn: dict[str, list[str]] = {role: [] for role in ROLES}
    for stratum, each in ((shipping, EACH_SHIPPING), (others, EACH - EACH_SHIPPING)):
        order = [str(name) for name in rng.permutation(stratum)]
        drawn["test"] += order[:each]
        drawn["validation"] += order[each : 2 * each]
        drawn["learning"] += order[2 * each :]
    drawn["learning"] += OLDER
    return {role: sorted(names) for role, names in drawn.items()}


def main() -> None:
    if sys.argv[1:2] != ["draw"] or len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/common/families.py draw ZOO")
    if FROZEN.exists():
        sys.exit(f"{FROZEN.name} is frozen: a new draw would make families that were seen unseen.")
    FROZEN.write_text(json.dumps(draw(Path(sys.argv[2])), indent=1) + "\n")


if __name__ == "__main__":
    main()
