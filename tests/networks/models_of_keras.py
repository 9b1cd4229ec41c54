"""Keras models for the tests: the article's two classes, and small ones with the layers that want care."""

import keras

layers = keras.layers


class Generator(keras.Model):
    """The article's: dense 128-128-784, the last a sigmoid."""

    def __init__(self, pixels=784):
        super().__init__()
        self.first = layers.Dense(128, activation="relu")
        self.second = layers.Dense(128, activation="relu")
        self.third = layers.Dense(pixels, activation="sigmoid")

    def call(self, inputs):
        return self.third(self.second(self.first(inputs)))


class Discriminator(keras.Model):
    """The article's: dense 128-128-1, the last a sigmoid."""

    def __init__(self, outputs=1):
        super().__init__()
        self.first = layers.Dense(128, activation="relu")
        self.second = layers.Dense(128, activation="relu")
        self.third = layers.Dense(outputs, activation="sigmoid")

    def call(self, inputs):
        return self.third(self.second(self.first(inputs)))


def conv_generator():
    """8x8x1 in [-1, 1] from 5 latents, with batch normalisation."""
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(2 * 2 * 4, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Reshape((2, 2, 4)),
            layers.Conv2DTranspose(4, 4, 2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(1, 5, 2, padding="same", activation="tanh"),
        ]
    )


def conv_discriminator():
    """Convolutions of several paddings, dropout, one logit."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 4, 2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Conv2D(3, 3),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


def small_generator():
    """Flat 8x8 in [0, 1] from 5 latents."""
    return keras.Sequential([keras.Input((5,)), layers.Dense(16, "relu"), layers.Dense(64, "sigmoid")])


def small_discriminator(outputs=1):
    """Of flat 8x8 images."""
    return keras.Sequential([keras.Input((64,)), layers.Dense(16, "relu"), layers.Dense(outputs)])
