"""A cluster of Ray's, on which `learn` tries recipes and a race trains them."""

from __future__ import annotations

import signal
import threading
from typing import Any

from mulligan.errors import MulliganError, UsageError, optional_import

RAY, ELSEWHERE = "ray", "ray://"


def cluster_named(workers: str) -> str:
    """The cluster that people name: `ray` for one known to this machine, or else of its own; or `ray://HOST:PORT`.

    Raises:
      UsageError: no cluster is named so.

    Example:
      >>> cluster_named("ray://head:10001")
      'ray://head:10001'
    """
    if workers != RAY and not workers.startswith(ELSEWHERE):
        raise UsageError(f"invalid workers {workers!r}: for a cluster say ray, or ray://HOST:PORT.")
    return workers


def join(cluster: str) -> Any:
    """Ray, connected to a cluster, as `cluster_named` takes it.

    Raises:
      MulliganError: Ray is not installed, or no cluster answers.
    """
    before = signal.getsignal(signal.SIGTERM)
    with optional_import("Ray", "a cluster of workers", "ray"):
        import ray  # pyright: ignore[reportMissingImports]
    address = None if cluster == RAY else cluster
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise MulliganError(f"no Ray cluster answers at {address}: {error}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray would end the program, which is to save first
    return ray
