"""The Frechet distance between two sets of features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from mulligan.metrics.embed import check_features, check_pair


class Gaussian(NamedTuple):
    """Mean `[d]` and covariance `[d, d]` (divided by n - 1), float64."""

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]


def gaussian(features: Float[np.ndarray, "n d"]) -> Gaussian:
    """The Gaussian with the mean and covariance of the features.

    Raises:
      MulliganError: fewer than two features, or one that is not finite.
    """
    check_features(features)
    values = np.asarray(features, np.float64)
    centred = values - values.mean(0)
    return Gaussian(values.mean(0), centred.T @ centred / (len(values) - 1))


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared 2-Wasserstein distance of two Gaussians: `|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))`; >= 0, not
    scaled.

    `tr (A B)^(1/2)` is the sum of the square roots of the eigenvalues of `A^(1/2) B A^(1/2)`, which is
    symmetric and positive semidefinite also where A or B are singular, so neither an offset nor a complex
    part arises
    (Heusel et al. 2017, arXiv 1706.08500, eq. 6; Dowson and Landau 1982).
    """
    # Rounding makes eigenvalues of a singular covariance slightly negative, hence the clips.
    values, vectors = eigh(a.covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    # `root` is no symmetric root: A = root root^T is enough, since A B and root^T B root have the same eigenvalues.
    product = eigh(root.T @ b.covariance @ root, eigvals_only=True)
    cross = np.sqrt(np.clip(product, 0, None)).sum()
    apart = float(((a.mean - b.mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross))


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """Frechet distance of two sets of features, each taken for Gaussian (squared, as FID is; not divided by
    d).

    It is biased upwards by the finite number of features, most where n or m is not much larger than d:
    compare only figures with the same n and m. It is defined, and returned, for singular covariances too.

    Raises:
      MulliganError: fewer than two features on either side, one that is not finite, or different dimensions.

    Example:
      >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]]))
      9.0
    """
    check_pair(a, b)
    return gaussian_distance(gaussian(a), gaussian(b))
