"""Two-dimensional mixtures of Gaussians with known density, on which a game can be judged exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from mulligan.errors import UsageError


class GaussianMixture(NamedTuple):
    """Equally weighted round Gaussians: centres `[k, 2]`, and one standard deviation for all."""

    centres: Float64[np.ndarray, "k 2"]
    std: float

    def sample(self, n: int, seed: int) -> Float32[np.ndarray, "n 2"]:
        """`n` independent points."""
        rng = np.random.default_rng(seed)
        chosen = self.centres[rng.integers(len(self.centres), size=n)]
        return (chosen + self.std * rng.standard_normal((n, 2))).astype(np.float32)

    def log_density(self, points: Float32[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
        """Natural logarithm of the density at each point."""
        exponents = -self._squared_distances(points) / (2 * self.std**2)
        return np.logaddexp.reduce(exponents, axis=1) - np.log(2 * np.pi * self.std**2 * len(self.centres))

    def modes(self, points: Float32[np.ndarray, "n 2"], within: float = 3.0) -> Int64[np.ndarray, " n"]:
        """Index of the nearest centre, or -1 where that is more than `within` standard deviations away."""
        squared = self._squared_distances(points)
        nearest = squared.argmin(axis=1)
        return np.where(squared.min(axis=1) <= (within * self.std) ** 2, nearest, -1)

    def _squared_distances(self, points: Float32[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n k"]:
        differences = np.asarray(points, np.float64)[:, None] - self.centres[None]
        return (differences**2).sum(axis=2)


def ring8() -> GaussianMixture:
    """Eight modes on the unit circle, standard deviation 0.02."""
    angles = np.arange(8) * (np.pi / 4)
    return GaussianMixture(np.column_stack([np.cos(angles), np.sin(angles)]), 0.02)


def grid25() -> GaussianMixture:
    """Twenty-five modes on a 5x5 grid of spacing 0.5 in [-1, 1]^2, standard deviation 0.0125.

    The grid of Lin et al. 2018 (PacGAN, arXiv 1712.04086: spacing 2 in [-4, 4]^2, 0.05) over
    four.
    """
    line = np.linspace(-1, 1, 5)
    return GaussianMixture(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), 0.0125)


MIXTURES = {"ring8": ring8, "grid25": grid25}


def mixture(kind: str, n: int, seed: int = 0) -> tuple[Float32[np.ndarray, "n 2"], GaussianMixture]:
    """`n` points of a known mixture, and the mixture itself.

    Raises:
      UsageError: no mixture of that name.

    Example:
      >>> points, density = mixture("ring8", 1000)
      >>> len(set(density.modes(points).tolist()) - {-1})
      8
    """
    if kind not in MIXTURES:
        raise UsageError(f"there is no mixture {kind!r}; there are {', '.join(MIXTURES)}.")
    known = MIXTURES[kind]()
    return known.sample(n, seed), known
