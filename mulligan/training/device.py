"""Compiled programs onto the disk, and what machine this is."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

import jax

from mulligan.places import cache_folder

PINS = hasattr(os, "sched_setaffinity")  # macOS and Windows do not tell a program its cores
CGROUP = Path("/sys/fs/cgroup")  # of version 2; a container sees its own limits there


def own_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if PINS else list(range(os.cpu_count() or 1))


def cache_programs() -> None:
    """Keeps compiled programs on disk between processes, in the user's cache folder (or `MULLIGAN_CACHE`).

    Each number of threads has a folder of its own: XLA divides loops among them, and the key under which JAX keeps a
    program does not tell. One that was compiled for a single core would be slow on two.
    """
    cache = cache_folder()
    if cache is None:
        return
    asked = os.environ.get("NPROC", "")
    folder = cache / "programs" / f"{asked if asked.isdecimal() else len(own_cores())}-cores"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # training does not depend on the cache
        return
    if not os.access(folder, os.W_OK):
        return
    # Whoever has chosen a folder for JAX's programs keeps it.
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def machine() -> dict[str, Any]:
    """What this runs on, for the run folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else platform.machine()
    except (OSError, UnicodeDecodeError):  # not Linux
        processor = platform.processor() or platform.machine()
    try:
        memory_gib = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no such function, other systems not these names
        memory_gib = None
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": memory_gib,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def memory_bytes() -> float:
    """Memory of the device that trains; of the machine or container where it does not say, infinite where nobody does.

    Returns:
      Bytes.
    """
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return float(limit or min((machine()["memory_gib"] or math.inf) * 2**30, container_limit("memory")))


def container_limit(resource: str) -> float:
    """What a container may use of `cpu`, in cores, or of `memory`, in bytes; infinite where nobody says."""
    try:
        # `max`, or a number; of time two of them, used in every so many.
        used, *every = (CGROUP / f"{resource}.max").read_text().split()
        return float(used) / float(every[0] if every else 1)
    except (OSError, ValueError):
        return math.inf


def device_name() -> str:
    """What a program runs on, in a word or two."""
    kind = jax.devices()[0].device_kind
    return f"{kind}, {len(own_cores())} cores" if jax.default_backend() == "cpu" else kind
