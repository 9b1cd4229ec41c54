"""Pictures that a browser sends: bounded, decoded as any image file, projected one at a time, the newest remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from mulligan.errors import UsageError
from mulligan.tasks.pictures import Fitting
from mulligan.tasks.stored import UnreadableError
from mulligan.training.generator import Generator

MOST_BYTES = 16 * 2**20  # of an encoded picture
REMEMBERED = 64  # uploads; the oldest are forgotten
PATIENCE_SECONDS = 60.0  # that an upload waits for those before it


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of one picture.

    Attributes:
      given: the picture, brought to the generator's shape.
      latent: that comes nearest to it.
      label: class of what comes nearest; None for a generator without classes.
      error: root of the mean squared difference of pixels, 0 to 1.
    """

    given: UInt8[np.ndarray, "h w c"]
    latent: Float[np.ndarray, " d"]
    label: int | None
    error: float


class BusyError(Exception):
    """Others are being projected, and it takes too long to wait."""


@dataclass(frozen=True, eq=False)
class Uploads:
    """The uploads of one generator's page."""

    generator: Generator
    fitting: Fitting
    _found: OrderedDict[int, Found] = field(default_factory=OrderedDict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def add(self, encoded: bytes, label: int | None) -> tuple[int, Found]:
        """Projects a picture: its number, and what was found.

        Args:
          encoded: an image file.
          label: its class, where that is known.

        Raises:
          UsageError: no picture that can be read, or no such class.
          BusyError: it did not get its turn.
        """
        try:
            image = self.fitting(encoded)
        except UnreadableError as error:
            raise UsageError(f"this picture cannot be read: {error}.") from error
        if not self._one_at_a_time.acquire(timeout=PATIENCE_SECONDS):
            raise BusyError
        try:
            projection = self.generator.project(image[None], label)
            chosen = None if projection.labels is None else int(projection.labels[0])
            found = Found(image, projection.latents[0], chosen, float(projection.error[0]))
            number = next(reversed(self._found), -1) + 1
            self._found[number] = found
            while len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
            return number, found
        finally:
            self._one_at_a_time.release()

    def __getitem__(self, number: int) -> Found:
        """What was found of the picture of this number.

        Raises:
          UsageError: there was none, or it is forgotten.
        """
        if number not in self._found:
            raise UsageError("this picture is no longer remembered: choose it again.")
        return self._found[number]
