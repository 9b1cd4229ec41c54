"""Signals that ask a program to end: Ctrl-C, and those of a system that stops a job or a terminal that closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mulligan.errors import Terminated

# Windows has no SIGHUP.
TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def _raise(number: int, _frame: Any) -> None:
    raise Terminated(number)


@contextmanager
def terminations_raised() -> Iterator[None]:
    """While it is entered SIGTERM and SIGHUP raise `Terminated` where they would have killed the process.

    Those that are ignored, as SIGHUP is below `nohup`, stay so.
    """
    fatal = [number for number in TERMINATING if _in_main_thread() and signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, _raise) for number in fatal}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()  # in others Python hears no signals


class Interrupt:
    """While it is entered the first signal to end is noted in `came`, by its number; the second one does not wait.

    Handlers of a program's own for SIGTERM and SIGHUP are left alone, and in threads other than the main one all are.
    """

    def __init__(self):
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if _in_main_thread():
            # A program that handles them itself knows better; `terminations_raised` may lie around this.
            ours = [number for number in TERMINATING if signal.getsignal(number) in (signal.SIG_DFL, _raise)]
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, *ours)}

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: Any) -> None:
        if self.came is not None:
            _raise(number, frame)
        self.came = number
