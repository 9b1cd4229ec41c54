"""Pictures inside the page: files as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mulligan.report.markup import Html, element

LARGEST = 1024  # pixels of a side, for a picture that has to be made smaller
SMALLEST = 64  # pixels below which no side is made smaller, whatever the budget
SHOWN = 960  # pixels up to which a picture of few pixels is enlarged


class Picture(NamedTuple):
    """An image that travels inside the page."""

    uri: str
    width: int
    height: int

    def element(self, alt: str, largest: int = SHOWN) -> Html:
        """The `img`; a picture smaller than `largest` is enlarged by a whole factor, with sharp pixels."""
        factor = max(1, largest // max(self.width, self.height))
        sharp = "sharp" if max(self.width, self.height) < largest else None
        width, height = self.width * factor, self.height * factor
        return element("img", src=self.uri, alt=alt, class_=sharp, width=width, height=height, decoding="sync")


def embed_file(path: Path | None, budget: int) -> Picture | None:
    """The image in a file, as `embed`; None when there is no such file."""
    try:
        return embed(path.read_bytes(), budget) if path else None
    except OSError:
        return None


def embed(content: bytes, budget: int) -> Picture | None:
    """An image file's bytes: a PNG within `budget` bytes as it is, else as WebP, as small as need be.

    Returns:
      None when they hold no image that can be read.
    """
    image = read_image(content)
    if image is None:
        return None
    if image.format == "PNG" and len(content) <= budget:
        return Picture(_uri("png", content), image.width, image.height)
    image = image.convert("RGBA")
    image.thumbnail((LARGEST, LARGEST))
    while True:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=85, method=2)
        if file.tell() <= budget or max(image.size) < SMALLEST:
            return Picture(_uri("webp", file.getvalue()), image.width, image.height)
        factor = min(0.9, math.sqrt(budget / file.tell()))  # bytes grow about as the area; at least a step each time
        image = image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))))


def read_image(content: bytes) -> Image.Image | None:
    """An image file's bytes, decoded; None when they hold no image that can be read."""
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return image


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
