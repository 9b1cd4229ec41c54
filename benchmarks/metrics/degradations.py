"""Known ways in which generated images are worse than real ones, each from mild to severe.

`TRAINED` are the kinds that the embedding `m2` learned to name (by other code, in `m2_training.py`); `UNTRAINED` those
that it never met. Of any two strengths of one kind a person says which is worse, but for those that are `UNORDERED`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter, grey_dilation, grey_erosion, map_coordinates

Pixels = np.ndarray  # float64 [n, h, w, c] in 0..255


class Material(NamedTuple):
    """What images are made worse from.

    Attributes:
      images: uint8 `[n, h, w, c]`, none of which is in the reference.
      more: other images of the family, from which sets with fewer modes are drawn.
      modes: int `[m]` for `more`: their classes, or clusters of their pixels where there are none.
      strangers: images of another family, of the same shape.
    """

    images: np.ndarray
    more: np.ndarray
    modes: np.ndarray
    strangers: np.ndarray


Degradation = Callable[[Material, float, np.random.Generator], np.ndarray]


def on_pixels(change: Callable[[Pixels, float, np.random.Generator], Pixels]) -> Degradation:
    """A degradation of each image by itself."""

    def degrade(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
        changed = change(material.images.astype(np.float64), strength, rng)
        return np.clip(np.round(changed), 0, 255).astype(np.uint8)

    return degrade


def blurred(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    deviation = strength * pixels.shape[1] / 32
    return gaussian_filter(pixels, (0, deviation, deviation, 0))


def noisy(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    return pixels + rng.normal(0, strength, pixels.shape)


def smooth_field(n: int, side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal numbers on a coarse grid, interpolated: `[n, side, side]`."""
    coarse = rng.normal(size=(n, cells, cells))
    places = np.linspace(0, cells - 1, side)
    grid = np.meshgrid(np.arange(n), places, places, indexing="ij")
    return map_coordinates(coarse, grid, order=1)


def warped(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    n, side, width, channels = pixels.shape
    down, right = (smooth_field(n, side, 6, rng) * strength * side for _ in range(2))
    rows, columns = np.meshgrid(np.arange(side), np.arange(width), indexing="ij")
    moved = np.empty_like(pixels)
    for i in range(n):
        for c in range(channels):
            moved[i, ..., c] = map_coordinates(
                pixels[i, ..., c], (rows + down[i], columns + right[i]), order=1, mode="nearest"
            )
    return moved


def shuffled(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A share of the 16 tiles of each image exchanged with each other."""
    n, side, _, channels = pixels.shape
    tile = side // 4
    tiles = pixels.reshape(n, 4, tile, 4, tile, channels).swapaxes(2, 3).reshape(n, 16, tile, tile, channels).copy()
    for each in tiles:
        chosen = rng.permutation(16)[: max(2, round(strength * 16))]
        each[chosen] = each[np.roll(chosen, 1)]
    return tiles.reshape(n, 4, 4, tile, tile, channels).swapaxes(2, 3).reshape(pixels.shape)


def background(pixels: Pixels) -> Pixels:
    """The median colour of each image's border."""
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    return np.median(border, axis=1)[:, None, None]


def broken(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Spots of background that cut strokes and shapes; `strength` is the share covered."""
    field = smooth_field(len(pixels), pixels.shape[1], 12, rng)
    threshold = np.quantile(field, 1 - strength)
    return np.where((field > threshold)[..., None], background(pixels), pixels)


def tinted(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Brightness and, in colour, hue moved image by image."""
    shape = (len(pixels), 1, 1, pixels.shape[3])
    return pixels * (1 + rng.normal(0, strength, shape)) + 128 * rng.normal(0, strength, shape)


def blended(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Each image with another showing through."""
    return (1 - strength) * pixels + strength * np.roll(pixels, 1, axis=0)


def pixelated(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Mixed with its means over blocks of a sixteenth of the side."""
    n, side, width, channels = pixels.shape
    block = max(2, side // 16)
    means = pixels.reshape(n, side // block, block, width // block, block, channels).mean((2, 4))
    return (1 - strength) * pixels + strength * means.repeat(block, 1).repeat(block, 2)


def checkered(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The chequerboard that strided transposed convolutions leave."""
    side = pixels.shape[1]
    board = (-1.0) ** np.add.outer(np.arange(side), np.arange(side))
    return pixels + (strength * (1 + 0.3 * smooth_field(len(pixels), side, 4, rng)) * board)[..., None]


def ringing(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    return pixels + strength * (pixels - blurred(pixels, 0.7, rng))


def compressed(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """JPEG of quality `100 - strength`."""
    kept = []
    for each in pixels.astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(each.squeeze()).save(file, "JPEG", quality=int(100 - strength))
        kept.append(np.asarray(Image.open(file), np.float64).reshape(each.shape))
    return np.stack(kept)


def posterised(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Values rounded to multiples of `strength`, moved by half a step at random."""
    shift = rng.uniform(0, strength, (len(pixels), 1, 1, 1))
    return np.round((pixels + shift) / strength) * strength - shift


def speckled(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A share of the pixels black or white."""
    hit = rng.random(pixels.shape[:3])[..., None]
    return np.where(hit < strength / 2, 0, np.where(hit > 1 - strength / 2, 255, pixels))


def textures(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Form gone, texture kept: the phases of the spectrum moved at random, amplitudes as they were."""
    spectrum = np.fft.fft2(pixels, axes=(1, 2))
    phases = np.angle(np.fft.fft2(rng.normal(size=pixels.shape[:3]), axes=(1, 2)))[..., None]
    phases[:, 0, 0] = 0  # the mean stays
    return np.fft.ifft2(spectrum * np.exp(1j * strength * phases), axes=(1, 2)).real


def thickened(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Strokes swollen or thinned, at random, over windows of `strength` pixels at 32."""
    size = round(strength * pixels.shape[1] / 32)
    swollen, thinned = grey_dilation(pixels, (1, size, size, 1)), grey_erosion(pixels, (1, size, size, 1))
    return np.where(rng.random((len(pixels), 1, 1, 1)) < 0.5, swollen, thinned)


def pale(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Contrast lost towards each image's mean."""
    return (1 - strength) * pixels + strength * pixels.mean((1, 2, 3), keepdims=True)


def averaged(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Drawn to the mean of all images, as a generator that regresses."""
    return (1 - strength) * pixels + strength * pixels.mean(0)


def components(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A linear generator: a Gaussian in as many principal components as `256 / strength`."""
    flat = pixels[..., :].reshape(len(pixels), -1)
    _, values, vectors = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    count = min(len(values), round(256 / strength))
    drawn = rng.normal(size=(len(flat), count)) * values[:count] / np.sqrt(len(flat))
    return (flat.mean(0) + drawn @ vectors[:count]).reshape(pixels.shape)


def halved(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Modes merged: a share of the images is the left half of one beside the right half of another."""
    merged, count = pixels.copy(), round(strength * len(pixels))
    half = pixels.shape[2] // 2
    merged[:count, :, half:] = np.roll(pixels, 1, axis=0)[:count, :, half:]
    return merged


def holes(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A square of background somewhere; `strength` is its side over the image's."""
    holed, ground = pixels.copy(), background(pixels)
    side = pixels.shape[1]
    size = round(strength * side)
    for each, colour, (top, left) in zip(holed, ground, rng.integers(0, side - size, (len(pixels), 2)), strict=True):
        each[top : top + size, left : left + size] = colour
    return holed


def sheared(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Rows shifted against each other in a wave."""
    side = pixels.shape[1]
    waves = np.sin(np.arange(side) * 2 * np.pi / side * 3 + rng.uniform(0, 6.3, (len(pixels), 1)))
    shifts = np.round(strength * side * waves).astype(int)
    return np.stack(
        [
            np.stack([np.roll(row, s, axis=0) for row, s in zip(i, by, strict=True)])
            for i, by in zip(pixels, shifts, strict=True)
        ]
    )


def resampled(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Sampled down by `strength` and up again, bicubic: a smooth loss of detail."""
    shape, size = pixels.shape, round(pixels.shape[1] / strength)
    images = (Image.fromarray(each.squeeze()) for each in pixels.astype(np.uint8))
    small = (each.resize((size, size), Image.Resampling.BICUBIC) for each in images)
    grown = [np.asarray(each.resize(shape[1:3], Image.Resampling.BICUBIC), np.float64) for each in small]
    return np.stack(grown).reshape(shape)


def dropped(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the modes never drawn."""
    modes = rng.permutation(np.unique(material.modes))
    kept = modes[: max(1, round((1 - strength) * len(modes)))]
    rows = np.flatnonzero(np.isin(material.modes, kept))
    return material.more[rng.choice(rows, len(material.images), replace=len(rows) < len(material.images))]


def unbalanced(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Shares of modes that fall geometrically, the first `exp(strength)` times the middle one."""
    modes = rng.permutation(np.unique(material.modes))
    rank = {mode: i / len(modes) for i, mode in enumerate(modes)}
    weights = np.exp(-2 * strength * np.array([rank[mode] for mode in material.modes]))
    weights /= np.array([np.sum(material.modes == mode) for mode in material.modes])
    return material.more[rng.choice(len(material.more), len(material.images), p=weights / weights.sum())]


def repeated(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """One in `strength` images unique, the others exact copies."""
    unique = material.more[rng.permutation(len(material.more))[: max(1, round(len(material.images) / strength))]]
    return unique[rng.integers(len(unique), size=len(material.images))]


def memorised(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Near copies of one in `strength` images: moved by a pixel, a little noise."""
    copies = repeated(material, strength, rng).astype(np.float64)
    moved = np.stack(
        [np.roll(i, tuple(by), (0, 1)) for i, by in zip(copies, rng.integers(-1, 2, (len(copies), 2)), strict=True)]
    )
    return np.clip(np.round(moved + rng.normal(0, 4, moved.shape)), 0, 255).astype(np.uint8)


def intruders(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A share of images from another family."""
    mixed, count = material.images.copy(), round(strength * len(material.images))
    mixed[:count] = material.strangers[rng.integers(len(material.strangers), size=count)]
    return mixed


def partly_ruined(material: Material, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the images warped beyond recognition: some samples of a generator fail, others are perfect."""
    mixed, count = material.images.copy(), round(strength * len(material.images))
    if count:
        ruined = warped(material.images[:count].astype(np.float64), 0.15, rng)
        mixed[:count] = np.clip(np.round(ruined), 0, 255)
    return mixed


TRAINED: dict[str, tuple[Degradation, tuple[float, ...]]] = {
    "blur": (on_pixels(blurred), (0.4, 0.8, 1.6)),
    "noise": (on_pixels(noisy), (8, 20, 50)),
    "warp": (on_pixels(warped), (0.015, 0.04, 0.1)),
    "patches": (on_pixels(shuffled), (0.125, 0.4, 1.0)),
    "breaks": (on_pixels(broken), (0.04, 0.12, 0.35)),
    "colour": (on_pixels(tinted), (0.06, 0.15, 0.4)),
    "blend": (on_pixels(blended), (0.12, 0.25, 0.5)),
    "blocks": (on_pixels(pixelated), (0.25, 0.5, 1.0)),
    "checker": (on_pixels(checkered), (6, 16, 40)),
    "ring": (on_pixels(ringing), (0.4, 1.0, 2.5)),
}
# Few components are smooth, many are noisy, and a game without penalty may collapse: nobody could say which is worse.
UNORDERED = ("components", "gan: convolutions, no penalty")
UNTRAINED: dict[str, tuple[Degradation, tuple[float, ...]]] = {
    "jpeg": (on_pixels(compressed), (50, 80, 95)),
    "posterised": (on_pixels(posterised), (32, 64, 128)),
    "speckles": (on_pixels(speckled), (0.01, 0.04, 0.15)),
    "textures": (on_pixels(textures), (0.2, 0.45, 1.0)),
    "thickness": (on_pixels(thickened), (2, 3, 5)),
    "contrast": (on_pixels(pale), (0.2, 0.45, 0.8)),
    "mean": (on_pixels(averaged), (0.15, 0.35, 0.7)),
    "components": (on_pixels(components), (1, 6, 40)),
    "merged": (on_pixels(halved), (0.15, 0.4, 1.0)),
    "holes": (on_pixels(holes), (0.2, 0.35, 0.55)),
    "waves": (on_pixels(sheared), (0.04, 0.1, 0.25)),
    "resampled": (on_pixels(resampled), (1.5, 2.5, 4)),
    "dropped": (dropped, (0.3, 0.6, 0.9)),
    "unbalanced": (unbalanced, (0.5, 1.5, 4)),
    "repeated": (repeated, (4, 16, 64)),
    "memorised": (memorised, (4, 16, 64)),
    "intruders": (intruders, (0.05, 0.2, 0.6)),
    "partly ruined": (partly_ruined, (0.1, 0.3, 0.9)),
}


def degraded(material: Material, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Every kind, mildest first, each set as large as `material.images`."""
    return {
        kind: [change(material, strength, np.random.default_rng((seed, row))) for strength in strengths]
        for row, (kind, (change, strengths)) in enumerate({**TRAINED, **UNTRAINED}.items())
    }


def clusters(images: np.ndarray, count: int = 10) -> np.ndarray:
    """Modes of images without classes: k-means of their pixels at 8x8."""
    n, side, _, channels = images.shape
    small = images.reshape(n, 8, side // 8, 8, side // 8, channels).mean((2, 4)).reshape(n, -1)
    return kmeans2(small, count, minit="++", seed=0)[1]
