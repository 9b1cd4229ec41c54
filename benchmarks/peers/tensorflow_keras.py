"""Keras 3 on TensorFlow, as a plain `tf.function` or compiled by XLA.

    python -m benchmarks.peers.tensorflow_keras WORKLOAD_JSON plain|xla [called|looped]

The step is called from Python, or looped over inside one graph as Keras does with `steps_per_execution`; without a
choice both are tried and the faster is kept.
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"  # before Keras is imported, whatever the caller's own models run on

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.speed.worker import Contender, Weights, serve
from benchmarks.speed.workload import KERNEL, LEAK, Workload, load_images

LOOPS = ("called", "looped")
STEPS_IN_GRAPH = 5


def networks(workload: Workload) -> tuple[keras.Model, keras.Model]:
    """Generator, `[n, latent]` to `[n, h, w, c]`, and discriminator, to `[n, 1]`."""
    w, image = workload.width, (workload.height, workload.height, workload.channels)
    leak = lambda: layers.LeakyReLU(LEAK)  # noqa: E731
    if workload.family == "mlp":
        gen = [layers.Dense(w), leak(), layers.Dense(w), leak(), layers.Dense(workload.pixels), layers.Reshape(image)]
        disc = [layers.Flatten(), layers.Dense(w), leak(), layers.Dense(w), leak(), layers.Dense(1)]
    else:
        grid = (workload.grid, workload.grid, 2 * w)
        up = lambda out: layers.Conv2DTranspose(out, KERNEL, strides=2, padding="same")  # noqa: E731
        down = lambda out: layers.Conv2D(out, KERNEL, strides=2, padding="same")  # noqa: E731
        gen = [layers.Dense(int(np.prod(grid))), layers.Reshape(grid), leak(), up(w), leak(), up(image[-1])]
        disc = [down(w), leak(), down(2 * w), leak(), layers.Flatten(), layers.Dense(1)]
    gen_input, disc_input = keras.Input((workload.latent,)), keras.Input(image)
    return keras.Sequential([gen_input, *gen, layers.Activation("tanh")]), keras.Sequential([disc_input, *disc])


class Training:
    """Networks, optimisers and resident images of one run; `step` takes uint8 `[batch, h, w, c]` and latents."""

    def __init__(self, workload: Workload, xla: bool, loop: str):
        self.workload = workload
        self.gen, self.disc = networks(workload)
        self.average = [tf.Variable(weights) for weights in self.gen.trainable_variables]
        self.gen_adam, self.disc_adam = self._adam(self.gen), self._adam(self.disc)
        self.images = tf.constant(load_images(workload))
        self.step = tf.function(self._step, jit_compile=xla, autograph=False)
        self.step_on_random = tf.function(self._step_on_random, autograph=False)
        self.steps_in_graph = tf.function(self._steps_in_graph)
        self.looped = loop == "looped"

    def _adam(self, net: keras.Model) -> keras.optimizers.Optimizer:
        w = self.workload
        adam = keras.optimizers.Adam(w.learning_rate, w.beta1, w.beta2, w.epsilon)
        adam.build(net.trainable_variables)
        return adam

    def _step(self, pixels: tf.Tensor, latent: tf.Tensor) -> None:
        real = tf.cast(pixels, tf.float32) / 127.5 - 1
        gen_weights, disc_weights = self.gen.trainable_variables, self.disc.trainable_variables
        with tf.GradientTape() as generation:
            fake = self.gen(latent, training=True)
        with tf.GradientTape() as tape:
            loss = self._disc_objective(real, fake)
        self.disc_adam.apply(tape.gradient(loss, disc_weights), disc_weights)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(fake)
            loss = self._gen_objective(real, fake)
        slopes = generation.gradient(fake, gen_weights, output_gradients=tape.gradient(loss, fake))
        self.gen_adam.apply(slopes, gen_weights)
        for average, weights in zip(self.average, gen_weights, strict=True):
            average.assign_add((1 - self.workload.ema_decay) * (weights - average))

    def _disc_objective(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        both = tf.concat([real, fake], 0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(both)
            logits = self.disc(both, training=True)
        real_logits, fake_logits = tf.split(logits, 2)
        if self.workload.loss == "relativistic":
            loss = tf.reduce_mean(tf.nn.softplus(fake_logits - real_logits))
        else:
            loss = tf.reduce_mean(tf.nn.softplus(-real_logits) + tf.nn.softplus(fake_logits))
        if self.workload.gamma == 0:
            return loss
        penalty = tf.reduce_sum(tf.square(tape.gradient(logits, both))) / self.workload.batch
        return loss + self.workload.gamma / 2 * penalty

    def _gen_objective(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        fake_logits = self.disc(fake, training=True)
        if self.workload.loss == "relativistic":
            return tf.reduce_mean(tf.nn.softplus(self.disc(real, training=True) - fake_logits))
        return tf.reduce_mean(tf.nn.softplus(-fake_logits))

    def _step_on_random(self) -> None:
        w = self.workload
        chosen = tf.random.uniform((w.batch,), maxval=len(self.images), dtype=tf.int32)
        self.step(tf.gather(self.images, chosen), tf.random.normal((w.batch, w.latent)))

    def _steps_in_graph(self) -> None:
        for _ in tf.range(STEPS_IN_GRAPH):
            self._step_on_random()

    def run(self, steps: int) -> None:
        ahead = steps // STEPS_IN_GRAPH if self.looped else 0
        for _ in range(ahead):
            self.steps_in_graph()
        for _ in range(steps - ahead * STEPS_IN_GRAPH):
            self.step_on_random()
        self.average[0].numpy()

    def replay(self, start: Weights, batches: np.ndarray, latents: np.ndarray) -> Weights:
        held = Weights(self.gen.trainable_variables, self.disc.trainable_variables, self.average)
        for given, variables in zip(start, held, strict=True):
            for weights, variable in zip(given, variables, strict=True):
                variable.assign(weights)
        for pixels, latent in zip(batches, latents, strict=True):
            self.step(tf.constant(pixels), tf.constant(latent))
        return Weights(*([variable.numpy() for variable in variables] for variables in held))


def prepare(workload: Workload, form: str, loops: list[str]) -> Contender:
    tf.random.set_seed(0)
    forms = {loop: Training(workload, form == "xla", loop) for loop in loops}
    first = forms[loops[0]]
    parameters = {"gen_parameters": first.gen.count_params(), "disc_parameters": first.disc.count_params()}
    return Contender({"tensorflow": tf.__version__, "keras": keras.__version__, **parameters}, dict(forms))


if __name__ == "__main__":
    document, form, *loops = sys.argv[1:]
    serve(lambda: prepare(Workload.from_json(document), form, loops or list(LOOPS)))
