"""A run as TensorBoard event files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mulligan.errors import MulliganError
from mulligan.events import (
    ChunkTrained,
    Evaluated,
    FinalScored,
    RolledBack,
    RunEvent,
    SamplesDrawn,
    as_number,
    own_fields,
)
from mulligan.report.embedding import read_image
from mulligan.report.run import RunRecord, read_run

SUFFIX = ".mulligan"
ENDS = ("kid", "frechet", "precision", "recall", "density", "coverage", "diversity")


def write_tensorboard(run: Path, out: Path) -> Path:
    """Writes scalars, sample grids and the guard's words of a run, over images seen, into the folder `out`.

    What an earlier call wrote there is replaced. Stretches that the run went back to before are left out:
    TensorBoard cannot draw a curve that returns. So are pictures that cannot be read.

    Raises:
      MulliganError: tensorboardX is not installed, `out` cannot be written to, or no run that can be read.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MulliganError("TensorBoard files need tensorboardX: pip install 'mulligan[tensorboard]'.") from error
    record = read_run(run)
    try:
        for earlier in out.glob(f"events.out.tfevents.*{SUFFIX}"):
            earlier.unlink()
        with SummaryWriter(str(out), filename_suffix=SUFFIX) as writer:
            for event in record.events:
                if not event.abandoned:
                    _write(writer, record, event)
    except OSError as error:
        raise MulliganError(f"cannot write TensorBoard files to {out}: {error.strerror or error}.") from error
    return out


def scalars(event: RunEvent) -> dict[str, float]:
    """An event's numbers by their names in TensorBoard.

    >>> scalars(ChunkTrained.read({"penalty": 0.5, "hyperparameters": {"gamma": 2.0}}))
    {'train/penalty': 0.5, 'hyperparameters/gamma': 2.0}
    """
    match event:
        case ChunkTrained():
            named = {f"train/{name}": as_number(getattr(event, name)) for name in own_fields(event)}
            named |= {f"hyperparameters/{name}": value for name, value in event.hyperparameters.items()}
        case Evaluated() | FinalScored():
            group = f"{event.split}/{event.average}"
            named = {f"{group}/{name}": getattr(event, name, None) for name in ENDS}
        case _:
            named = {}
    return {name: value for name, value in named.items() if value is not None}


def _write(writer: Any, record: RunRecord, event: RunEvent) -> None:
    """One event, at its images seen and its time of day."""
    step, time = int(event.nimg), _created(record) + event.seconds
    for name, value in scalars(event).items():
        writer.add_scalar(name, value, step, walltime=time)
    if isinstance(event, RolledBack):
        writer.add_text("guard", f"{event.reason}: {event.action}", step, walltime=time)
    path = record.path(event.path) if isinstance(event, SamplesDrawn) else None
    image = read_image(path.read_bytes()) if path else None
    if image:
        writer.add_image("samples", np.asarray(image.convert("RGBA")), step, walltime=time, dataformats="HWC")


def _created(record: RunRecord) -> float:
    """When the run began, seconds since 1970; 0 when it does not say."""
    try:
        return datetime.fromisoformat(str(record.run.get("created"))).timestamp()
    except ValueError:
        return 0.0
