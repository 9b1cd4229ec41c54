"""Curves of a run for other programs while it trains, event by event."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, UsageError, first_line
from mulligan.events import Listener, read_event
from mulligan.report import mlflow_tracking, tensorboard, weights_and_biases
from mulligan.report.curve_log import CurveLog, Opening, write_kept
from mulligan.report.run import RunRecord, read_run

BEFORE = ("data", "plan", "note")  # kinds of events that come before a run's folder says what is trained
PROGRAMS: dict[str, Callable[[str], Opening]] = {
    "tensorboard": tensorboard.opening,
    "wandb": weights_and_biases.opening,
    "mlflow": mlflow_tracking.opening,
}


def write_curves(run: Path, program: str, place: str) -> None:
    """Writes all of a run for a program: scalars, sample grids and what the guard did, over images seen.

    Stretches that it went back to before and pictures that cannot be read are left out. What an earlier call wrote for
    TensorBoard is replaced.

    Args:
      run: its folder.
      program: one of `PROGRAMS`.
      place: a folder; or a tracking URI of MLflow's, such as `http://localhost:5000`.

    Raises:
      UsageError: a program that is not known.
      MulliganError: the program is not installed, `place` cannot be written to, or no run that can be read.
    """
    try:
        opening = _opening(program, place)
        record = read_run(run)
        log = opening(record)
        try:
            write_kept(log, record)
        except BaseException:
            log.close(failed=True)
            raise
        log.close(failed=False)
    except OSError as error:
        raise MulliganError(f"curves for {program} cannot be written to {place}: {error.strerror or error}.") from error


class Following:
    """A listener that writes a run's curves while it trains, beginning with what its folder holds already.

    Of recipes that race, nothing is written until one has won, nor of a run that grows until it trains on large images.
    What cannot be written any more, such as for a server
    that went away, ends the log and not the run.
    """

    def __init__(self, name: str, opening: Opening, run: Path | None = None):
        self.name = name
        self.opening = opening
        self.run = run
        self.record: RunRecord | None = None
        self.log: CurveLog | None = None
        self.broken = False

    def __call__(self, event: dict[str, Any]) -> None:
        self.run = Path(event["run"]) if "run" in event else self.run
        if self.run is None or self.broken or event["kind"] in BEFORE or "arm" in event or "small" in event:
            return
        try:
            if self.log is None or self.record is None or event["kind"] == "resume":
                if self.log is not None:
                    self.log.close(failed=False)
                self.record = read_run(self.run)  # which holds this event already
                self.log = self.opening(self.record)
                write_kept(self.log, self.record)
                return
            if event["kind"] == "guard":
                self.log.back_to(event["back_to_nimg"])
            self.log.add(self.record, read_event(event))
        except Exception as error:
            self.broken = True
            print(f"mulligan: {self.name} is no longer written: {first_line(error)}", file=sys.stderr, flush=True)

    def close(self, failed: bool) -> None:
        """Ends the log, if one was begun."""
        if self.log is not None and not self.broken:
            self.log.close(failed)


@contextmanager
def following(places: Mapping[str, str | Path], listen: Listener, run: Path | None = None) -> Iterator[Listener]:
    """A listener that passes events on, and writes curves to every place by the name of its program.

    Args:
      places: such as `{"tensorboard": "tb/", "mlflow": "http://localhost:5000"}`.
      listen: is told every event first.
      run: its folder, if there is one already.

    Raises:
      UsageError: a program that is not known.
      MulliganError: one that is not installed.
    """
    logs = [Following(name, _opening(name, str(place)), run) for name, place in places.items()]

    def told(event: dict[str, Any]) -> None:
        listen(event)
        for log in logs:
            log(event)

    failed = True
    try:
        yield told
        failed = False
    finally:
        for log in logs:
            log.close(failed)


def _opening(name: str, place: str) -> Opening:
    if name not in PROGRAMS:
        raise UsageError(f"curves cannot be written for {name!r}: choose {', '.join(PROGRAMS)}.")
    return PROGRAMS[name](place)
