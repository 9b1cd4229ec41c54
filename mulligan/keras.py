"""mulligan for people who know Keras: a model with `compile` and `fit`, trained by the compiled engine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.errors import UsageError
from mulligan.game.step import pixels
from mulligan.meta.space.default import handmade_recipe
from mulligan.networks.keras import KerasNetwork, with_batch_statistics, write_back
from mulligan.networks.keras_models import adopt, import_keras_on_jax
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget
from mulligan.training.device import cache_programs
from mulligan.training.engine import Sampler, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.progress import Progress
from mulligan.training.session import advance, open_session

keras = import_keras_on_jax()

SEED = 0
SETTLING = 400  # images that moving statistics are taken of after an epoch


class GAN(keras.Model):
    """A generator and a discriminator, trained against each other.

    `fit` runs whole epochs as one compiled program, so callbacks hear of epochs and not of batches. After each epoch
    both models hold what was trained: the generator its moving average, with moving statistics to match.

    Args:
      generator: a Keras model from latents to images.
      discriminator: a Keras model from images to one number each.
      latent_dim: of the latents, where the generator does not say; 64 if None.
    """

    def __init__(self, generator: Any, discriminator: Any, latent_dim: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = latent_dim
        self.recipe: Recipe | None = None

    def compile(self, recipe: Recipe | None = None, **changes: Any) -> None:
        """What to play by.

        Args:
          recipe: all of it; None for the one made by hand, whose rates stay: fitting again has no end to decay to.
          changes: fields of `Recipe` or of `Hyperparameters`, such as `loss="hinge"` or `gen_lr=1e-3`.

        Raises:
          UsageError: a change that neither has.
        """
        super().compile()
        recipe = recipe or handmade_recipe((32, 32, 1), 50_000, Budget(None, 600.0))
        fields = {field.name for field in dataclasses.fields(Recipe)} - {"architecture", "hyperparameters"}
        numbers = set(recipe.hyperparameters._fields)
        for name in changes.keys() - fields - numbers:
            raise UsageError(f"a GAN has no {name!r} to compile; it has {', '.join(sorted(fields | numbers))}.")
        values = {name: value for name, value in changes.items() if name in numbers}
        chosen = {name: value for name, value in changes.items() if name in fields}
        hyperparameters = recipe.hyperparameters._replace(**values)
        self.recipe = dataclasses.replace(recipe, hyperparameters=hyperparameters, **chosen)

    def fit(
        self,
        x: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 64,
        callbacks: Sequence[Any] = (),
        validation: bool = True,
        verbose: int | str = "auto",
    ) -> Any:
        """Trains for `epochs` passes over the images.

        Args:
          x: images, as `mulligan.fit` takes them; a tenth is set aside for validation and as much for a test.
          epochs: at least 1.
          batch_size: images a step.
          callbacks: of Keras; `EarlyStopping(monitor="val_kid")` and the like.
          validation: measure `val_kid` and `val_frechet` of the generator on the validation images each epoch.
          verbose: 0 for silence, as in Keras.

        Returns:
          Keras's `History`: `gen_loss`, `disc_loss`, `penalty`, `accuracy` and the validation figures by epoch.

        Raises:
          UsageError: `epochs` or `batch_size` below 1.
          MulliganError: the images or the models cannot be used.
        """
        if epochs < 1 or batch_size < 1:
            raise UsageError(f"epochs and batch_size must be 1 or more, not {epochs} and {batch_size}.")
        if self.recipe is None:
            self.compile()
        assert self.recipe is not None
        task, architecture = read_task(x), adopt(self.generator, self.discriminator, self.latent_dim)
        recipe = dataclasses.replace(self.recipe, architecture=architecture, batch=batch_size)
        match = _Match(task, recipe, epochs, validation)
        self.stop_training = False
        self.built = True  # both parts are, once they were tried
        told = keras.callbacks.CallbackList(
            [*callbacks, _Lines()] if verbose else [*callbacks],
            add_history=True,
            add_progbar=False,
            model=self,
            verbose=0,
            epochs=epochs,
            steps=match.steps,
        )
        told.on_train_begin()
        for epoch in range(epochs):
            told.on_epoch_begin(epoch)
            logs = match.epoch()
            told.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        told.on_train_end()
        return self.history

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Images of these latents."""
        return self.generator(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """Both models, for Keras to save."""
        parts = {"generator": self.generator, "discriminator": self.discriminator}
        saved = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **saved, "latent_dim": self.latent_dim}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GAN:
        """The inverse of `get_config`."""
        parts = dict(config)
        for name in ("generator", "discriminator"):
            parts[name] = keras.saving.deserialize_keras_object(parts[name], custom_objects)
        return cls(**parts)


def train(generator: Any, discriminator: Any, epochs: int, batch_size: int, images: Any = "fashion_mnist.npz") -> Any:
    """Trains a generator and a discriminator for some epochs; both hold what was learned afterwards.

    Returns:
      Keras's `History`, as `GAN.fit`.

    Raises:
      UsageError: `epochs` or `batch_size` below 1.
      MulliganError: the images or the models cannot be used.
    """
    gan = GAN(generator, discriminator)
    gan.compile()
    return gan.fit(images, epochs=epochs, batch_size=batch_size)


class _Match:
    """The engine at work on one data set."""

    def __init__(self, task: Task, recipe: Recipe, epochs: int, validation: bool):
        cache_programs()
        self.task = task
        self.steps = math.ceil(len(task.train) / recipe.batch)
        game = make_game(recipe, task.shape, 0, float(self.steps * recipe.batch * epochs))
        self.state = start_state(game, recipe, task.shape, 0, SEED)
        self.sampler = Sampler.make(recipe.architecture, 0)
        self.progress = Progress()
        make = (lambda: Evaluator.make(task, self.sampler, "validation")) if validation else None
        self.session = open_session(game, self.state, Feed(task.train, False, SEED, 0), make)

    def epoch(self) -> dict[str, float]:
        """One pass; what the callbacks are told."""
        self.state, info, self.progress = advance(self.session, self.state, self.steps, self.progress)
        scores = self.session.evaluator(self._hand_back())
        means = jax.device_get(info.means)
        logs = {name: float(getattr(means, name)) for name in ("gen_loss", "disc_loss", "penalty", "accuracy")}
        return logs | {f"val_{name}": scores[name] for name in ("kid", "energy", "frechet") if name in scores}

    def _hand_back(self) -> KerasNetwork:
        """Puts what was trained into the models; the generator."""
        averages = self.session.engine.game.averager.value(self.state.averages)
        latents = jnp.asarray(self.sampler.latents(SETTLING, SEED))
        # Keras normalises by moving statistics when it draws; the engine trains by those of each batch.
        gen = with_batch_statistics(next(iter(averages.values()), self.state.gen), latents)
        fakes = pixels(jnp.asarray(self.sampler(gen, np.asarray(latents[: SETTLING // 2]))))
        reals = pixels(jnp.asarray(self.task.train.sample(SETTLING // 2, seed=SEED)))
        disc = with_batch_statistics(self.state.disc, jnp.concatenate([fakes, reals]))
        for network in (gen, disc):
            write_back(network)
        return gen


class _Lines(keras.callbacks.Callback):
    """A line an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = " - ".join(f"{name}: {value:.4g}" for name, value in (logs or {}).items())
        print(f"Epoch {epoch + 1}/{self.params['epochs']} - {figures}", flush=True)
