"""One arm of a race in a process of its own, which `meta.race.side_by_side` starts and nobody else.

It trains slice after slice as it is told, and ends with the process that started it, however that one ends. What to do
comes in, and what happened goes out, through a socket that it inherits.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from mulligan.errors import MulliganError
from mulligan.meta.race.arm_run import ArmRun, alone
from mulligan.training.cores import settle
from mulligan.training.device import cache_programs


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
    try:
        with alone(spec, lock):
            run = ArmRun(spec, shared.opened(), tell, started)
            while True:
                tell(run.train(asked.get()))
    except MulliganError as error:
        tell(error)


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
