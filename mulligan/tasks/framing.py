"""The one shape that images of any size are brought to, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageColor, ImageOps

from mulligan.errors import UsageError
from mulligan.tasks.splits import count_sentence
from mulligan.tasks.task import LARGEST, SMALLEST

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
GROUNDS: tuple[Colour, ...] = (WHITE, (0, 0, 0), (128, 128, 128))  # tried in this order behind transparent drawings
VANISHED = 0.05  # share of a drawing below which it cannot be seen on a ground
MIXED_LARGEST = 64  # side that images of mixed or too large sizes get without being asked
MILD_ASPECT = 2.0  # up to which cropping to the centre keeps half of the image
FITS = ("crop", "pad")  # how images of different shapes are brought to one
RESAMPLING = Image.Resampling.BICUBIC  # Pillow widens it when shrinking, so it antialiases


@dataclass(frozen=True)
class Request:
    """What a person asks of the shape; None leaves it to the images."""

    size: int | tuple[int, int] | None = None  # side of the square images that come out, or their height and width
    fit: str | None = None  # crop | pad
    background: Colour | None = None  # behind transparent pixels, and around padded images

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        for side in sides:
            if side is not None and not SMALLEST <= side <= LARGEST:
                raise UsageError(f"size {side} is out of range: networks work with sides from {SMALLEST} to {LARGEST}.")
        if self.fit not in (None, *FITS):
            raise UsageError(f"fit is {self.fit!r}; it must be 'crop' or 'pad'.")
        levels = self.background or WHITE
        if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
            raise UsageError(f"background is {self.background}; it must be red, green and blue from 0 to 255.")

    @property
    def ground(self) -> Colour:
        """The colour asked for, or white."""
        return self.background or WHITE


def parse_colour(text: str | Sequence[int] | None) -> Colour | None:
    """A colour by its name, as `#rrggbb`, or as three numbers.

    Raises:
      UsageError: none of these.

    Example:
      >>> parse_colour("black"), parse_colour("#ff8000"), parse_colour("255,128,0"), parse_colour([1, 2, 3])
      ((0, 0, 0), (255, 128, 0), (255, 128, 0), (1, 2, 3))
    """
    try:
        if text is None:
            return None
        if isinstance(text, str) and "," not in text:
            red, green, blue = ImageColor.getrgb(text.strip())[:3]
        else:
            red, green, blue = (int(level) for level in (text.split(",") if isinstance(text, str) else text))
    except (ValueError, TypeError) as error:
        raise UsageError(f"background {text!r} is no colour: say white, #ffffff, or 255,255,255.") from error
    return Request(background=(red, green, blue)).ground


def choose_ground(visible: Sequence[tuple[float, ...]]) -> tuple[Colour, int]:
    """The ground on which the fewest transparent drawings vanish, and how many would on white.

    Args:
      visible: share of each drawing that can be seen on each of `GROUNDS`. One that is seen on none does not count.
    """
    vanished = [sum(shares[ground] < VANISHED <= max(shares) for shares in visible) for ground in range(len(GROUNDS))]
    best = min(range(len(GROUNDS)), key=lambda ground: vanished[ground])
    return GROUNDS[best], vanished[0]


@dataclass(frozen=True)
class Frame:
    """A common shape, and how an image of another aspect ratio is fitted to it."""

    height: int
    width: int
    fit: str  # crop | pad
    background: Colour

    def place(self, image: Image.Image) -> Image.Image:
        """Crops or pads an "L" or "RGB" image, and resamples it with antialiasing.

        An image that fits is untouched.
        """
        size = (self.width, self.height)
        if image.size == size:
            return image
        if self.fit == "crop":
            return ImageOps.fit(image, size, RESAMPLING)
        # A grey image cannot hold a border of a colour.
        if image.mode == "L" and len(set(self.background)) > 1:
            image = image.convert("RGB")
        colour = self.background[0] if image.mode == "L" else self.background
        return ImageOps.pad(image, size, RESAMPLING, color=colour)


def choose_frame(sizes: Int[np.ndarray, "n 2"], request: Request) -> tuple[Frame, tuple[str, ...]]:
    """Chooses the frame for images of these sizes (width, height), and says in a sentence what it does.

    Images of one size, of which both sides suit the networks, keep it. Otherwise, unless `size` is asked for,
    the frame is a square with the median of the images' shorter sides, rounded down to a multiple of 8 and to
    64 at most. Images are cropped to the centre when at least nine in ten keep half of themselves or more
    (aspect ratio within 2), else padded.
    """
    smallest, largest = sizes.min(axis=0), sizes.max(axis=0)
    alike = bool((smallest == largest).all())
    own = int(np.clip(np.median(sizes.min(axis=1)) // 8 * 8, SMALLEST, MIXED_LARGEST))
    asked = request.size or own
    height, width = asked if isinstance(asked, tuple) else (asked, asked)
    if request.size is None and alike and (largest >= SMALLEST).all() and (largest <= LARGEST).all():
        width, height = (int(side) for side in largest)
    # Relative to the frame: 1 is the frame's own shape, 2 twice as wide.
    aspect = sizes[:, 0] / sizes[:, 1] * (height / width)
    mild = (np.maximum(aspect, 1 / aspect) <= MILD_ASPECT).mean() >= 0.9
    fit = request.fit or ("crop" if mild else "pad")
    frame = Frame(height, width, fit, request.ground)
    if alike and tuple(largest) == (width, height):
        return frame, ()

    low, high = ("x".join(str(side) for side in size) for size in (smallest, largest))
    found = low if alike else f"{low} to {high}"
    padded = f"padded with the colour {frame.background} and "
    fitted = "" if (aspect == 1).all() else "cropped to the centre and " if fit == "crop" else padded
    return frame, (f"{count_sentence(len(sizes), 'image')} of {found}: {fitted}resampled to {width}x{height}.",)


def resample(images: UInt8[np.ndarray, "n h w c"], frame: Frame) -> UInt8[np.ndarray, "n h2 w2 c2"]:
    """Places every image of an array in a frame; grey images become RGB only when padded with a colour."""
    if images.shape[1:3] == (frame.height, frame.width):
        return images
    squeezed = images[..., 0] if images.shape[3] == 1 else images
    placed = np.stack([np.asarray(frame.place(Image.fromarray(image))) for image in squeezed])
    return placed[..., None] if placed.ndim == 3 else placed
