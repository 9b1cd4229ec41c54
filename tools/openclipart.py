"""Clip art to learn from: coloured drawings on white, in the public domain.

The Open Clip Art Library, as the Debian package `openclipart-png` (1:0.18+dfsg-19) has it:

    apt-get download openclipart-png && dpkg -x openclipart-png_*.deb unpacked
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

WITHIN = Path("usr/share/openclipart/png")  # of the unpacked package
LEFT_OUT = ("signs_and_symbols/flags", "recreation/games/cards", "shapes/stars")  # hundreds that are nearly alike
MARGIN = 1 / 32  # of the side, left white all around
SMALLEST, LARGEST, LONGEST = 48, 5000, 4  # pixels of the shorter and longer side; how many times as long as wide
INK = 245  # darkest channel of a pixel that is not ground, at most


def clipart(unpacked: Path, size: int) -> UInt8[np.ndarray, "n {size} {size} 3"]:
    """Every drawing once, cut to its ink and letterboxed on white, in the order of their paths."""
    drawn: dict[bytes, UInt8[np.ndarray, "size size 3"]] = {}
    for picture in _pictures(unpacked / WITHIN):
        shown = letterboxed(picture, size)
        if shown is not None:
            drawn.setdefault(shown[::4, ::4].tobytes(), shown)
    return np.stack(list(drawn.values()))


def _pictures(folder: Path) -> Iterator[Image.Image]:
    for path in sorted(folder.rglob("*.png")):
        if path.relative_to(folder).as_posix().startswith(LEFT_OUT):
            continue
        try:
            opened = Image.open(path)
        except Image.DecompressionBombError:  # a poster
            continue
        with opened as picture:
            short, long = sorted(picture.size)
            if short >= SMALLEST and long <= min(LARGEST, LONGEST * short):
                yield picture.convert("RGBA")


def letterboxed(picture: Image.Image, size: int) -> UInt8[np.ndarray, "{size} {size} 3"] | None:
    """The ink of an RGBA picture, in the middle of a white square; None where there is none."""
    flat = on_white(picture)
    box = Image.fromarray(np.asarray(flat).min(-1) < INK).getbbox()
    if box is None:
        return None
    cut, inner = flat.crop(box), round(size * (1 - 2 * MARGIN))
    scale = inner / max(cut.size)
    width, height = (max(1, round(side * scale)) for side in cut.size)
    square = Image.new("RGB", (size, size), "white")
    square.paste(cut.resize((width, height), Image.Resampling.LANCZOS), ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)


def on_white(picture: Image.Image) -> Image.Image:
    """An RGBA picture without its transparency."""
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return ground.convert("RGB")
