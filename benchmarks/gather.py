"""Gathers the experience that is shipped, and goes on where it stopped.

    python benchmarks/gather.py --time 3h --place first.db --ship

Two learners share the cores: one on grey images of 28x28 and smaller, the other on colour images at 16x16, whose trials
take about as long. Every family of `../shared/data` that is there is learned from, and the built-in ones. With `--ship`
all that the place then holds is written to `mulligan/data/experience-DATE.jsonl.gz`: numbers alone, never images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mulligan.meta.exchange import SHIPPED, SUFFIX, read, write_file
from mulligan.tasks.families import parse_source

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
GREY = (
    "glyphs@labels=A,g",
    "digits",
    "fashion_mnist.npz",
    "fashion_mnist.npz@labels=1,7",
    "mnist.npz",
    "mnist.npz@labels=3",
    "omniglot.npz",
    "omniglot.npz@alphabet=Greek,Korean",
)
COLOUR = (
    "textures@labels=pagoda,petals",
    "cifar10.npz",
    "cifar10.npz@labels=automobile,horse",
    "emoji_noto.npz",
    "emoji_noto.npz@labels=People & Body",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", default="3h")
    parser.add_argument("--place", required=True, help="the experience to fill: a file, or the URL of a database")
    parser.add_argument("--ship", action="store_true", help="write the file that goes into the package")
    arguments = parser.parse_args()
    learners = [
        _start(sources, more, arguments.time, arguments.place)
        for sources, more in ((GREY, ()), (COLOUR, ("--size", "16")))
    ]
    failed = any(learner.wait() for learner in learners)
    if arguments.ship:
        known = read(arguments.place)
        path = SHIPPED / f"experience-{datetime.now(UTC):%Y-%m-%d}{SUFFIX}"
        write_file(path, known)
        print(f"{path}: {len(known.trials)} trials on {len(known.tasks)} tasks")
    return int(failed)


def _start(sources: Sequence[str], more: Sequence[str], time: str, place: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mulligan", "learn", *_there(sources), *more]
    return subprocess.Popen([*command, "--time", time, "--experience", place], env=os.environ | {"TERM": "dumb"})


def _there(sources: Sequence[str]) -> list[str]:
    """The sources that are built in or lie in DATA, with their paths."""
    found = []
    for source in sources:
        name = parse_source(source).source
        if not name.endswith(".npz"):
            found.append(source)
        elif (DATA / name).is_file():
            found.append(str(DATA / source))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
