"""What a picture of `mulligan serve` takes, and whether memory stays flat: 2,000 requests of random seeds.

python benchmarks/speed/serve.py [RUN] [--requests N]      (without a run, fresh weights of the default recipe at 32x32)
"""

import argparse
import json
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import jax
import numpy as np

from mulligan.networks.architecture import build
from mulligan.recipe import Recipe
from mulligan.serve.server import make_server
from mulligan.training.generator import Generator, load


def resident_mib() -> float:
    """Memory of this process that is in use, on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def fresh() -> Generator:
    recipe = Recipe()
    return Generator(recipe, (32, 32, 3), None, build(recipe.architecture, (32, 32, 3), 0, jax.random.key(0)).gen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    server = make_server(load(arguments.run) if arguments.run else fresh(), port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    took, memory = [], {}
    for number in range(arguments.requests + 1):
        started = time.perf_counter()
        urlopen(f"http://127.0.0.1:{server.server_address[1]}/image.png?seed={number}").read()
        took.append(time.perf_counter() - started)
        if number and number % (arguments.requests // 10) == 0:
            memory[number] = round(resident_mib(), 1)
    server.shutdown()
    first, later = took[0], np.sort(took[1:]) * 1e3
    figures = {"median": np.median(later), "99%": later[int(0.99 * len(later))]}
    print(f"first picture {first:.2f} s, then " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in figures.items()))
    print("MiB by requests:", json.dumps(memory))


if __name__ == "__main__":
    main()
