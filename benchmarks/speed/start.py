"""Seconds from the command to the first grids of samples, cold and warm.

    .venv/bin/python benchmarks/speed/start.py

Cold: mulligan's folder of compiled programs is empty, as in the first run ever. Warm: the same command again. The first
grid shows the untrained generator, as soon as there is one; the first trained one follows the first evaluation.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS
from mulligan.training.device import machine

MULLIGAN = str(Path(sys.executable).with_name("mulligan"))


FASHION = DATA / "fashion_mnist.npz"


def first_grids(data: str, budget: str, cache: Path) -> dict[str, float]:
    """Runs the command to its end: seconds until the first grid, the first of a trained generator, and the end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [MULLIGAN, "fit", data, "--time", budget, "--out", str(out), "--quiet"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        start = time.time()
        process = subprocess.Popen(command, env=environment | {"MULLIGAN_CACHE": str(cache)}, stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(out.glob("samples/*.png")):
            time.sleep(0.01)
        first = time.time() - start
        if process.wait():
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        measured = {"first_grid": first, "command": time.time() - start}
        trained = [path.stat().st_mtime - start for path in out.glob("samples/*.png") if int(path.stem) > 0]
        return measured | ({"first_trained_grid": min(trained)} if trained else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(FASHION) if FASHION.exists() else "digits")
    parser.add_argument("--time", default="20s", help="budget of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "start.json")
    chosen = parser.parse_args()
    warn_when_busy()
    seconds: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for state, measured in seconds.items():
                measured.append(first_grids(chosen.data, chosen.time, Path(cache)))
                print(state, {name: round(value, 2) for name, value in measured[-1].items()}, flush=True)
    for state, measured in seconds.items():
        for name in ("first_grid", "first_trained_grid", "command"):
            print(f"{state:5}{name:20}{spread([one.get(name, math.inf) for one in measured])} s")
    document = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    chosen.output.parent.mkdir(exist_ok=True)
    chosen.output.write_text(json.dumps(document | {"data": chosen.data, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
