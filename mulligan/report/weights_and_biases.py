"""A run for Weights & Biases, in offline mode: files in a folder, for `wandb sync` to send later; nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mulligan.errors import MulliganError
from mulligan.events import RunEvent, SamplesDrawn
from mulligan.report.embedding import read_image
from mulligan.report.run import RunRecord, read_run
from mulligan.report.tensorboard import scalars


def write_wandb(run: Path, out: Path) -> Path:
    """Writes scalars and sample grids of a run, over images seen, into the folder `out`.

    Stretches that the run went back to before are left out, as are pictures that cannot be read.

    Raises:
      MulliganError: wandb is not installed, `out` cannot be written to, or no run that can be read.
    """
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MulliganError("Weights & Biases files need wandb: pip install 'mulligan[wandb]'.") from error
    record = read_run(run)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MulliganError(f"cannot write Weights & Biases files to {out}: {error.strerror or error}.") from error
    with wandb.init(
        project="mulligan", name=run.name, dir=str(out), mode="offline", config=record.recipe.to_json()
    ) as target:
        for event in record.events:
            if not event.abandoned:
                _write(wandb, target, record, event)
    return out


def _write(wandb: Any, target: Any, record: RunRecord, event: RunEvent) -> None:
    """One event, at its images seen."""
    found: dict[str, Any] = dict(scalars(event))
    path = record.path(event.path) if isinstance(event, SamplesDrawn) else None
    image = read_image(path.read_bytes()) if path else None
    if image:
        found["samples"] = wandb.Image(np.asarray(image.convert("RGB")))
    if found:
        target.log({**found, "nimg": event.nimg})
