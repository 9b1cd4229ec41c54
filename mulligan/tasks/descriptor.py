"""What a task looks like in numbers: the features by which the prior tells tasks apart.

All numbers are computed on at most 1024 training images and 4 million pixels, scaled to [0, 1], so that they cost the
same for every task; only `log_n` and `classes` are of the whole. Grey is the mean of the channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

COARSE = 16  # side of the pooled images whose principal components are counted
LEVELS = 16  # of each channel when colours are counted
PIXELS = 2**22  # that are looked at, at most: 1024 images of 64x64, or 64 of 256x256
IMAGES = 1024  # that are looked at, at most


def described(height: int, width: int) -> int:
    """How many images of this size are looked at.

    Example:
      >>> described(28, 28), described(256, 256)
      (1024, 64)
    """
    return min(IMAGES, max(PIXELS // (height * width), 1))


def describe(n: int, sample: UInt8[np.ndarray, "k h w c"], classes: int) -> dict[str, float]:
    """Describes a task by numbers.

    Args:
      n: training images.
      sample: `k >= 1` of them.
      classes: number of classes, 0 without labels.

    Returns:
      Every entry finite:

      * `log_n`: natural logarithm of the number of training images.
      * `height`, `width`, `channels`, `classes`.
      * `mean`, `std`: of all pixels.
      * `colourfulness`: standard deviation across a pixel's channels, averaged; 0 when grey.
      * `background`: share of the pixels with the most frequent colour (16 levels a channel).
      * `log_colours`: entropy in nats of the colours' histogram, the logarithm of the effective number of
        colours.
      * `edges`: mean absolute difference of neighbouring grey pixels.
      * `spectrum`: slope of the logarithm of the radial power spectrum against that of frequency; about -2
        for photographs.
      * `dimension`: effective number of principal components, `(sum of variances)^2 / sum of squared
        variances`, of the images pooled to 16x16 or less.
      * `alignment`: share of the pixels' spatial variance that the mean image has; 1 when all images are one.
      * `mirror`: mean correlation of a grey image with its left-right mirror; 1 when symmetric, 0 for a flat
        image.
    """
    _, h, w, c = sample.shape
    pixels = sample.astype(np.float32) / 255
    grey = pixels.mean(axis=-1)
    # Colours of LEVELS levels a channel: three channels of 16 are 4,096 colours, which 16 bits can number.
    colours = np.zeros(sample.shape[:3], np.uint16)
    for channel in range(c):
        colours += (sample[..., channel] // (256 // LEVELS)).astype(np.uint16) * LEVELS**channel
    counts = np.bincount(colours.ravel())
    shares = counts[counts > 0] / colours.size
    centred = grey - grey.mean(axis=(1, 2), keepdims=True)
    power = (centred**2).sum(axis=(1, 2))
    agreement = (centred * centred[:, :, ::-1]).sum(axis=(1, 2))
    numbers = {
        "log_n": np.log(n),
        "height": h,
        "width": w,
        "channels": c,
        "classes": classes,
        "mean": pixels.mean(),
        "std": pixels.std(),
        "colourfulness": pixels.std(axis=-1).mean(),
        "background": shares.max(),
        "log_colours": -(shares * np.log(shares)).sum(),
        "edges": (np.abs(np.diff(grey, axis=1)).mean() + np.abs(np.diff(grey, axis=2)).mean()) / 2,
        "spectrum": _spectral_slope(centred),
        "dimension": _effective_dimension(_pooled(pixels)),
        "alignment": _ratio(float(pixels.mean(axis=0).var()), float(pixels.var(axis=(1, 2, 3)).mean())),
        "mirror": np.where(power > 0, agreement / np.maximum(power, 1e-12), 0).mean(),
    }
    return {name: round(float(number), 6) for name, number in numbers.items()}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _pooled(pixels: Float32[np.ndarray, "k h w c"]) -> Float32[np.ndarray, "k d"]:
    """Block means on a grid of at most COARSE x COARSE, flattened."""
    for axis in (1, 2):
        # Cells differ by a row where the side is no multiple of the grid.
        edges = np.linspace(0, pixels.shape[axis], min(COARSE, pixels.shape[axis]) + 1).astype(int)
        lengths = np.diff(edges).astype(np.float32).reshape([-1 if position == axis else 1 for position in range(4)])
        pixels = np.add.reduceat(pixels, edges[:-1], axis=axis) / lengths
    return pixels.reshape(len(pixels), -1)


def _effective_dimension(points: Float32[np.ndarray, "k d"]) -> float:
    """Participation ratio `(sum of variances)^2 / sum of squared variances`; 0 for a single point.

    Both sums are traces, so no eigenvalue is needed: `tr(C)^2 / tr(C^2)` with the smaller of the two Gram
      matrices.
    """
    centred = points - points.mean(axis=0)
    gram = centred @ centred.T if len(points) < points.shape[1] else centred.T @ centred
    return _ratio(float(np.trace(gram)) ** 2, float((gram.astype(np.float64) ** 2).sum()))


def _spectral_slope(centred: Float32[np.ndarray, "k h w"]) -> float:
    """Least-squares slope of log power against log frequency, up to half a cycle a pixel, of images of mean 0."""
    power = (np.abs(np.fft.rfft2(centred)) ** 2).mean(axis=0)
    rows = np.fft.fftfreq(centred.shape[1])[:, None]
    columns = np.fft.rfftfreq(centred.shape[2])[None, :]
    frequency = np.hypot(rows, columns)
    used = (frequency > 0) & (frequency <= 0.5)
    # A band without any power would have no logarithm.
    return float(np.polyfit(np.log(frequency[used]), np.log(power[used] + 1e-8), 1)[0])
