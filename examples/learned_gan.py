"""A plain GAN in Keras, and what is gained when its parts are learned, one after the other.

    python examples/learned_gan.py fashion_mnist.npz --seconds 100

Every step gets the same time and starts anew; each adds one thing to the step before it:

1. plain: the two Keras classes of `models.py` as is usual: Adam at 2e-4, non-saturating, the last iterate;
2. architecture: convolutional networks of mulligan's in their place, the game as it was;
3. hyperparameters: the recipe that did best when many were compared: loss, penalty, rates;
4. strategy: rates and penalty changed while training by what helps (follow the regularised leader);
5. averaging: the averages of the run compared on validation images, and the best kept.

The result is a table of KID and Frechet distance on test images that no step saw, and a grid of samples a step. It
takes five times `--seconds`, and what a first compilation takes.
"""

import argparse
import dataclasses
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # before Keras is imported

from models import Discriminator, Generator

import mulligan
from mulligan.meta.space.default import default_recipe, textbook_recipe
from mulligan.recipe import Architecture
from mulligan.training.budget import Budget


def main() -> None:
    """Runs the five steps and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="28x28 grey images, as `mulligan fit` takes them")
    parser.add_argument("--seconds", type=float, default=100.0, help="of each step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/learned_gan"), help="folder to make")
    arguments = parser.parse_args()
    rows = []
    for name, options in steps(arguments.seconds).items():
        print(f"{name} ...", flush=True)
        common = {"time": arguments.seconds, "seed": arguments.seed, "out": arguments.out / name}
        gan = mulligan.fit(arguments.data, **common, **options)
        rows.append((name, gan.result))
    print("\n".join(table(rows)))
    print(f"samples: {arguments.out}/*/final/samples.png")


def steps(seconds: float) -> dict:
    """What each step asks of `mulligan.fit`."""
    plain = textbook_recipe()
    found = default_recipe((28, 28, 1), 60_000, Budget(None, seconds))
    convolutional = Architecture(gen_width=found.architecture.gen_width, disc_width=found.architecture.disc_width)
    tuned = dataclasses.replace(found, averages=())
    return {
        "plain": {"recipe": plain, "generator": Generator(), "discriminator": Discriminator()},
        "architecture": {"recipe": dataclasses.replace(plain, architecture=convolutional)},
        "hyperparameters": {"recipe": tuned},
        "strategy": {"recipe": tuned, "strategy": "fork"},
        "averaging": {"recipe": found, "strategy": "fork"},
    }


def table(rows: list) -> list[str]:
    """The figures of each step, and how KID compares with the step before, as Markdown."""
    lines = ["| step | KID@m1 | Frechet@m1 | KID over the step before |", "|---|---|---|---|"]
    before = None
    for name, result in rows:
        interval = f"{result['kid']:.4f} ({result['kid_low']:.4f} to {result['kid_high']:.4f})"
        ratio = "" if before is None else f"{result['kid'] / before:.2f}"
        lines.append(f"| {name} | {interval} | {result['frechet']:.2f} | {ratio} |")
        before = result["kid"]
    return lines


if __name__ == "__main__":
    main()
