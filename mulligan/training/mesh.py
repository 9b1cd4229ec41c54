"""Several devices as one mesh of two axes: batches are shared out along `data`, populations along `member`.

A run's state and its images lie on every device whole. A batch is dealt out: each device draws, augments and judges its
own share of the real images and of the fakes, and the compiler adds the gradients up. So a step is the same function of
the same numbers on any number of devices, but for the order in which floats are added.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mulligan.errors import MulliganError
from mulligan.game.step import Game
from mulligan.types import Pytree

DATA, MEMBER = "data", "member"  # axes of a mesh
VARIABLE = "MULLIGAN_DEVICES"
# Pixels of real images in a step, for each device: with fewer, a step waits for its operations to be started, and not
# for their results, so that more devices make it no shorter. Reckoned, not measured: four devices at 64x64, batch 64.
LEAST_PIXELS = 2**16


def data_mesh(batch: int, shape: tuple[int, int, int]) -> Mesh | None:
    """The devices that share each batch of a run; None where one device trains alone, as it always does on a CPU.

    As many as divide the batch and have enough to do; `MULLIGAN_DEVICES` says how many instead, on a CPU as well, where
    the batch divides by it, or else as many below it as divide the batch.

    Args:
      batch: real images a discriminator step.
      shape: `(h, w, c)` of the images.

    Raises:
      MulliganError: `MULLIGAN_DEVICES` is no number of devices that this machine has.
    """
    most = max(batch * math.prod(shape[:2]) // LEAST_PIXELS, 1)
    return _mesh(DATA, batch, most)


def member_mesh(members: int) -> Mesh | None:
    """The devices that share the members of a population; None where one device trains all, as it always does on a CPU.

    Args:
      members: which as many devices as divide them share; `MULLIGAN_DEVICES` as in `data_mesh`.

    Raises:
      MulliganError: `MULLIGAN_DEVICES` is no number of devices that this machine has.
    """
    return _mesh(MEMBER, members, members)


def _mesh(axis: str, whole: int, most: int) -> Mesh | None:
    """As many devices as share `whole` things along an axis: at most `most`, unless the user said otherwise."""
    here, asked = jax.local_device_count(), os.environ.get(VARIABLE)
    if asked:
        if not asked.isdecimal() or not 1 <= int(asked) <= here:
            raise MulliganError(f"{VARIABLE} is {asked!r}: this machine has {here}, so give a number from 1 to {here}.")
        most = int(asked)
    elif jax.default_backend() == "cpu":  # two of them made no recipe faster that is proposed: docs/log/README.md
        return None
    number = max(number for number in range(1, min(most, here) + 1) if whole % number == 0)
    sides = (number, 1) if axis == DATA else (1, number)
    return Mesh(np.array(jax.local_devices()[:number]).reshape(sides), (DATA, MEMBER)) if number > 1 else None


def on_mesh(game: Game, mesh: Mesh | None) -> Game:
    """The game whose batches the devices of a mesh share; as it is where there is none."""
    return game if mesh is None else replace(game, mesh=mesh, share=_dealer(mesh))


@lru_cache  # one function for one mesh: compiled programs are kept by it
def _dealer(mesh: Mesh) -> Callable[[Pytree, int], Pytree]:
    def share(arrays: Pytree, axis: int) -> Pytree:
        shares = NamedSharding(mesh, PartitionSpec(*[None] * axis, DATA))
        return jax.lax.with_sharding_constraint(arrays, jax.tree.map(lambda _: shares, arrays))

    return share


def replicated(tree: Pytree, mesh: Mesh | None) -> Pytree:
    """The arrays on every device of the mesh, whole; as they are where there is no mesh."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
