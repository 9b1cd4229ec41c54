"""The two networks of a first GAN: dense 128-128-784 and dense 128-128-1, both ending in a sigmoid.

For `mulligan fit DATA --networks examples/models.py`, and for `examples/learned_gan.py`. They are plain Keras: under
`tf.keras` the same lines do the same.
"""

import keras


class Generator(keras.Model):
    """Latents to flat 28x28 images in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.dense1 = keras.layers.Dense(128, activation="relu")
        self.dense2 = keras.layers.Dense(128, activation="relu")
        self.dense3 = keras.layers.Dense(784, activation="sigmoid")

    def call(self, inputs):
        return self.dense3(self.dense2(self.dense1(inputs)))


class Discriminator(keras.Model):
    """Flat images to the probability that they are real."""

    def __init__(self):
        super().__init__()
        self.dense1 = keras.layers.Dense(128, activation="relu")
        self.dense2 = keras.layers.Dense(128, activation="relu")
        self.dense3 = keras.layers.Dense(1, activation="sigmoid")

    def call(self, inputs):
        return self.dense3(self.dense2(self.dense1(inputs)))


def generator():
    """What `--networks` calls."""
    return Generator()


def discriminator():
    """What `--networks` calls."""
    return Discriminator()
