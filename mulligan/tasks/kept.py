"""Images that were given in Python, kept in a file so that a run can go on with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection

KEPT = "data.npz"
GROUPS = "groups"  # the array of them


def keep(path: Path, collection: Collection) -> None:
    """Writes a collection as an `.npz` that `read_task` reads, whole or not at all, without a second copy in memory.

    Raises:
      MulliganError: its images stream, or the file cannot be written.
    """
    if not isinstance(collection.images, np.ndarray):
        raise MulliganError("images that stream are not copied into a run: give them as a file, with the labels in it.")
    arrays = {
        "images": collection.images,
        "labels": collection.labels,
        "split": collection.split,
        "label_names": None if collection.classes is None else np.array(collection.classes),
        GROUPS: collection.groups,
    }
    # Written beside and put in place when it is whole: a process may be killed at any time.
    unfinished = path.with_name(f".{path.name}")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error
