"""A few pictures for a generator that is trained already, brought to its shape: no splits, classes or statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.archives import list_file
from mulligan.tasks.decode import decode, header, own_bomb_check
from mulligan.tasks.framing import MILD_ASPECT, WHITE, Colour, Frame
from mulligan.tasks.stored import Listing, StoredFile, list_folder
from mulligan.tasks.survey import Refusal, in_threads, refuse_many, refused, skip_notes

Shape = tuple[int, int, int]
MEMORY = 2**28  # bytes of an archive's files held at once


class Fitting:
    """How pictures are brought to a shape: as the images were that the generator was trained on, if that is known.

    Attributes:
      shape: height, width and channels.
      fit: `crop` or `pad`; None for what keeps at least half of a picture.
      background: behind transparent pixels and around padded pictures.
    """

    def __init__(self, shape: Shape, fit: str | None = None, background: Colour | None = None):
        self.shape = shape
        self.fit = fit
        self.background = background or WHITE

    def __call__(self, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
        """The picture in an encoded file.

        Raises:
          UnreadableError: no picture, a damaged one, or one of too many pixels.
        """
        height, width, channels = self.shape
        file = StoredFile("", lambda n: encoded[:n])
        with own_bomb_check():
            size = header(file)
            aspect = size.width / size.height * (height / width)
            fit = self.fit or ("crop" if max(aspect, 1 / aspect) <= MILD_ASPECT else "pad")
            pixels = decode(encoded, Frame(height, width, fit, self.background))
        if channels == 1:
            return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
        return pixels if channels == 3 else np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)


def read_pictures(
    source: Path, fitting: Fitting, most: int
) -> tuple[tuple[str, ...], UInt8[np.ndarray, "n h w c"], tuple[str, ...]]:
    """Names, pixels and what is to be said of the pictures in a folder, a zip, a tar or a single file.

    Args:
      source: where they are.
      fitting: the shape that they are brought to.
      most: pictures that are read; the others are said to be left out.

    Raises:
      UsageError: there is nothing at `source`.
      MulliganError: it holds no pictures, or many damaged ones.
    """
    files = _listing(source).files
    found = list(in_threads(lambda file: fitting(file.read()), files[:most]))
    pairs = zip(files[:most], found, strict=True)
    read = [(file.name, image) for file, image in pairs if not isinstance(image, Refusal)]
    damaged, others = refused(files[:most], found)
    refuse_many(damaged, others, len(found), str(source))
    notes = skip_notes(damaged, others, len(found))
    if len(files) > most:
        notes += (f"{source} holds {len(files):,} files: the first {most:,} are taken.",)
    return tuple(name for name, _ in read), np.stack([image for _, image in read]), notes


def _listing(source: Path) -> Listing:
    if source.is_dir():
        return list_folder(source)
    if not source.is_file():
        raise UsageError(f"there is no file or folder {source}.")
    try:
        return list_file(source, MEMORY)
    except OSError as error:
        raise MulliganError(f"{source} cannot be read: {error.strerror}.") from error
