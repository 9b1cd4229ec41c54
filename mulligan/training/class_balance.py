"""How often images of each class are shown while training: oftener where the generator is worst at them.

Follow-the-regularised-leader over the classes. Its prior is how often each occurs. An evaluation is a round, in which a
class's loss is its own KID with the sign changed, so that weight moves to the class that is drawn worst: the maximising
side of the game `min over generators, max over mixtures of classes` (as in Sagawa et al. 2020, arXiv 1911.08731,
section 4, for groups of a classifier's data). Half of what is shown is left as it occurs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from mulligan.errors import MulliganError
from mulligan.metrics.embed import Embedding
from mulligan.metrics.kid import mmd2_unbiased
from mulligan.online.simplex import SimplexState, adahedge
from mulligan.tasks.task import Split
from mulligan.training.engine import Sampler
from mulligan.types import Ftrl, Pytree

NATURAL = 0.5  # share of what is shown that is drawn as the classes occur
JUDGED = 64  # real and generated images of a class that its KID is of
FEWEST = 8  # real images below which a class has no KID of its own
GENERATED = 2000  # images of all classes together that an evaluation generates, at most
LATENT_SEED = 20_040


class ClassBalance(NamedTuple):
    """Who watches the classes of a run.

    Attributes:
      player: over the classes.
      natural: shares of the classes among the training images.
      real: features of training images of each class, 64 at most; none where there are too few.
      labels: classes of the images that are generated for a round, as many of each.
      sampler, embedding: with which they are drawn and compared.
    """

    player: Ftrl
    natural: Float[np.ndarray, " k"]
    real: tuple[Float[np.ndarray, "n d"], ...]
    labels: Int32[np.ndarray, " m"]
    sampler: Sampler
    embedding: Embedding

    @staticmethod
    def make(train: Split, classes: int, sampler: Sampler, embedding: Embedding) -> ClassBalance:
        """Watches the classes of these training images.

        Raises:
          MulliganError: they have no classes.
        """
        if train.labels is None or classes < 2:
            raise MulliganError("balanced sampling needs classes: train with `labels`, or set balanced to false.")
        counts = np.bincount(train.labels, minlength=classes)
        judged = int(np.clip(GENERATED // classes, FEWEST, JUDGED))
        real = []
        for label, count in enumerate(counts):
            # Its own generator for each class: another class more changes none of the others' images.
            rows = np.random.default_rng(label).permutation(np.flatnonzero(train.labels == label))
            rows = rows[:judged] if count >= FEWEST else rows[:0]
            real.append(embedding(train.take(np.sort(rows)).images).astype(np.float64))
        natural = counts / counts.sum()
        labels = np.repeat(np.arange(classes), judged).astype(np.int32)
        return ClassBalance(adahedge(jnp.asarray(natural)), natural, tuple(real), labels, sampler, embedding)

    def chances(self, state: SimplexState) -> Float[np.ndarray, " k"]:
        """How often each class is shown, summing to 1; never less than half of what it occurs."""
        chosen = NATURAL * self.natural + (1 - NATURAL) * np.asarray(self.player.play(state), np.float64)
        return (chosen / chosen.sum()).astype(np.float32)

    def kids(self, gen: Pytree) -> Float[np.ndarray, " k"]:
        """The KID of each class against training images; NaN where there are too few.

        Returns:
          float64 [k].
        """
        latents = self.sampler.latents(len(self.labels), LATENT_SEED)
        fakes = self.embedding(self.sampler(gen, latents, self.labels)).astype(np.float64)
        parts = zip(self.real, np.split(fakes, len(self.real)), strict=True)
        return np.array([mmd2_unbiased(real, fake) if len(real) else np.nan for real, fake in parts])
