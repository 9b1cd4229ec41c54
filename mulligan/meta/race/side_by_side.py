"""Arms that train at the same time, each in a process of its own on its share of the cores.

Two programs of one core each make more steps than one program of two (docs/race.md).
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import jax

from mulligan.errors import MulliganError, Terminated
from mulligan.events import ChunkTrained
from mulligan.files import make_folder
from mulligan.interrupt import Interrupt
from mulligan.meta.race.arm_run import ArmSpec, Slice, SliceResult
from mulligan.meta.race.shared_task import SharedTask, is_shareable, share_task
from mulligan.meta.space.cost import Footprint
from mulligan.tasks.task import Task
from mulligan.training.cores import move, shares, started_on, threads_on
from mulligan.training.device import memory_bytes, own_cores

SHARED = ".race"  # folder in the run's: pixels that the processes map, and their locks
PROCESS_BYTES = 0.6 * 2**30  # of memory that a process takes besides what it trains
MEMORY_SHARE = 0.5  # of the memory, at most, that the processes take together
KILLS = 5  # of an arm's processes with nothing trained in between: then it is given up


def lanes(task: Task, footprints: Sequence[Footprint]) -> int:
    """How many arms train at a time: one for each core, where there are so many arms; 1 on an accelerator.

    Also where memory would not hold a process for each arm, or where another process could not read the images.
    """
    wanted = min(threads_on(own_cores()), len(footprints))
    needed = sum(PROCESS_BYTES + footprint.bytes for footprint in footprints)
    fits = os.name == "posix" and jax.default_backend() == "cpu" and needed <= MEMORY_SHARE * memory_bytes()
    return wanted if wanted > 1 and fits and is_shareable(task) else 1


class ArmProcesses:
    """The processes of a race's arms. Each is started for its arm's first slice, and lives until the arm has ended.

    Args:
      lanes: slices that train at a time, at most.
      hear: is told of every event of an arm's run, with the arm's number.
    """

    def __init__(self, specs: Sequence[ArmSpec], task: Task, lanes: int, hear: Callable[[int, dict[str, Any]], None]):
        self.specs, self.task, self.hear = specs, task, hear
        self.lanes = shares(lanes)
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self._told: dict[int, Connection] = {}  # by which each process is told what to do
        self._folder = specs[0].run / SHARED
        self._shared: SharedTask | None = None
        self._heard: queue.Queue[tuple[int, subprocess.Popen[bytes], Any]] = queue.Queue()

    def train(self, slices: Mapping[int, Slice]) -> dict[int, SliceResult]:
        """Trains slices of different arms at the same time.

        A process that is killed is replaced, and its slice goes on from the arm's newest checkpoint.

        Raises:
          Terminated: Ctrl-C, SIGTERM or SIGHUP; every arm is saved.
          MulliganError: the images cannot be written where the processes read them, or another process trains an arm.
        """
        results: dict[int, SliceResult] = {}
        killed = Counter[int]()  # processes, since the arm's last chunk
        with (interrupt := Interrupt()):
            for (number, given), cores in zip(slices.items(), self.lanes, strict=False):
                self._ask(number, given, cores)
            while interrupt.came is None and len(results) < len(slices):
                with suppress(queue.Empty):
                    number, process, message = self._heard.get(timeout=0.2)
                    if process is not self.running.get(number):  # it has been replaced
                        continue
                    if isinstance(message, SliceResult):
                        results[number] = message
                    elif isinstance(message, MulliganError):
                        raise message
                    elif message is not None:
                        killed[number] *= message["kind"] != ChunkTrained.kind
                        self.hear(number, message)
                    else:
                        self._bury(number)
                        killed[number] += 1
                    if number not in slices or number in results or number in self.running:
                        continue
                    if killed[number] >= KILLS:
                        results[number] = SliceResult(None, f"its process was killed {KILLS} times: is memory short?")
                    else:
                        self._ask(number, slices[number], self.lanes[list(slices).index(number)])
            if interrupt.came is not None:  # also where it came with the last result
                self._save(set(slices) - set(results))
                raise Terminated(interrupt.came)
        for number in [number for number, result in results.items() if result.ended and number in self.running]:
            self._end(self.running.pop(number))
        return results

    def close(self) -> None:
        """Ends all processes: between slices everything is saved."""
        while self.running:
            self._end(self.running.popitem()[1])
        self._told.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, number: int, given: Slice, cores: Sequence[int]) -> None:
        """Has an arm train a slice on these cores, in its process or a new one."""
        process = self.running.get(number)
        if process is not None:
            move(process.pid, cores)
            with suppress(OSError):  # it was killed, as whoever listens to it will hear
                self._told[number].send(given)
        else:
            make_folder(self._folder)
            self._shared = self._shared or share_task(self.task, self._folder)
            started = time.monotonic()  # the clock is the machine's, and the arm's own counts what is imported
            ours, theirs = Pipe()
            # `-P`: nothing that lies about where the run was started is imported.
            command = [sys.executable, "-P", "-m", "mulligan.meta.race.arm_process"]
            command += [str(theirs.fileno()), str(threads_on(cores))]
            path = os.pathsep.join(each for each in sys.path if each)
            environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
            nothing = subprocess.DEVNULL
            # In a group of its own, so that Ctrl-C reaches this process alone, which tells the others.
            with started_on(cores):
                process = subprocess.Popen(
                    command, stdin=nothing, stdout=nothing, env=environment, pass_fds=[theirs.fileno()], process_group=0
                )
            theirs.close()
            self.running[number], self._told[number] = process, ours
            what = self.specs[number], self._shared, self._folder / f"{number:02d}.lock", started
            first = [ForkingPickler.dumps(message) for message in (what, given)]
            threading.Thread(target=self._listen, args=(number, process, ours, first), daemon=True).start()

    def _listen(self, number: int, process: subprocess.Popen[bytes], told: Connection, first: Sequence[Any]) -> None:
        """Tells a new process what to do, and passes on what it tells, and None when it has ended.

        A large task waits in `told` until the process has imported what reads it: here, where no other waits with it.
        """
        try:
            for message in first:
                told.send_bytes(message)
            while True:
                self._heard.put((number, process, told.recv()))
        except Exception:  # the end, or a message that was cut off
            self._heard.put((number, process, None))

    def _bury(self, number: int) -> None:
        """Takes away a process that was killed.

        Raises:
          RuntimeError: it was not, but ended by an error of its own.
        """
        if self.running.pop(number).wait() > 0:
            raise RuntimeError(f"the process of recipe {number + 1} ended by an error, told above")

    def _save(self, busy: set[int]) -> None:
        """Asks the processes that train to save and to end, and waits until all is saved."""
        waiting = {number: process for number, process in self.running.items() if number in busy}
        for process in waiting.values():
            process.terminate()
        while waiting:
            number, process, message = self._heard.get()
            if isinstance(message, dict):
                self.hear(number, message)
            elif process is waiting.get(number):  # it has ended, or its slice had: saved either way
                del waiting[number]

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
