"""What is read, and what was asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike

from mulligan.tasks.framing import Request
from mulligan.tasks.read_before import Shelf
from mulligan.tasks.stored import Listing


@dataclass(frozen=True)
class Source:
    """Files in which there are images, and how they are to be read.

    Attributes:
      listing: the files of a folder or archive, or the one that was given by itself and those that belong to it.
      where: the source as it was given, for messages.
      request: the shape asked for, and what is behind transparent pixels.
      memory: bytes that images may take in memory; of more than a share of it in one array they stay in their files.
      groups: "folder", or the name of a column or array, that says what the split keeps together.
      labels: of the images, where the caller brings them.
      path: of the file that was given by itself.
      shelf: where what is read of it is kept; None to keep nothing.
    """

    listing: Listing
    where: str
    request: Request
    memory: int
    groups: str | None = None
    labels: ArrayLike | None = None
    path: Path | None = None
    shelf: Shelf | None = None
