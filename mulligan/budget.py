"""Budgets as people write them: `"1h30m"` of time, `"2M"` images."""

from __future__ import annotations

import re

from mulligan.errors import UsageError

NUMBER = r"(\d{1,12}(?:\.\d*)?|\.\d+)"
UNIT_SECONDS = (3600.0, 60.0, 1.0)
UNIT_IMAGES = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_seconds(time: str | float) -> float:
    """Seconds, > 0, of a time such as `"90s"`, `"10m"`, `"1h30m"` or `"1.5h"`; a bare number is seconds.

    Raises:
      UsageError: not a time, or none left to train in.

    Example:
      >>> parse_seconds("1h30m")
      5400.0
    """
    text = str(time).strip().lower()
    match = re.fullmatch(rf"(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s?)?", text)
    if not text or not match:
        raise UsageError(f"cannot read {str(time)!r} as a time: write it as 90s, 10m, 2h or 1h30m.")
    seconds = sum(float(part) * unit for part, unit in zip(match.groups(), UNIT_SECONDS, strict=True) if part)
    if seconds <= 0:
        raise UsageError(f"the time budget must be positive, not {str(time)!r}: try 10m.")
    return seconds


def parse_images(images: str | float) -> int:
    """Number of images, >= 1, of a count such as `"2M"`, `"500k"` or `"60000"`.

    Raises:
      UsageError: not a count, or less than one image.

    Example:
      >>> parse_images("1.5M")
      1500000
    """
    match = re.fullmatch(rf"{NUMBER}([km]?)", str(images).strip().lower())
    if not match:
        raise UsageError(f"cannot read {str(images)!r} as a number of images: write it as 60000, 500k or 2M.")
    # Through a float: 1.5M are a whole number of images.
    count = int(float(match[1]) * UNIT_IMAGES[match[2]])
    if count < 1:
        raise UsageError(f"the budget must be at least one image, not {str(images)!r}: try 500k.")
    return count
