"""Characters drawn in the fonts that matplotlib ships, each in many fonts, weights and jitters."""

from __future__ import annotations

import string
import zlib
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mulligan.tasks.collection import Collection, number_classes

CHARACTERS = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
FONTS = (  # those with all the characters in their own shapes
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)
SIDE = 28
FINE = 4  # drawn this much larger, then averaged down
ALONE, TOGETHER = 1024, 160  # images of a character as a task of its own, and as a class
HEIGHT = 20  # of the font in pixels of the result


def glyphs(member: str | None = None) -> Collection:
    """One character 1,024 times, or all 62 of them 160 times each as classes; 28x28 grey, light ink on dark.

    Each image draws a font, a weight, and an affine map of scale 0.8 to 1.15 along each axis, rotation within
    12 degrees, shear within 0.2 and shift within 2 pixels, all uniform and fixed by the character.
    """
    if member is not None:
        return Collection(_drawn(member, ALONE))
    labels = np.repeat(np.arange(len(CHARACTERS)), TOGETHER)
    images = np.concatenate([_drawn(character, TOGETHER) for character in CHARACTERS])
    numbered, classes = number_classes(labels, len(labels), CHARACTERS)
    return Collection(images, numbered, classes=classes)


def _drawn(character: str, n: int) -> UInt8[np.ndarray, "n h w 1"]:
    # Not `hash`, which differs from process to process.
    rng = np.random.default_rng(zlib.crc32(character.encode()))
    images = np.empty((n, SIDE, SIDE, 1), np.uint8)
    for image in images:
        fine = _upright(character, FONTS[rng.integers(len(FONTS))], int(rng.integers(0, 3)))
        # A random affine map about the centre, from pixels of the result to those of the source.
        angle, shear = rng.uniform(-np.pi / 15, np.pi / 15), rng.uniform(-0.2, 0.2)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = rotation @ np.array([[1, shear], [0, 1]]) / rng.uniform(0.8, 1.15, 2)
        centre = np.full(2, SIDE * FINE / 2)
        shift = rng.uniform(-2, 2, 2) * FINE
        affine = tuple(np.column_stack([matrix, centre - matrix @ (centre + shift)]).ravel())
        placed = fine.transform(fine.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        image[..., 0] = np.asarray(placed.reduce(FINE))
    return images


@lru_cache(maxsize=256)
def _upright(character: str, font: str, weight: int) -> Image.Image:
    """The character in the middle of a large canvas, its strokes `weight` fine pixels thicker all around."""
    from matplotlib import get_data_path

    side = SIDE * FINE
    canvas = Image.new("L", (side, side), 0)
    drawn = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{font}.ttf", HEIGHT * FINE)
    ImageDraw.Draw(canvas).text((side / 2, side / 2), character, 255, drawn, anchor="mm", stroke_width=weight)
    # The anchor is the middle of the line, not of the ink: what was drawn is moved by its own bounds.
    left, top, right, bottom = canvas.getbbox() or (0, 0, side, side)
    centred = Image.new("L", (side, side), 0)
    centred.paste(canvas.crop((left, top, right, bottom)), ((side - right + left) // 2, (side - bottom + top) // 2))
    return centred
