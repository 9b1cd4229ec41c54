"""Seconds that a run has spent, over all its sessions and without its pauses."""

from __future__ import annotations

import time
from typing import NamedTuple


class Stopwatch(NamedTuple):
    """A clock that runs since `since` (of `time.monotonic()`), or stands still where that is None.

    Another one takes its place where it is stopped or goes on.
    """

    since: float | None
    before: float = 0.0  # what was spent until then

    def seconds(self) -> float:
        """Spent so far."""
        return self.before + (0.0 if self.since is None else time.monotonic() - self.since)
