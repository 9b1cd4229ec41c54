"""Images onto the device, compiled programs onto the disk, and what machine this is."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.game.state import Data
from mulligan.tasks.task import Split

BUFFER = 8192  # images on the device at a time when they do not all fit in memory
READ = 256  # images a read


def cache_programs() -> None:
    """Keeps compiled programs on disk between processes, in the user's cache folder (or `MULLIGAN_CACHE`)."""
    from platformdirs import user_cache_path

    folder = Path(os.environ.get("MULLIGAN_CACHE") or user_cache_path("mulligan")) / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # training does not depend on the cache
        return
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


class Feed:
    """The training images of a run, as the data of its chunks.

    Images in memory lie on the device whole, as bytes. Streamed ones come as a new buffer for each chunk, a function of
    the seed and the number of buffers drawn before, so that a run can resume.
    """

    def __init__(self, split: Split, labelled: bool, seed: int, drawn: int):
        self.streams = not split.in_memory
        self.drawn = drawn
        self._labelled = labelled
        if self.streams:
            self._batches: Iterator[Any] = iter(split.batches(seed, drawn * BUFFER, READ))
            self._data = None
        else:
            assert isinstance(split.images, np.ndarray)
            self._data = self._device(split.images, split.labels)

    def data(self) -> Data:
        """What the next chunk draws its batches from."""
        if self._data is not None:
            return self._data
        batches = [next(self._batches) for _ in range(BUFFER // READ)]
        self.drawn += 1
        labels = [batch.labels for batch in batches if batch.labels is not None]
        return self._device(
            np.concatenate([batch.images for batch in batches]), np.concatenate(labels) if labels else None
        )

    def shapes(self) -> Data:
        """Data of the same shapes, for compiling."""
        return self._data if self._data is not None else self.data()

    def _device(self, images: np.ndarray, labels: np.ndarray | None) -> Data:
        return Data(jnp.asarray(images), jnp.asarray(labels) if self._labelled else None)


def machine() -> dict[str, Any]:
    """What this runs on, for the run folder."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def memory_bytes() -> float:
    """Memory of the device that trains; of the machine where the device does not say, infinite where nobody does."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return float(limit or (machine()["memory_gib"] or math.inf) * 2**30)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def device_name() -> str:
    """What a program runs on, in a word or two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = jax.devices()[0].device_kind
    return f"{kind}, {cores} cores" if jax.default_backend() == "cpu" else kind
