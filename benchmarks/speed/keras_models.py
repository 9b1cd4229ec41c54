"""How fast two Keras models train in mulligan, against its own networks of that shape and a TensorFlow loop.

    python benchmarks/speed/keras_models.py --rounds 3 --seconds 3

The models are those of `examples/models.py`, the game is the non-saturating one without penalty, Adam, batches of 64 of
random 28x28 images: the discriminator moves first, and the generator answers the new one with the same fakes. Every
contender is a process of its own, compiled before anything is timed; they take turns. The TensorFlow loop is a
`tf.function` step called from Python; it is left out where TensorFlow is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.common.places import ROOT

BATCH, LATENT, CHUNK = 64, 64, 50
BACKENDS = {"own": "jax", "keras": "jax", "tensorflow": "tensorflow"}


def main() -> None:
    """Times all contenders and prints the ratios; or, as one of them, serves its turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--contender", choices=BACKENDS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(tensorflow_steps() if arguments.contender == "tensorflow" else mulligan_steps(arguments.contender))
        return
    names = [name for name in BACKENDS if name != "tensorflow" or importlib.util.find_spec("tensorflow")]
    workers = {name: start(name) for name in names}
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name, worker in workers.items():
            speeds[name].append(turn(worker, arguments.seconds))
    for worker in workers.values():
        worker.stdin.close()
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {f"keras / {name}": round(medians["keras"] / medians[name], 2) for name in names if name != "keras"}
    print(json.dumps({"steps_per_second": speeds, "ratios_of_medians": ratios}, indent=2))


def start(name: str) -> subprocess.Popen:
    """A contender's process, compiled."""
    environment = {**os.environ, "KERAS_BACKEND": BACKENDS[name], "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--contender", name]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    turn(worker, 0.0)
    return worker


def turn(worker: subprocess.Popen, seconds: float) -> float:
    """Steps a second of one turn."""
    worker.stdin.write(f"{seconds}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def serve(run: Callable[[], None]) -> None:
    """Answers each line, a number of seconds, with the steps a second that `run`, which makes `CHUNK` steps, did."""
    run()
    for line in sys.stdin:
        began, chunks = time.monotonic(), 0
        while not chunks or time.monotonic() - began < float(line):
            run()
            chunks += 1
        print(chunks * CHUNK / (time.monotonic() - began), flush=True)


def models() -> tuple:
    """The generator and discriminator of the examples."""
    sys.path.insert(0, str(ROOT / "examples"))
    from models import Discriminator, Generator

    return Generator(), Discriminator()


def mulligan_steps(name: str) -> Callable[[], None]:
    """A chunk of mulligan's engine."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from mulligan.game.step import Data
    from mulligan.networks.keras_models import adopt
    from mulligan.recipe import Architecture, Hyperparameters, Recipe
    from mulligan.training.engine import compile_engine, make_game, start_state

    own = Architecture(
        "mlp", gen_width=128, disc_width=128, gen_depth=2, disc_depth=2, activation="relu", latent=LATENT
    )
    architecture = own if name == "own" else adopt(*models(), LATENT)
    rates = Hyperparameters(gen_lr=2e-4, disc_lr=2e-4, gen_beta1=0.5, disc_beta1=0.5)
    recipe = Recipe(architecture, "nonsaturating", "none", batch=BATCH, averages=(), hyperparameters=rates)
    game = make_game(recipe, (28, 28, 1), 0, 1.0)
    data = Data(jnp.asarray(np.random.default_rng(0).integers(0, 256, (10_000, 28, 28, 1)).astype(np.uint8)))
    held = [start_state(game, recipe, (28, 28, 1), 0, 0)]
    engine = compile_engine(game, held[0], data)

    def run() -> None:
        held[0], info = engine.chunk(held[0], data, CHUNK)
        jax.block_until_ready(info)

    return run


def tensorflow_steps() -> Callable[[], None]:
    """A training step as TensorFlow's guides write it."""
    import keras
    import numpy as np
    import tensorflow as tf

    gen, disc = models()
    images = tf.constant(np.random.default_rng(0).random((10_000, 784), np.float32))
    adams = [keras.optimizers.Adam(2e-4, 0.5) for _ in range(2)]
    cross_entropy = keras.losses.BinaryCrossentropy()
    disc(gen(tf.zeros((1, LATENT))))
    for adam, model in zip(adams, (gen, disc), strict=True):
        adam.build(model.trainable_variables)

    @tf.function
    def step() -> None:
        real = tf.gather(images, tf.random.uniform((BATCH,), 0, 10_000, tf.int32))
        with tf.GradientTape() as gen_tape:
            fake = gen(tf.random.normal((BATCH, LATENT)), training=True)
            with tf.GradientTape() as disc_tape:
                of_real, of_fake = disc(real, training=True), disc(tf.stop_gradient(fake), training=True)
                disc_loss = cross_entropy(tf.ones_like(of_real), of_real)
                disc_loss += cross_entropy(tf.zeros_like(of_fake), of_fake)
            move(adams[1], disc_tape.gradient(disc_loss, disc.trainable_variables), disc)
            of_fake = disc(fake, training=True)
            gen_loss = cross_entropy(tf.ones_like(of_fake), of_fake)
        move(adams[0], gen_tape.gradient(gen_loss, gen.trainable_variables), gen)

    def move(adam: keras.optimizers.Optimizer, gradient: list, model: keras.Model) -> None:
        adam.apply(gradient, model.trainable_variables)

    def run() -> None:
        for _ in range(CHUNK):
            step()

    return run


if __name__ == "__main__":
    main()
