"""Latents: where they are drawn, and as points on a sphere, on the way between two, round a closed path."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.errors import UsageError

STRONGEST = 3.0  # truncation beyond which latents are like none that was trained on
SPREAD = 0.5  # of weighted latents around their points; 1 would be normal latents


class LatentPrior(NamedTuple):
    """Latents that are drawn around points, around each as often as its weight says, in place of normal ones.

    A draw is `sqrt(1 - SPREAD**2)` times a point and `SPREAD` times a normal latent. So with points that are normal
    themselves, many of them, and of equal weights, latents are normal.

    Attributes:
      points: float32 `[k, d]`.
      weights: of the points, float32, >= 0, summing to 1.
    """

    points: Float[np.ndarray, "k d"]
    weights: Float[np.ndarray, " k"]

    def around(self, normal: Float[np.ndarray, "n d"], shares: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Latents from normal ones, and from numbers in [0, 1) that choose the points."""
        ends = np.cumsum(self.weights, dtype=np.float64)
        chosen = np.minimum(np.searchsorted(ends / ends[-1], shares, side="right"), len(ends) - 1)
        return ((1 - SPREAD**2) ** 0.5 * self.points[chosen] + SPREAD * normal).astype(np.float32)


def spherical(start: Float[np.ndarray, " d"], end: Float[np.ndarray, " d"], steps: int) -> Float[np.ndarray, "steps d"]:
    """Spherical interpolation, ends included: lengths stay typical of a normal latent (White 2016, arXiv 1609.04468).

    Example:
      >>> spherical(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 3).round(3).tolist()
      [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1, 1))
    share = np.linspace(0, 1, steps)[:, None]
    if angle < 1e-6:
        return (1 - share) * start + share * end
    return ((np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)).astype(start.dtype)


def closed_path(steps: int, dimension: int, turns: int, seed: int) -> Float[np.ndarray, "steps d"]:
    """A closed curve without corners on the sphere of radius `sqrt(d)`, where normal latents lie; it is never still.

    A random Fourier series of `turns` harmonics with equal weights: before it is brought to the sphere, each of its
    points is a standard normal latent, and so is every step between neighbours but for its length. A path of great
    circles from one latent to the next would halt or turn sharply at each of them.

    Args:
      steps: points on it; the one after the last is the first.
      dimension: of the latents, `d`.
      turns: at least 1; how far it goes: its length grows in proportion.
      seed: of the curve.

    Example:
      >>> path = closed_path(100, 64, turns=3, seed=0)
      >>> strides = np.linalg.norm(path - np.roll(path, 1, axis=0), axis=1)
      >>> np.linalg.norm(path, axis=1).round(3)[:2].tolist(), bool(strides.max() < 2 * strides.min())
      ([8.0, 8.0], True)
    """
    cosines, sines = np.random.default_rng(seed).standard_normal((2, turns, dimension))
    angles = 2 * np.pi * np.arange(1, turns + 1) * np.arange(steps)[:, None] / steps
    points = np.cos(angles) @ cosines + np.sin(angles) @ sines
    return (dimension**0.5 * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def truncated(latents: Float[np.ndarray, "n d"], truncation: float) -> Float[np.ndarray, "n d"]:
    """Latents drawn towards their mean: 1 leaves them, 0 makes all of them the mean, which is 0.

    So they are scaled. Where a network of its own maps latents to styles (Karras et al. 2019, arXiv 1812.04948,
    appendix B), it is the styles that are drawn to their mean; mulligan's generators take latents as they are.

    Raises:
      UsageError: not between 0 and 3.
    """
    if not 0 <= truncation <= STRONGEST:
        raise UsageError(f"the truncation lies between 0 and {STRONGEST:g}.")
    return (truncation * latents).astype(np.float32)
