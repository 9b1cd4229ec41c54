"""One encoded image file to pixels: upright, composited, 8 bits a channel, in a common frame."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from mulligan.tasks.framing import Colour, Frame
from mulligan.tasks.stored import UnreadableError

# The formats of photographs and drawings. Others that Pillow knows run programs (EPS) or are rarely meant.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "QOI")
MOST_PIXELS = 2**26  # of one file, before decoding: 67 megapixels, 256 MiB as RGBA
MARGIN = 2  # a JPEG is decoded at a reduced scale that is still this many times larger than the frame
ORIENTATION = 0x0112  # EXIF tag
SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height


@contextmanager
def own_bomb_check() -> Iterator[None]:
    """Silences Pillow's warning of large images, whose size is checked here before decoding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def upright_size(encoded: bytes) -> tuple[int, int]:
    """Width and height after EXIF rotation, from the header alone.

    Raises:
      UnreadableError: no image, or one of more than `MOST_PIXELS` pixels.
    """
    with _decoding():
        image = _open(encoded)
        width, height = image.size
        return (height, width) if image.getexif().get(ORIENTATION) in SIDEWAYS else (width, height)


def decode(encoded: bytes, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an image file into a frame. Of an animation, the first picture.

    Raises:
      UnreadableError: no image, a damaged one, or one of more than `MOST_PIXELS` pixels.
    """
    with _decoding():
        image = _open(encoded)
        side = MARGIN * max(frame.height, frame.width)
        image.draft(None, (side, side))
        image = ImageOps.exif_transpose(image)
        placed = frame.place(opaque(image, frame.background))
        return np.asarray(placed.convert("RGB"))


def opaque(image: Image.Image, background: Colour) -> Image.Image:
    """An image of any mode as 8-bit "L" or "RGB", its transparent pixels on a background colour.

    16-bit grey is scaled by 255 / 65535, and floats in [0, 1] by 255.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image), 1.0 if image.mode == "F" else 65535))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _eight_bits(values: np.ndarray, most: float) -> UInt8[np.ndarray, "h w"]:
    if not (values.min() >= 0 and values.max() <= most):
        raise UnreadableError(f"grey levels outside 0 to {most:g}")
    return np.round(values * (255 / most)).astype(np.uint8)


def _open(encoded: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UnreadableError(f"{width}x{height} pixels, suspiciously large")
    return image


@contextmanager
def _decoding() -> Iterator[None]:
    """Decoders meet hostile bytes and raise whatever they like; all of it means that the file is no image."""
    try:
        yield
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableError("suspiciously many pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError("not an image in a known format") from error
    except Exception as error:
        raise UnreadableError(f"damaged: {str(error) or type(error).__name__}") from error
