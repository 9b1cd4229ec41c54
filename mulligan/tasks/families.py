"""Families of tasks as people name them: `SOURCE`, or `SOURCE@labels` for each class as a task of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mulligan.errors import UsageError
from mulligan.tasks.arrays import collect
from mulligan.tasks.builtin import BUILTIN
from mulligan.tasks.framing import Request
from mulligan.tasks.images import read_task, resized
from mulligan.tasks.task import Family, Task, by_class, make_task

LABELS = "labels"
FEWEST = 50  # training images below which a class is no task of its own


class FamilySpec(NamedTuple):
    """What was asked for: a source, the array whose values are the tasks, and the names of those wanted."""

    source: str
    array: str | None
    wanted: tuple[str, ...]


def parse_source(text: str) -> FamilySpec:
    """Takes `SOURCE`, `SOURCE@ARRAY` or `SOURCE@ARRAY=NAME,NAME` apart; a path that exists is a source as it is.

    Example:
      >>> parse_source("glyphs@labels=A,B")
      FamilySpec(source='glyphs', array='labels', wanted=('A', 'B'))
    """
    source, at, rest = text.rpartition("@")
    if not at or os.path.exists(text):
        return FamilySpec(text, None, ())
    array, _, names = rest.partition("=")
    return FamilySpec(source, array or LABELS, tuple(name for name in names.split(",") if name))


def read_family(text: str, *, size: int | None = None, least: int = FEWEST, groups: str | None = None) -> Family:
    """The tasks that `text` names.

    `SOURCE` is one task, as `read_task` reads it. `SOURCE@labels` is a task for each class: a folder's subfolders, an
    array's labels, a built-in family's members. `FILE.npz@ARRAY` groups by any other array of integers, named by its
    `ARRAY_names` where there are any, and leaves the file's own split aside. `=NAME,NAME` takes some of them only.

    Classes with fewer than `least` training images are left out. `groups` is what a split keeps together, as of
    `read_task`.

    Raises:
      UsageError: nothing of that name.
      MulliganError: the source cannot be read.

    Example:
      >>> [task.name for task in read_family("glyphs@labels=A,B").tasks]
      ['glyphs/A', 'glyphs/B']
    """
    asked = parse_source(text)
    if asked.array is None:
        task = read_task(asked.source, size=size, groups=groups)
        return Family(task.name.partition("/")[0], (task,))
    if asked.source in BUILTIN and asked.array == LABELS and not os.path.exists(asked.source):
        # Each member drawn by itself, which some families do oftener than as one class of many.
        members = [member for member in BUILTIN[asked.source].members if not asked.wanted or member in asked.wanted]
        tasks = [read_task(f"{asked.source}/{member}", size=size) for member in members]
    elif asked.array == LABELS:
        tasks = by_class(read_task(asked.source, size=size, labels=True, groups=groups)).tasks
    else:
        tasks = by_class(_grouped(Path(asked.source), str(asked.array), size)).tasks
    names = {task.name.partition("/")[2]: task for task in tasks}
    missing = [name for name in asked.wanted if name not in names]
    if missing:
        raise UsageError(f"{asked.source} has no class {missing[0]!r}; it has {', '.join(names)}.")
    chosen = tuple(names[name] for name in asked.wanted or names)
    large = tuple(task for task in chosen if len(task.train) >= least)
    if not large:
        raise UsageError(f"no class of {text} has {least} training images: take {asked.source} as one task.")
    return Family(large[0].name.partition("/")[0], large)


def _grouped(path: Path, array: str, size: int | None) -> Task:
    """The images of an `.npz`, labelled by one of its arrays."""
    if path.suffix != ".npz" or not path.is_file():
        raise UsageError(f"only an .npz file can be grouped by an array, and {path} is none: say {path}@labels.")
    with np.load(path, allow_pickle=False) as arrays:
        if array not in arrays.files or "images" not in arrays.files:
            raise UsageError(f"{path} has no array {array!r} beside its images; it holds {', '.join(arrays.files)}.")
        names = arrays.get(f"{array}_names")
        named = None if names is None else tuple(map(str, names))
        collection = collect(arrays["images"], arrays[array].astype(np.int64), classes=named)
    return make_task(path.stem, resized(collection, Request(size, None)), labels=True)
