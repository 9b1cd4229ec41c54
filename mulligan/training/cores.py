"""Processes side by side, each on its share of the cores.

XLA sizes its threads by the cores that a process may use when the device is first called, and NumPy's libraries do when
they are loaded. So the share is fixed before a process starts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mulligan.training.device import PINS, container_limit, own_cores


def shares(number: int) -> list[list[int]]:
    """This process's cores dealt out to so many others; where there are too few, some share one.

    Example:
      >>> cores = own_cores()
      >>> sorted(core for share in shares(len(cores)) for core in share) == cores
      True
    """
    own = own_cores()
    return [own[index::number] or [own[index % len(own)]] for index in range(number)]


def threads_on(cores: Sequence[int]) -> int:
    """How many threads keep these of the process's cores busy: one each, fewer where a container has a smaller share.

    Example:
      >>> threads_on(own_cores()) <= len(own_cores())
      True
    """
    own = len(own_cores())
    return max(len(cores) * math.ceil(min(container_limit("cpu"), own)) // own, 1)


@contextmanager
def started_on(cores: Sequence[int]) -> Iterator[None]:
    """Processes that this thread starts while it is entered may use these cores alone."""
    before = os.sched_getaffinity(0) if PINS else set()
    if PINS:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        if PINS:
            os.sched_setaffinity(0, before)


def move(process: int, cores: Sequence[int]) -> None:
    """Moves a process that was started on as many cores to these, with all its threads."""
    threads: list[Path] = []
    with suppress(OSError):  # it has ended, or the system does not list them
        threads += Path(f"/proc/{process}/task").iterdir()
    for thread in threads if PINS else ():
        with suppress(OSError):  # it has ended; the others have not
            os.sched_setaffinity(int(thread.name), cores)


def settle(cores: int) -> None:
    """Makes JAX use so many threads in this process, where it has not called the device yet."""
    os.environ["NPROC"] = str(cores)
