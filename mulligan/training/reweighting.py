"""Latents drawn where a generator draws well: weights of many, at which its images come nearest to the training images.

A generator that draws one kind of image too often and another too seldom need not be trained for longer to be nearer to
reality: latents can be drawn as often as their images are wanted. The images of some thousand latents are as many
members of a mixture, each with a weight, and the energy distance to the training images is a quadratic in these
(`averaging.mixture`), which follow-the-regularised-leader brings down (`online.approach_quadratic`). Around each of
them latents are then drawn as often as it weighs (`training.latents`). Choosing among what a generator draws cannot
make images that please the judge and nobody else.

After discriminator rejection sampling (Azadi et al. 2019, arXiv 1810.06758), with a distance in the place of the
discriminator, and weights of latents in the place of rejected images.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from mulligan.metrics.energy import negative_distance
from mulligan.metrics.random_features import random_features
from mulligan.online import approach_quadratic
from mulligan.training.evaluation import Evaluator
from mulligan.training.latents import LatentPrior
from mulligan.types import Pytree

POINTS = 2  # times the images of an evaluation: latents that get a weight
SEED = 30_011

Features = Float[np.ndarray, "_ d"]


def weighted_prior(evaluator: Evaluator, gen: Pytree, real: UInt8[np.ndarray, "m h w c"]) -> LatentPrior:
    """Latents of a generator without classes, and the weights at which their images come nearest to real ones.

    Distances are taken in the features that evaluations see, pixels beside them, and in those of a random network.

    Args:
      evaluator: of normal latents.
      gen: from latents to pixels.
      real: training images; none that judge the outcome.
    """
    points = evaluator.sampler.latents(POINTS * evaluator.n, SEED)
    images = evaluator.sampler(gen, points)
    spaces = (evaluator.reference.space, random_features())
    pairs = [_in_one_scale(space(real), space(images)) for space in spaces]
    wanted, drawn = (np.concatenate(columns, axis=1) for columns in zip(*pairs, strict=True))
    weights = approach_quadratic(negative_distance(drawn, drawn), negative_distance(drawn, wanted).mean(axis=1))
    return LatentPrior(points, np.asarray(weights))


def _in_one_scale(real: Features, fake: Features) -> tuple[Features, Features]:
    """Around the real ones' mean, and so that the real ones vary by 1 in all."""
    middle, scale = real.mean(axis=0), np.sqrt(real.var(axis=0).sum()) + np.float32(1e-12)
    return (real - middle) / scale, (fake - middle) / scale
