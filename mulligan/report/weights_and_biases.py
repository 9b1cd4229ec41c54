"""A run for Weights & Biases; files in a folder, for `wandb sync` to send later, unless `WANDB_MODE` says otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mulligan.errors import MulliganError, optional_import
from mulligan.events import RunEvent
from mulligan.report.curve_log import Opening, picture, scalars
from mulligan.report.run import RunRecord


def opening(place: str) -> Opening:
    """What begins a log in this folder.

    Raises:
      MulliganError: wandb is not installed, or the folder cannot be made.
    """
    with optional_import("wandb", "a log for Weights & Biases", "wandb"):
        import wandb  # pyright: ignore[reportMissingImports]
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MulliganError(f"cannot write Weights & Biases files to {place}: {error.strerror or error}.") from error
    return lambda record: WandbLog(wandb, place, record)


class WandbLog:
    """One run of Weights & Biases, at images seen."""

    def __init__(self, wandb: Any, place: str, record: RunRecord):
        self.wandb = wandb
        mode = os.environ.get("WANDB_MODE") or "offline"
        config = record.recipe.to_json()
        self.target = wandb.init(project="mulligan", name=record.folder.name, dir=place, mode=mode, config=config)

    def add(self, record: RunRecord, event: RunEvent) -> None:
        found: dict[str, Any] = dict(scalars(event))
        image = picture(record, event)
        if image is not None:
            found["samples"] = self.wandb.Image(np.asarray(image.convert("RGB")))
        if found:
            self.target.log({**found, "nimg": event.nimg})

    def back_to(self, nimg: float) -> None:
        """What was written stays: over `nimg` its curves return."""

    def close(self, failed: bool) -> None:
        self.target.finish(exit_code=int(failed))
