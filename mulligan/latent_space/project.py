"""`mulligan project`: given pictures, what a generator makes of them, and how far apart the two are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mulligan.documents import write_sealed
from mulligan.events import Noted, ProjectionAdvanced
from mulligan.files import make_folder, replace_file
from mulligan.grid import save_grid
from mulligan.tasks.framing import parse_colour
from mulligan.tasks.pictures import Fitting, read_pictures
from mulligan.training.generator import Generator
from mulligan.training.projection import DRAWS
from mulligan.training.run import FORMAT, RunFolder

MOST = 256  # pictures at a time
TRIPLES = 4  # in a row of the grid

Listener = Callable[[dict[str, Any]], None]


def project(
    generator: Generator, source: Path, out: Path, label: int | None = None, listener: Listener = lambda event: None
) -> dict[str, Any]:
    """Projects the pictures at `source`, and writes what was found into the folder `out` (docs/latents.md).

    Args:
      generator: whose latents are sought.
      source: a folder, zip, tar or file of pictures.
      out: gets `projection.json`, `projection.png` and `latents.npz`.
      label: class of all pictures; None where each is to get the one that comes nearest.
      listener: called with an event now and then, and with a `note` on what was skipped.

    Returns:
      The content of `projection.json`.

    Raises:
      UsageError: there is nothing at `source`, or no such class.
      MulliganError: it holds no pictures.
    """
    names, images, notes = read_pictures(source, fitting(generator), MOST)
    for note in notes:
        listener(Noted(text=note).to_json())
    asked = f"finding latents of {len(images)} pictures"
    found = generator.project(
        images, label, lambda share: listener(ProjectionAdvanced(stage=asked, share=round(share, 3)).to_json())
    )
    classes = generator.classes or ()
    labels = [None] * len(names) if found.labels is None else [classes[label] for label in found.labels]
    rows = zip(names, labels, found.error.tolist(), found.nearest_error.tolist(), strict=True)
    document = {
        "format": FORMAT,
        "draws": DRAWS,
        "error": float(np.median(found.error)),
        "nearest_error": float(np.median(found.nearest_error)),
        "pictures": [
            {"name": name, "class": named, "error": error, "nearest_error": nearest}
            for name, named, error, nearest in rows
        ],
    }
    make_folder(out)
    write_sealed(out / "projection.json", document)
    arrays: dict[str, Any] = {"latents": found.latents}
    arrays |= {} if found.labels is None else {"labels": found.labels}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    replace_file(out / "latents.npz", content.getvalue())
    apart = np.abs(images.astype(np.int16) - found.images).astype(np.uint8)
    if images.shape[-1] == 4:
        apart[..., 3] = 255
    triples = np.stack([images, found.images, apart], axis=1)
    save_grid(out / "projection.png", triples.reshape(-1, *images.shape[1:]), columns=3 * min(TRIPLES, len(images)))
    return document


def fitting(generator: Generator) -> Fitting:
    """Brings pictures to the generator's shape, as its run brought those that it was trained on.

    Raises:
      MulliganError: the generator's run folder is damaged.
    """
    asked = {} if generator.run is None else RunFolder.open(generator.run).document("run")["options"]
    return Fitting(generator.shape, asked.get("fit"), parse_colour(asked.get("background")))
