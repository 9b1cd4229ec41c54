"""Tasks that need no download: what mulligan's own dependencies carry, and what it draws itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mulligan.errors import UsageError
from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.glyphs import CHARACTERS, glyphs
from mulligan.tasks.task import Family, Task, make_task
from mulligan.tasks.textures import REGIONS, textures

DIGITS = tuple("0123456789")


class Builtin(NamedTuple):
    """A built-in family: names of its members, and `draw(member)`, where None is all of them as classes."""

    members: tuple[str, ...]
    draw: Callable[[str | None], Collection]


def digits(member: str | None = None) -> Collection:
    """scikit-learn's 1,797 handwritten digits, light on dark, 8x8 (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    levels, digit = load_digits(return_X_y=True)
    # Ink is counted in 17 levels, 0 to 16.
    images = np.round(levels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    chosen = digit >= 0 if member is None else digit == int(member)
    labels, classes = number_classes(digit[chosen], int(chosen.sum()))
    return Collection(images[chosen], labels, classes=classes)


BUILTIN: dict[str, Builtin] = {
    "digits": Builtin(DIGITS, digits),
    "glyphs": Builtin(CHARACTERS, glyphs),
    "textures": Builtin(tuple(REGIONS), textures),
}


def names() -> list[str]:
    """Every name that `read_task` knows: the families, and their members as `glyphs/A`."""
    return [
        *BUILTIN,
        *(f"{family}/{member}" for family, known in BUILTIN.items() for member in known.members),
    ]


def family(name: str, *, seed: int = 0) -> Family:
    """The built-in family of that name, one task a member.

    Raises:
      UsageError: there is none.
    """
    if name not in BUILTIN:
        raise UsageError(f"there is no built-in family {name!r}; there are {', '.join(BUILTIN)}.")
    members = BUILTIN[name].members
    return Family(name, tuple(builtin_task(name, member, seed=seed) for member in members))


def families(*, seed: int = 0) -> Iterator[Family]:
    """Every built-in family, drawn one after the other."""
    return (family(name, seed=seed) for name in BUILTIN)


def builtin_task(name: str, member: str | None = None, *, seed: int = 0) -> Task:
    """One task of a built-in family, at its own size.

    Raises:
      KeyError: no such family.
    """
    collection = BUILTIN[name].draw(member)
    return make_task(name if member is None else f"{name}/{member}", collection, seed=seed)
