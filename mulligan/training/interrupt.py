"""Ctrl-C as a flag: a run ends its chunk and saves before it stops."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """While it is entered the first Ctrl-C is noted in `came`, and the second one does not wait.

    Outside the main thread, where Python hears no signals, nothing is changed.
    """

    def __init__(self):
        self.came = False
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, _signal: int, _frame: Any) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
