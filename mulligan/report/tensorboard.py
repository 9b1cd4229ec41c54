"""A run as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mulligan.errors import optional_import
from mulligan.events import RolledBack, RunEvent
from mulligan.report.curve_log import Opening, picture, scalars
from mulligan.report.run import RunRecord

SUFFIX = ".mulligan"


def opening(place: str) -> Opening:
    """What begins a log in this folder.

    Raises:
      MulliganError: tensorboardX is not installed.
    """
    with optional_import("tensorboardX", "a log for TensorBoard", "tensorboard"):
        from tensorboardX import SummaryWriter
    return lambda record: TensorBoardLog(partial(SummaryWriter, filename_suffix=SUFFIX), place, record)


class TensorBoardLog:
    """Event files in one folder, at images seen and the time of day; those of an earlier log there are removed."""

    def __init__(self, writer: Callable[..., Any], folder: str, record: RunRecord):
        for earlier in Path(folder).glob(f"events.out.tfevents.*{SUFFIX}"):
            earlier.unlink()
        self.open_writer = partial(writer, folder)
        self.writer = self.open_writer()
        try:
            self.created = datetime.fromisoformat(str(record.run.get("created"))).timestamp()
        except ValueError:
            self.created = 0.0  # a run that does not say when it began is drawn from 1970 on

    def add(self, record: RunRecord, event: RunEvent) -> None:
        step, time = int(event.nimg), self.created + event.seconds
        for name, value in scalars(event).items():
            self.writer.add_scalar(name, value, step, walltime=time)
        if isinstance(event, RolledBack):
            text = f"{event.reason}: {event.action}"
            self.writer.add_text("guard", text, step, walltime=time)
        image = picture(record, event)
        if image is not None:
            pixels = np.asarray(image.convert("RGBA"))
            self.writer.add_image("samples", pixels, step, walltime=time, dataformats="HWC")
        # At once, for people watch while it trains, and a run that is killed never closes its log.
        self.writer.flush()

    def back_to(self, nimg: float) -> None:
        """Another file, which tells TensorBoard to forget what lies beyond: it cannot draw a curve that returns."""
        self.writer.close()
        self.writer = self.open_writer(purge_step=int(nimg) + 1)

    def close(self, failed: bool) -> None:
        del failed
        self.writer.close()
