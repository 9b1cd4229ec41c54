"""Grids of images that people can look at: as arrays, PNG files and characters in a terminal."""

from __future__ import annotations

import io
import math
import mimetypes
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from mulligan.errors import UsageError
from mulligan.files import replace_file

WRITER = "mulligan"  # in every picture that is drawn, so that none is taken for data where it lies among photographs
TRANSPARENT = {"WEBP", "TIFF", "GIF", "AVIF", "PNG"}  # kinds of pictures with an alpha channel
QUALITY = 95  # of kinds that lose some
VISIBLE = 64  # pixels of the longer side below which an image is enlarged


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int | None = None, scale: int | None = None, gap: int = 2
) -> UInt8[np.ndarray, "height width channels"]:
    """Lays images out row by row, with transparent gaps, so that it looks right on paper of any colour.

    Args:
      images: grey (c = 1), RGB (3) or RGBA (4), at least one.
      columns: images in a row; None makes the grid about square.
      scale: each pixel becomes `scale` x `scale`; None enlarges images until their longer side has 64 pixels.
      gap: pixels between neighbours, not enlarged.

    Returns:
      Grey and alpha (2 channels) for grey images, else RGBA (4). Alpha is 0 in gaps and in places of
      the last row without an image.

    Example:
      >>> grid(np.full((3, 2, 2, 1), 7, np.uint8), columns=2, scale=1, gap=1)[..., 0]
      array([[7, 7, 0, 7, 7],
             [7, 7, 0, 7, 7],
             [0, 0, 0, 0, 0],
             [7, 7, 0, 0, 0],
             [7, 7, 0, 0, 0]], dtype=uint8)
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n * height / width))
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    scale = scale or math.ceil(VISIBLE / max(height, width))
    if channels != 4:
        images = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    # Each cell has its gap below and to the right; the outermost are cut off at the end.
    cells = np.zeros((rows * columns, height * scale + gap, width * scale + gap, images.shape[-1]), np.uint8)
    cells[:n, : height * scale, : width * scale] = images.repeat(scale, axis=1).repeat(scale, axis=2)
    sheet = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    sheet = sheet.reshape(rows * cells.shape[1], columns * cells.shape[2], -1)
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap]


def save_grid(
    path: Path,
    images: UInt8[np.ndarray, "n h w c"],
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 2,
) -> None:
    """Writes `grid(...)` as a picture of the kind that the file's suffix names, whole or not at all.

    Raises:
      UsageError: the suffix is not one of a picture that can be written.
      MulliganError: the file cannot be written.
    """
    form = picture_format(path)
    if form is None:
        raise UsageError(f"{path} does not end as a picture does: end it in .png or .jpg.")
    replace_file(path, encoded(grid(images, columns, scale, gap), form))


def picture_format(path: Path) -> str | None:
    """The kind of picture that a file of this name holds, as Pillow calls it; None where it is no picture.

    Example:
      >>> picture_format(Path("a.JPG")), picture_format(Path("folder.d"))
      ('JPEG', None)
    """
    suffix = path.suffix.lower()
    form = Image.registered_extensions().get(suffix, suffix)
    kind = Image.MIME.get(form) or mimetypes.guess_type(path.name)[0] or ""
    return form if kind.startswith("image/") else None


def encoded(image: UInt8[np.ndarray, "h w c"], form: str) -> bytes:
    """An image as `png` takes it as the bytes of a file; on white where such files know no transparency.

    Raises:
      UsageError: Pillow cannot write such pictures.
    """
    if form == "PNG":
        return png(image)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGBA")
    if form not in TRANSPARENT:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    file = io.BytesIO()
    try:
        picture.save(file, form, quality=QUALITY)
    except (KeyError, OSError, ValueError) as error:
        raise UsageError(f"{form} pictures cannot be written here: end the name in .png or .jpg.") from error
    return file.getvalue()


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """An image with 1 (grey), 2 (grey, alpha), 3 or 4 channels as the bytes of a PNG file."""
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("Software", WRITER)
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", pnginfo=text)
    return file.getvalue()


def terminal_thumbnail(image: UInt8[np.ndarray, "h w c"], width: int) -> str:
    """An image for a terminal with 24-bit colour; each character shows two pixels, one over the other.

    Args:
      image: 1 to 4 channels as in `png`; transparent parts become black.
      width: characters in a line, at least 1.

    Example:
      >>> terminal_thumbnail(np.full((2, 1, 1), 9, np.uint8), 1)
      '\\x1b[38;2;9;9;9;48;2;9;9;9m▀\\x1b[0m'
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGBA")
    # A character is about twice as high as it is wide, and shows two pixels.
    lines = max(1, round(width * picture.height / picture.width / 2))
    picture = picture.resize((width, 2 * lines), Image.Resampling.BOX)
    black = Image.new("RGBA", picture.size, "black")
    pixels = np.asarray(Image.alpha_composite(black, picture))[..., :3]
    shown = []
    for row in range(0, len(pixels), 2):
        for upper, lower in zip(pixels[row], pixels[row + 1], strict=True):
            # The upper half of the character is its foreground colour, the lower half its background.
            shown.append("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*upper, *lower))
        shown.append("\x1b[0m\n")
    return "".join(shown).removesuffix("\n")
