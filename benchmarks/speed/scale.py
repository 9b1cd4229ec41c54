"""How cost grows with the images and with their pixels, and whether reading keeps up with training.

    .venv/bin/python benchmarks/speed/scale.py images pixels seconds streaming plot

Every figure is of a processor's seconds (all threads of a process of its own): these depend least on what else runs.

* images: reading a task of N grey images of 16x16 in one `.npy`, and the first images on the device, for the first time
  and again; and the memory at its highest.
* pixels: operations of a training image and of an evaluation at each size, counted.
* seconds: the same in seconds, with the default recipe of a minute; minutes of compiling.
* streaming: images trained on in so many seconds of a processor, from memory and from the disk, in turns.
* plot: the two figures of docs/scale.md, from what was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.places import RESULTS, ROOT

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
SIDES = (16, 32, 64, 128, 256)
BLOCK = 100_000  # images written at a time
TRAINED_SECONDS = 6.0  # of a processor, a size
TURNS, TURN_SECONDS = 4, 5.0
WIDTH = 8  # of the networks whose operations are counted
NARROW, MINUTE = 20_000, 72_000  # images of budgets: for networks of that width, and a core's at 32x32
STREAMED = 10_240  # images of the comparison, of which 8,192 train: as many as a ring holds


def write_images(path: Path, n: int, side: int, channels: int) -> None:
    """Random images in one `.npy`, written without holding them."""
    shape = (n, side, side, channels)
    stored, rng = np.lib.format.open_memmap(path, "w+", np.uint8, shape), np.random.default_rng(0)
    for start in range(0, n, BLOCK):
        part = stored[start : start + BLOCK]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    stored.flush()


def read(path: str) -> dict[str, Any]:
    """In this process: seconds until the task is read, and until the first images lie on the device; GiB in all."""
    from mulligan.tasks.images import read_task
    from mulligan.training.feed import Feed

    began = time.process_time()
    task = read_task(path)
    done = time.process_time()
    Feed(task.train, False, 0, 0).data(0).images.block_until_ready()
    first = time.process_time()
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"read": done - began, "first": first - done, "memory_gib": memory_gib}


def train(side: str) -> dict[str, Any]:
    """In this process: seconds a training image, and an evaluation, at this size."""
    from mulligan.meta.space.default import default_recipe
    from mulligan.tasks.images import read_task
    from mulligan.training.budget import Budget
    from mulligan.training.device import cache_programs
    from mulligan.training.engine import Sampler, make_game, start_state
    from mulligan.training.evaluation import Evaluator
    from mulligan.training.feed import Feed
    from mulligan.training.progress import Progress
    from mulligan.training.session import advance, evaluate, open_session

    cache_programs()
    shape = (int(side), int(side), 3)
    task = read_task(np.random.default_rng(0).integers(0, 256, (600, *shape), np.uint8))
    recipe = default_recipe(shape, len(task.train), Budget(NARROW, None))
    game = make_game(recipe, shape, 0, 1e6)
    state, sampler = start_state(game, recipe, shape, 0, seed=0), Sampler.make(recipe.architecture, 0)
    began = time.process_time()
    make = lambda: Evaluator.make(task, sampler, "validation")  # noqa: E731
    session = open_session(game, state, Feed(task.train, False, 0, 0), make, state.gen)
    compiled = time.process_time()
    state, _, progress = advance(session, state, 1, Progress())
    steps, trained, seen = 1, time.process_time(), progress.spent_nimg
    while time.process_time() - trained < TRAINED_SECONDS:
        state, _, progress = advance(session, state, steps, progress)
        steps = min(2 * steps, 64)
    done = time.process_time()
    evaluate(session, state.gen, progress)
    return {
        "compile": compiled - began,
        "image": (done - trained) / (progress.spent_nimg - seen),
        "evaluation": time.process_time() - done,
        "width": recipe.architecture.gen_width,
    }


def counted(side: int) -> dict[str, float]:
    """Operations of a training image and of an evaluation at this size, with the narrowest networks of the law."""
    from mulligan.meta.space.cost import footprint, passes
    from mulligan.metrics import EMBEDDING
    from mulligan.metrics.embed import load_embedding
    from mulligan.recipe import Architecture, Recipe
    from mulligan.training.evaluation import FAKE_PIXELS, FAKES, FEWEST_FAKES

    shape, recipe = (side, side, 3), Recipe(Architecture(gen_width=WIDTH, disc_width=WIDTH))
    looked_at = passes(recipe.architecture, shape, 0)[0].flops + load_embedding(EMBEDDING).flops(side, side)
    fakes = min(FAKES, max(FAKE_PIXELS // side**2, FEWEST_FAKES))
    image = footprint(recipe, shape).flops_per_image
    return {"side": side, "image": image, "evaluation": fakes * looked_at, "unbounded": FAKES * looked_at}


def stream(folder: str) -> dict[str, Any]:
    """In this process: images trained on a second of a processor, from memory, an array on the disk, and files."""
    from PIL import Image

    from mulligan.meta.space.default import default_recipe
    from mulligan.tasks import read_before
    from mulligan.tasks.images import read_task
    from mulligan.training.budget import Budget
    from mulligan.training.device import cache_programs
    from mulligan.training.engine import make_game, start_state
    from mulligan.training.feed import Feed
    from mulligan.training.progress import Progress
    from mulligan.training.session import advance, open_session

    cache_programs()
    shape, root = (32, 32, 3), Path(folder)
    write_images(root / "a.npy", STREAMED, 32, 3)
    (root / "files").mkdir()
    for number, image in enumerate(np.load(root / "a.npy", mmap_mode="r")):
        Image.fromarray(image).save(root / "files" / f"{number:05d}.png")
    recipe = default_recipe(shape, STREAMED, Budget(MINUTE, None))
    game = make_game(recipe, shape, 0, 1e6)
    ways: dict[str, Any] = {"memory": {}, "array": {"memory": 2**20}, "files": {"memory": 2**20}}
    read_before.DISK_SHARE = 0.0  # so that files are decoded whenever they are drawn
    sessions = {}
    for way, options in ways.items():
        task = read_task(root / ("files" if way == "files" else "a.npy"), **options)
        feed = Feed(task.train, False, 0, 0)
        state = start_state(game, recipe, shape, 0, seed=0)
        session = open_session(game, state, feed, None)
        sessions[way] = [session, *advance(session, state, 1, Progress())[::2]]
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(TURNS):
        for way in list(ways)[turn % 3 :] + list(ways)[: turn % 3]:
            session, state, progress = sessions[way]
            began, seen = time.process_time(), progress.spent_nimg
            while time.process_time() - began < TURN_SECONDS:
                state, _, progress = advance(session, state, 100, progress)
            speeds[way].append((progress.spent_nimg - seen) / (time.process_time() - began))
            sessions[way] = [session, state, progress]
    return speeds


def in_process(part: str, argument: str, cache: str) -> dict[str, Any]:
    """What a part finds in a process of its own."""
    environment = os.environ | {"MULLIGAN_CACHE": cache, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, "--part", part, argument]
    found = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    print(part, argument, {name: np.round(value, 5).tolist() for name, value in found.items()}, flush=True)
    return found


def plot(results: dict[str, Any], folder: Path) -> None:
    """Both figures, with the straight line through the first point beside what was measured."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    counts = [row["images"] for row in results["images"]]
    for name, label in (("cold", "read for the first time"), ("warm", "read again")):
        seconds = [row[name]["read"] + row[name]["first"] for row in results["images"]]
        left.loglog(counts, seconds, "o-", label=label)
        left.loglog(counts, seconds[0] * np.array(counts) / counts[0], ":", color="grey")
    left.set(xlabel="images of 16x16", ylabel="processor seconds to the first batch", title="Reading")
    sides = [row["side"] for row in results["pixels"]]
    pixels = np.array(sides) ** 2
    for name, label, style in (
        ("image", "training on 1,000 images", "o-"),
        ("evaluation", "one evaluation", "o-"),
        ("unbounded", "... of 1,000 images at every size", "--"),
    ):
        flops = np.array([row[name] * (1_000 if name == "image" else 1) for row in results["pixels"]]) / 1e9
        right.loglog(pixels, flops, style, label=label)
        right.loglog(pixels, flops[0] * pixels / pixels[0], ":", color="grey")
    right.set(xlabel="pixels", ylabel="billion operations", title=f"Training and looking, networks of width {WIDTH}")
    right.set_xticks(pixels, [f"{side}x{side}" for side in sides])
    right.minorticks_off()
    for axes in (left, right):
        axes.plot([], [], ":", color="grey", label="in proportion")
        axes.legend()
    figure.savefig(folder / "scale.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", help="images, pixels, seconds, streaming, plot")
    parser.add_argument("--part", choices=("read", "train", "stream"), help="one measurement, in this process")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES))
    parser.add_argument("--output", type=Path, default=RESULTS / "scale.json")
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps({"read": read, "train": train, "stream": stream}[chosen.part](chosen.parts[0])))
        return
    results = json.loads(chosen.output.read_text()) if chosen.output.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        if "images" in chosen.parts:
            results["images"] = []
            for n in chosen.counts:
                path = Path(folder) / f"{n}.npy"
                write_images(path, n, 16, 1)
                cold, warm = (in_process("read", str(path), folder) for _ in range(2))
                results["images"].append({"images": n, "cold": cold, "warm": warm})
                path.unlink()
        if "pixels" in chosen.parts:
            results["pixels"] = [counted(side) for side in chosen.sides]
        if "seconds" in chosen.parts:
            results["seconds"] = [{"side": side, **in_process("train", str(side), folder)} for side in chosen.sides]
        if "streaming" in chosen.parts:
            results["streaming"] = in_process("stream", folder, folder)
    chosen.output.parent.mkdir(exist_ok=True)
    chosen.output.write_text(json.dumps(results, indent=1))
    if "plot" in chosen.parts:
        plot(results, ROOT / "docs/images")


if __name__ == "__main__":
    main()
