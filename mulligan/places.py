"""Folders of the user's own; a user without a home has none."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """For what can be made again: `MULLIGAN_CACHE`, or the system's place for it; None where there is none."""
    from platformdirs import user_cache_path

    if given := os.environ.get("MULLIGAN_CACHE"):
        return Path(given)
    try:
        return user_cache_path("mulligan")
    except RuntimeError:  # neither HOME nor an entry in passwd
        return None


def data_folder() -> Path | None:
    """For what is kept; None where there is no place for it."""
    from platformdirs import user_data_path

    try:
        return user_data_path("mulligan")
    except RuntimeError:
        return None
