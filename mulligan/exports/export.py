"""Writes a generator as a file of another program, opens it there, and compares before it says done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mulligan.errors import MulliganError, UsageError
from mulligan.exports import formats
from mulligan.files import make_folder
from mulligan.training.generator import Generator

PROBES = 6  # latents whose images are compared; not a multiple of a usual batch
PROBE_SEED = 3
TOLERANCE = 1e-4  # of a pixel in [-1, 1]

Pixels = Float[np.ndarray, "n h w c"]


class Format(NamedTuple):
    """`write(generator, path)`; `read(path, generator, latents, labels) -> pixels` in the format's own runtime."""

    name: str  # of the file, where none is asked for
    write: Callable[[Generator, Path], None]
    read: Callable[[Path, Generator, np.ndarray, np.ndarray | None], Pixels]
    opened_by: str


FORMATS = {
    "keras": Format("generator.keras", formats.write_keras, formats.read_keras, "Keras"),
    "onnx": Format("generator.onnx", formats.write_onnx, formats.read_onnx, "ONNX Runtime"),
    "savedmodel": Format("generator_savedmodel", formats.write_savedmodel, formats.read_savedmodel, "TensorFlow"),
    "safetensors": Format(
        "generator.safetensors", formats.write_safetensors, formats.read_safetensors, "safetensors and mulligan"
    ),
}


class Exported(NamedTuple):
    """What was written, the program that opened it, and the largest difference it drew to a pixel in [-1, 1]."""

    path: Path
    opened_by: str
    difference: float


def export(generator: Generator, to: str, out: Path | None = None) -> Exported:
    """Writes `generator` in the format `to` (a name in `FORMATS`), and compares what its runtime draws.

    Args:
      generator: a trained one.
      to: `keras`, `onnx`, `savedmodel` or `safetensors`.
      out: file to write, or for `savedmodel` the folder; must not exist. The format's suffix is added where it lacks.
        None takes the format's own name, here.

    Raises:
      UsageError: no such format, or something is at `out` already.
      MulliganError: what the format needs is not installed, the generator cannot be written so, or it draws other
        images there; nothing is left at `out` then.
    """
    if to not in FORMATS:
        raise UsageError(f"{to!r} is not a format to export to; choose {', '.join(FORMATS)}.")
    form = FORMATS[to]
    path = with_suffix(out or Path(form.name), Path(form.name).suffix)
    if path.exists():
        raise UsageError(f"{path} already exists: choose another place with `out`.")
    # Beside its place, so that moving it there is one step on one file system.
    with tempfile.TemporaryDirectory(dir=make_folder(path.parent), prefix=".export.") as folder:
        part = Path(folder) / form.name
        form.write(generator, part)
        difference = compared(generator, form, part)
        if not difference <= TOLERANCE:  # nor where it is not a number
            raise MulliganError(
                f"{form.opened_by} draws other images than mulligan (a pixel differs by {difference:.2g} of 2), "
                "so nothing was exported: please report this, with the recipe."
            )
        part.rename(path)
    return Exported(path, form.opened_by, difference)


def with_suffix(path: Path, suffix: str) -> Path:
    """The path with the suffix by which a format's own runtime knows its files, behind what it ends in already.

    Example:
      >>> str(with_suffix(Path("models/digits.v2"), ".onnx")), str(with_suffix(Path("a.ONNX"), ".onnx"))
      ('models/digits.v2.onnx', 'a.onnx')
    """
    stem = path.stem if path.suffix.lower() == suffix else path.name
    return path.with_name(stem + suffix)


def compared(generator: Generator, form: Format, path: Path) -> float:
    """The largest difference of a pixel in [-1, 1] between mulligan and the format's own runtime.

    Raises:
      MulliganError: what the runtime needs is not installed, or it fails.
    """
    latents = np.random.default_rng(PROBE_SEED).standard_normal((PROBES, generator.latent), np.float32)
    labels = np.arange(PROBES, dtype=np.int32) % len(generator.classes) if generator.classes else None
    ours = np.asarray(generator.network(jnp.asarray(latents), None if labels is None else jnp.asarray(labels)))
    return float(np.abs(ours - form.read(path, generator, latents, labels)).max())
