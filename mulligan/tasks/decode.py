"""One encoded image file to pixels: upright, composited, 8 bits a channel, in a common frame."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from mulligan.grid import WRITER
from mulligan.tasks.framing import GROUNDS, Colour, Frame
from mulligan.tasks.plain import JPEG, PNG, plain, plain_pixels
from mulligan.tasks.stored import StoredFile, UnreadableError

# The formats of photographs and drawings. Others that Pillow knows run programs (EPS) or are rarely meant.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "QOI")
MOST_PIXELS = 2**26  # of one file, before decoding: 67 megapixels, 256 MiB as RGBA
MARGIN = 2  # a JPEG is decoded at a reduced scale that is still this many times larger than the frame
ORIENTATION = 0x0112  # EXIF tag
SOFTWARE = 0x0131  # EXIF tag
SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height
HEAD = 2**16  # bytes in which an image's size stands, but for one with large metadata before it
DEEP = 65535  # highest level of 16-bit grey
DEPTHS = (255, 1023, 4095, 16383, DEEP)  # highest levels of what is stored with 8, 10, 12, 14 and 16 of 16 bits
CONTRAST = 24  # levels by which a drawing must differ from the ground to be seen
LOOKED_AT = 2**16  # pixels of one drawing, at most twice as many
FLAT = 8  # levels up to which an image is of one colour
SUFFIXES = (
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".gif",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".webp",
    ".avif",
)
SUFFIXES += (".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".qoi")
MAGIC = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II[*+]\0|MM\0[*+]|RIFF....WEBP|....ftyp(avif|avis|mif1|msf1)|\0\0\0\x0cjP|\xff\x4f\xff\x51"
    rb"|P[0-7yFf]\s|\0\0\1\0|qoif",
    re.DOTALL,
)
PNG_TEXT = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that hold an orientation, or who wrote the file
FOREIGN = {  # by their first bytes: what is often meant for an image
    rb"....ftyp(hei|hev|heim|heis)": "HEIC, which is not read: save it as JPEG or PNG",
    rb"....ftypmif1.{0,24}(hei|hev)": "HEIC, which is not read: save it as JPEG or PNG",
    rb"....ftypcrx": "a camera's raw file, which is not read: save it as JPEG or PNG",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL, which is not read: save it as JPEG or PNG",
    rb"8BPS": "a Photoshop file, which is not read: save it as PNG",
    rb"DDS ": "a DDS texture, which is not read: save it as PNG",
    rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,400})?\s*(<!--.{0,400}-->\s*)?<svg": "SVG, which is not read: save it as PNG",
}


class Header(NamedTuple):
    """What the first bytes of an image file tell: its size when upright, and whether mulligan drew it."""

    width: int
    height: int
    own: bool


class Look(NamedTuple):
    """A decoded image, and what is to be said of it.

    Attributes:
      pixels: uint8 `[h, w, 3]`.
      frames: whether it is the first picture of an animation or a stack.
      deepest: the highest level of 16-bit grey, as stored; 0 for images of 8 bits.
      visible: share of the drawing that can be seen on each of `GROUNDS`; None without transparency.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    frames: bool
    deepest: int
    visible: tuple[float, ...] | None


@contextmanager
def own_bomb_check() -> Iterator[None]:
    """Silences Pillow's warning of large images, whose size is checked here before decoding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def is_claimed(file: StoredFile) -> bool:
    """Whether a file is meant for an image, by its name or its first bytes."""
    if file.name.lower().endswith(SUFFIXES):
        return True
    try:
        start = file.start(512)
    except UnreadableError:
        return False
    return bool(MAGIC.match(start)) or any(re.match(magic, start, re.DOTALL) for magic in FOREIGN)


def header(file: StoredFile) -> Header:
    """Reads no more of a file than its size takes.

    Raises:
      UnreadableError: no image, or one of more than `MOST_PIXELS` pixels.
    """
    start = file.start(HEAD)
    if not start.startswith((PNG, JPEG)):
        for magic, reason in FOREIGN.items():
            if re.match(magic, start, re.DOTALL):
                raise UnreadableError(reason)
        if not MAGIC.match(start) and not file.name.lower().endswith(".tga"):  # the one format without a mark
            raise UnreadableError("not an image in a known format")
    try:
        return _header(start)
    except UnreadableError:
        if len(start) < HEAD:
            raise
    return _header(file.read())


def upright_size(encoded: bytes) -> tuple[int, int]:
    """Width and height after EXIF rotation, from the header alone.

    Raises:
      UnreadableError: no image, or one of more than `MOST_PIXELS` pixels.
    """
    return _header(encoded)[:2]


def _header(encoded: bytes) -> Header:
    if (told := plain(encoded)) and 0 < told.width * told.height <= MOST_PIXELS:
        return Header(told.width, told.height, own=False)
    # A PNG may tell of its orientation behind its pixels, for which Pillow decodes them; most have no such chunk.
    if len(encoded) < HEAD and encoded.startswith(PNG) and not any(chunk in encoded for chunk in PNG_TEXT):
        width, height = struct.unpack(">2I", encoded[16:24])
        if 0 < width * height <= MOST_PIXELS:
            return Header(width, height, own=False)
    with _decoding():
        image = _open(encoded)
        width, height = image.size
        exif = image.getexif()
        turned = exif.get(ORIENTATION) in SIDEWAYS and image.format != "TIFF"  # whose size Pillow has turned already
        own = WRITER in (image.info.get("Software"), exif.get(SOFTWARE))
        return Header(height, width, own) if turned else Header(width, height, own)


def decode(encoded: bytes, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an image file into a frame. Of an animation, the first picture.

    Raises:
      UnreadableError: no image, a damaged one, or one of more than `MOST_PIXELS` pixels.
    """
    return look(encoded, frame).pixels


def look(encoded: bytes, frame: Frame, deepest: int = DEEP) -> Look:
    """As `decode`, with what is to be said of the image; `deepest` is the level of 16-bit grey that is white.

    Raises:
      UnreadableError: as `decode` does.
    """
    if (pixels := plain_pixels(encoded, frame.width, frame.height)) is not None:
        return Look(pixels, False, 0, None)
    with _decoding():
        image = _open(encoded)
        frames = bool(getattr(image, "is_animated", False))
        side = MARGIN * max(frame.height, frame.width)
        # A JPEG decodes at a half, a quarter or an eighth of its size several times as fast.
        image.draft(None, (side, side))
        image = ImageOps.exif_transpose(image)
        # Modes I and I;16 hold the levels as they are stored, of which `deepest` says which one is white.
        deep = int(np.asarray(image).max()) if image.mode.startswith("I") else 0
        seen = visible(np.asarray(image.convert("RGBA"))) if image.has_transparency_data else None
        placed = frame.place(opaque(image, frame.background, deepest))
        return Look(np.asarray(placed.convert("RGB")), frames, deep, seen)


def are_flat(pixels: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
    """Whether each image is of one colour, but for a few levels."""
    n, height, width, channels = pixels.shape
    levels = pixels.reshape(n, height * width, channels)
    # A few pixels tell of nearly all images that they are not.
    flat = (np.ptp(levels[:, :: levels.shape[1] // 16 + 1], axis=1) <= FLAT).all(axis=1)
    flat[flat] = (np.ptp(levels[flat], axis=1) <= FLAT).all(axis=1)
    return flat


def visible(image: UInt8[np.ndarray, "h w 4"]) -> tuple[float, ...] | None:
    """Share of a drawing on transparency that differs from each of `GROUNDS`; None where nothing is transparent."""
    pixels = image.reshape(-1, 4)
    # A share needs no more pixels than these.
    pixels = pixels[:: max(len(pixels) // LOOKED_AT, 1)]
    opacity = pixels[:, 3].astype(np.float32)
    if opacity.min(initial=255) == 255:
        return None
    levels = pixels[:, :3].astype(np.int16)
    apart = [np.abs(levels - np.array(ground, np.int16)).max(axis=1) > CONTRAST for ground in GROUNDS]
    return tuple(float((opacity * differs).sum() / max(opacity.sum(), 1)) for differs in apart)


def depth(highest: int) -> int:
    """The level that is white, where `highest` is the highest that occurs.

    Example:
      >>> depth(4000), depth(65535)
      (4095, 65535)
    """
    return next(level for level in DEPTHS if highest <= level)


def opaque(image: Image.Image, background: Colour, deepest: int = DEEP) -> Image.Image:
    """An image of any mode as 8-bit "L" or "RGB", its transparent pixels on a background colour.

    16-bit grey is scaled by 255 / `deepest`, and floats in [0, 1] by 255.

    Raises:
      UnreadableError: levels outside of these ranges.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values, most = np.asarray(image), 1.0 if image.mode == "F" else deepest
        if not (values.min() >= 0 and values.max() <= most):  # also where one is no number
            raise UnreadableError(f"grey levels outside 0 to {most:g}")
        return Image.fromarray(np.round(values * (255 / most)).astype(np.uint8))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


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
