"""`mulligan walk`: a closed walk through the latent space as an animation."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mulligan.errors import MulliganError, UsageError, first_line
from mulligan.files import make_folder, replace_file
from mulligan.grid import grid
from mulligan.training.generator import Generator
from mulligan.training.latents import closed_path, truncated

FRAMES_A_SECOND = 25
TURNS_A_SECOND = 0.5  # harmonics of the path for each second: how fast images change
MOST_SECONDS, MOST_IMAGES = 120.0, 64


def write_walk(
    generator: Generator,
    out: Path,
    number: int = 9,
    seconds: float = 8.0,
    seed: int = 0,
    truncation: float = 1.0,
    labels: Any = None,
) -> Path:
    """Writes an animation in which `number` images change smoothly and end as they began.

    A mixture of generators jumps between its members, so the walk is that of its weightiest one.

    Args:
      generator: that draws.
      out: a `.gif`, `.webp` or, where ffmpeg is installed, `.mp4` file.
      number: of images beside each other, 1 to 64.
      seconds: of one round, up to 120.
      seed: of the walk.
      truncation: as of `Generator.sample`.
      labels: as of `Generator.sample`.

    Raises:
      UsageError: another kind of file, or a number that is out of range.
      MulliganError: there is no ffmpeg, or the file cannot be written.
    """
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        *others, last = WRITERS
        raise UsageError(f"{out} is no animation: end it in {', '.join(others)} or {last}.")
    if not 1 <= number <= MOST_IMAGES:
        raise UsageError(f"a walk shows 1 to {MOST_IMAGES} images.")
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"a walk takes more than 0 and at most {MOST_SECONDS:g} seconds.")
    frames = sheets(generator, number, max(round(seconds * FRAMES_A_SECOND), 2), seconds, seed, truncation, labels)
    make_folder(out.parent)
    replace_file(out, write(frames))
    return out


def sheets(
    generator: Generator, number: int, frames: int, seconds: float, seed: int, truncation: float, labels: Any
) -> UInt8[np.ndarray, "frames height width 3"]:
    """The pictures of the animation: a grid of images each, on white.

    Args:
      generator: that draws; of a mixture its weightiest member.
      number: of images beside each other.
      frames: how many pictures.
      seconds: that they last, which says how far the walk goes.
      seed, truncation, labels: as in `write_walk`.

    Raises:
      UsageError: a truncation out of range, or labels that the generator does not have.
    """
    walker = generator.largest_member()
    turns = max(round(seconds * TURNS_A_SECOND), 1)
    paths = np.stack([closed_path(frames, walker.latent, turns, seed + 1000 * cell) for cell in range(number)], axis=1)
    latents = truncated(paths.reshape(-1, walker.latent), truncation)
    if labels is None and walker.classes:
        labels = np.arange(number) % len(walker.classes)
    labels = None if labels is None else np.tile(np.broadcast_to(labels, number), frames)
    images = walker.draw(latents, labels).reshape(frames, number, *walker.shape)
    found = []
    for each in images:
        picture = Image.fromarray(grid(each)).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        found.append(np.asarray(Image.alpha_composite(white, picture).convert("RGB")))
    return np.stack(found)


def _pillow(frames: UInt8[np.ndarray, "n h w 3"], form: str, **options: Any) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    content = io.BytesIO()
    pictures[0].save(
        content,
        form,
        save_all=True,
        append_images=pictures[1:],
        duration=1000 // FRAMES_A_SECOND,  # GIF counts hundredths of a second: 4 of them
        loop=0,
        **options,
    )
    return content.getvalue()


def _mp4(frames: UInt8[np.ndarray, "n h w 3"]) -> bytes:
    """H.264 as every browser plays it, which wants even sides."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise MulliganError("an .mp4 needs the program ffmpeg, which is not installed: install it, or write a .webp.")
    _, height, width, _ = frames.shape
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "walk.mp4"
        raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {FRAMES_A_SECOND} -i -".split()
        even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"
        coded = f"-vf {even} -c:v libx264 -crf 18 -pix_fmt yuv420p -movflags +faststart".split()
        done = subprocess.run(
            [program, "-loglevel", "error", *raw, *coded, str(target)],
            input=frames.tobytes(),
            capture_output=True,
            check=False,
        )
        if done.returncode or not target.is_file():
            told = first_line(MulliganError(done.stderr.decode(errors="replace").strip() or "it wrote nothing"))
            raise MulliganError(f"ffmpeg could not write the walk ({told}): write a .webp instead.")
        return target.read_bytes()


WRITERS: dict[str, Callable[[UInt8[np.ndarray, "n h w 3"]], bytes]] = {
    ".gif": partial(_pillow, form="GIF", optimize=False),
    ".webp": partial(_pillow, form="WEBP", quality=90, method=2),
    ".mp4": _mp4,
}
