"""The older data sets, and which of them hold near copies that a split must keep together."""

from pathlib import Path

from mulligan.tasks.near_copies import NEAR

TASKS = ("fashion_mnist", "mnist", "emoji_noto", "cifar10", "omniglot")
NEAR_COPIES = ("emoji",)  # skin tones and genders of one drawing


def groups_of(source: str | Path) -> str | None:
    """What `read_task` and `fit` take as `groups` for a data set of this name or path.

    Example:
      >>> groups_of("data/emoji_noto.npz@labels=Flags"), groups_of("mnist.npz")
      ('near', None)
    """
    return NEAR if any(name in str(source).rpartition("/")[2] for name in NEAR_COPIES) else None
