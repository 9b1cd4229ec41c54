"""What a person asks of a generator with sliders, and the images that answer it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from mulligan.errors import UsageError
from mulligan.serve.uploads import Found
from mulligan.training.generator import Generator
from mulligan.training.latents import STRONGEST, spherical, truncated

MOST = 144  # images at a time
FARTHEST = np.pi / 4  # angle to which the images around an uploaded one go


@dataclass(frozen=True)
class Wish:
    """What to draw.

    Attributes:
      seed: of the latents.
      rows, columns: of the grid.
      truncation: factor on all latents, 0 to 3: below 1 nearer to the typical image, beyond it stranger.
      label: class number, or None for all in turn.
      to_seed: walk from the first latent of `seed` to that of this one, over the grid; None for separate images.
      moved: (index of a latent number, what is added to it in all images).
      origin: what was found of an uploaded picture: a walk begins there, and separate images lie around it, the first
        upon it; None for images of the seed alone.
    """

    seed: int = 0
    rows: int = 4
    columns: int = 8
    truncation: float = 1.0
    label: int | None = None
    to_seed: int | None = None
    moved: tuple[tuple[int, float], ...] = ()
    origin: Found | None = None

    @staticmethod
    def of_query(query: dict[str, str], generator: Generator, origin: Found | None = None) -> Wish:
        """A wish from an address: `seed=3&truncation=0.7&moved=0:1.5,4:-1`.

        Raises:
          UsageError: a number that is out of range.
          ValueError: something that is no number.
        """
        moved = [part.split(":") for part in query.get("moved", "").split(",") if part]
        wish = Wish(
            seed=int(query.get("seed", 0)),
            rows=int(query.get("rows", 4)),
            columns=int(query.get("columns", 8)),
            truncation=float(query.get("truncation", 1)),
            label=int(query["label"]) if query.get("label") else None,
            to_seed=int(query["to_seed"]) if query.get("to_seed") else None,
            moved=tuple((int(index), float(step)) for index, step in moved),
            origin=origin,
        )
        wish.check(generator)
        return wish

    def check(self, generator: Generator) -> None:
        """Refuses what cannot be drawn.

        Raises:
          UsageError: a number is out of range.
        """
        if min(self.rows, self.columns) < 1 or self.rows * self.columns > MOST:
            raise UsageError(f"a grid has 1 to {MOST} images.")
        if min(self.seed, self.to_seed or 0) < 0:
            raise UsageError("a seed is 0 or more.")
        if not 0 <= self.truncation <= STRONGEST:
            raise UsageError(f"the truncation lies between 0 and {STRONGEST:g}.")
        if self.label is not None and not 0 <= self.label < len(generator.classes or ()):
            raise UsageError("there is no such class.")
        if any(not 0 <= index < generator.latent or not abs(step) <= STRONGEST for index, step in self.moved):
            raise UsageError(f"a slider moves one of {generator.latent} numbers by {STRONGEST:g} at most.")


def drawn(generator: Generator, wish: Wish) -> UInt8[np.ndarray, "rows columns h w c"]:
    """The images of a wish, row by row.

    Raises:
      UsageError: a number of the wish is out of range.
    """
    label = wish.label
    if label is None and wish.origin is not None:
        label = wish.origin.label
    images = generator.draw(latents(generator, wish), label)
    return images.reshape(wish.rows, wish.columns, *generator.shape)


def latents(generator: Generator, wish: Wish) -> Float[np.ndarray, "n d"]:
    """The latents of a wish: of a seed, on the way to that of another, or around an origin; moved and truncated.

    Raises:
      UsageError: a truncation out of range.
    """
    count, drawn = wish.rows * wish.columns, generator.sampler.latents
    start = drawn(1, wish.seed)[0] if wish.origin is None else wish.origin.latent
    if wish.to_seed is not None:
        z = spherical(start, drawn(1, wish.to_seed)[0], count)
    elif wish.origin is not None:
        # Ever farther from the found one, each towards another: the first is that one itself.
        angles = np.linspace(0, FARTHEST, count, dtype=np.float32)[:, None]
        z = np.cos(angles) * start + np.sin(angles) * drawn(count, wish.seed)
    else:
        z = drawn(count, wish.seed)
    for index, step in wish.moved:
        z[:, index] += step
    return truncated(z, wish.truncation)
