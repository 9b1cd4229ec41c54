"""One arm of a race in a process of its own, which `meta.race.side_by_side` starts and nobody else.

It trains slice after slice as it is told, and ends with the process that started it, however that one ends. What to do
comes in, and what happened goes out, through a socket that it inherits.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from mulligan.errors import MulliganError
from mulligan.files import locked
from mulligan.meta.race.arm_run import ArmRun
from mulligan.training.cores import settle
from mulligan.training.device import cache_programs

PATIENCE = 60.0  # seconds that the process of a parent which was killed has left to end in


def main() -> None:
    """Works until nothing more can come."""
    parent, asked = Connection(int(sys.argv[1])), queue.Queue()
    threading.Thread(target=_listen, args=(parent, asked), daemon=True).start()
    spec, shared, lock, started = asked.get()

    def tell(message: Any) -> None:
        try:
            parent.send(message)
        except OSError:  # nobody hears it any more
            os._exit(0)

    settle(int(sys.argv[2]))
    cache_programs()
    until = time.monotonic() + PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(lock))
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    tell(MulliganError(f"another process is training {spec.folder.path} now."))
                    return
                time.sleep(0.05)
        run = ArmRun(spec, shared.opened(), tell, started)
        while True:
            tell(run.train(asked.get()))


def _listen(parent: Connection, asked: queue.Queue[Any]) -> None:
    """Passes on what comes in; where nothing more can come, the process is over at once: all is in the arm's folder."""
    while True:
        try:
            asked.put(parent.recv())
        except (EOFError, ConnectionError):
            os._exit(0)
        except Exception:  # not the end: what was sent cannot be read here
            traceback.print_exc()
            os._exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # it was asked to end, and has saved
        os._exit(0)
