"""Seconds that a run has spent, over all its sessions and without its pauses."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from `started` (of `time.monotonic()`) on; `before` is what earlier sessions spent."""

    def __init__(self, started: float):
        self.before = 0.0
        self._since: float | None = started

    def seconds(self) -> float:
        """Spent so far."""
        return self.before + (0.0 if self._since is None else time.monotonic() - self._since)

    def stop(self) -> None:
        """Stands still until `go`."""
        self.before, self._since = self.seconds(), None

    def go(self) -> None:
        """Runs on, if it stood still."""
        if self._since is None:
            self._since = time.monotonic()
