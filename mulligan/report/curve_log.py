"""Curves and pictures of a run for other programs: what is written, and all of a run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from PIL import Image

from mulligan.events import ChunkTrained, Evaluated, FinalScored, RunEvent, SamplesDrawn, as_number, own_fields
from mulligan.report.embedding import read_image
from mulligan.report.run import RunRecord

ENDS = ("kid", "energy", "frechet", "precision", "recall", "density", "coverage", "diversity")


@runtime_checkable
class CurveLog(Protocol):
    """Somewhere that curves are written to.

    `add` is given every event that stands; `back_to` is told when those after so many images no longer do; `close` ends
    it, `failed` when the run did not end by itself.
    """

    def add(self, record: RunRecord, event: RunEvent) -> None: ...

    def back_to(self, nimg: float) -> None: ...

    def close(self, failed: bool) -> None: ...


Opening = Callable[[RunRecord], CurveLog]


def write_kept(log: CurveLog, record: RunRecord) -> None:
    """Writes what a run has told so far and still stands."""
    for event in record.events:
        if not event.abandoned:
            log.add(record, event)


def scalars(event: RunEvent) -> dict[str, float]:
    """An event's numbers by the names of their curves.

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


def picture(record: RunRecord, event: RunEvent) -> Image.Image | None:
    """The grid of samples that an event tells of; None where there is none that can be read."""
    path = record.path(event.path) if isinstance(event, SamplesDrawn) else None
    return read_image(path.read_bytes()) if path else None
