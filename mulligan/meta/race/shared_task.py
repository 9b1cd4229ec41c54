"""A task for several processes of one machine: its pixels lie in files that each maps, once in memory for all."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np

from mulligan.errors import MulliganError
from mulligan.files import make_folder, reserve
from mulligan.tasks.collection import Collection
from mulligan.tasks.task import Split, Task

PARTS = ("train", "validation", "test")
ROWS = 4096  # images copied at a time


@dataclass(frozen=True)
class SharedTask:
    """What another process needs for the task; small enough to be sent to it.

    Attributes:
      task: without images, where they lie in `files`.
      files: part to an `.npy` of its images, in the part's order.
    """

    task: Task
    files: dict[str, Path]

    def opened(self) -> Task:
        """The task, with images that are read where they lie."""
        mapped = {part: np.load(path, mmap_mode="r").view(np.ndarray) for part, path in self.files.items()}
        parts = {part: Split(images, getattr(self.task, part).labels) for part, images in mapped.items()}
        whole = mapped.get("train", self.task.train.whole)
        return replace(self.task, **parts, collection=Collection(whole))


def share_task(task: Task, folder: Path) -> SharedTask:
    """Writes the pixels of a task in memory into `folder`; those that stream are read by each process for itself.

    Raises:
      MulliganError: the folder cannot be written, or a streamed source cannot be opened by another process.
    """
    files: dict[str, Path] = {}
    for name in PARTS if task.train.in_memory else ():
        part: Split = getattr(task, name)
        path = make_folder(folder) / f"{name}.npy"
        try:
            # A new file in the place of an old one: whoever has mapped that keeps it.
            handle, unfinished = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "rb+"):
                images = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(part), *part.whole.shape[1:]))
                reserve(handle, os.path.getsize(unfinished))
            for start in range(0, len(part), ROWS):
                images[start : start + ROWS] = part.take(np.arange(start, min(start + ROWS, len(part)))).images
            images.flush()
            os.replace(unfinished, path)
        except OSError as error:
            raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error
        files[name] = path
    empty = np.zeros((0, *task.shape), np.uint8)
    parts = {name: Split(empty, getattr(task, name).labels) for name in files}
    if not files:  # no more of the source than these parts
        parts = {name: Split(getattr(task, name).images, getattr(task, name).labels) for name in PARTS}
    return SharedTask(replace(task, **parts, collection=Collection(empty)), files)


def is_shareable(task: Task) -> bool:
    """Whether other processes can have the task: its pixels in memory, or where they are read again."""
    if task.train.in_memory:
        return True
    try:
        ForkingPickler.dumps(task.train)
    except Exception:  # of as many kinds as there are things that cannot be sent
        return False
    return True
