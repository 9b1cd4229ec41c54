"""A population: many states of one game as the members of one program, which trains them all at once.

It is meant for accelerators, where one small GAN keeps busy what fifty could share. Members differ by what is traced:
their hyperparameters, schedules and seeds, and their images where each has its own. They do not see each other, and
several devices share them without a word between them (`training.mesh`). On a CPU members one after the other are as
fast, or faster.

A member that has stopped is replaced by another state (`with_member`) without compiling anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mulligan.game.step import Data, Game, GanState
from mulligan.networks.convolution import lowered
from mulligan.training.engine import Engine, chunk
from mulligan.training.mesh import MEMBER
from mulligan.types import Pytree


def stacked(trees: Sequence[Pytree]) -> Pytree:
    """One tree whose leaves have a row for each of these trees, all of one structure.

    Example:
      >>> stacked([{"rate": jnp.float32(1)}, {"rate": jnp.float32(2)}])["rate"].tolist()
      [1.0, 2.0]
    """
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@jax.jit
def member(members: Pytree, index: Any) -> Pytree:
    """One of those that were stacked."""
    return jax.tree.map(lambda leaf: leaf[index], members)


@jax.jit
def with_member(members: Pytree, index: Any, one: Pytree) -> Pytree:
    """The members with another in the place of one of them."""
    return jax.tree.map(lambda leaf, new: leaf.at[index].set(new), members, one)


def compile_population(
    game: Game, states: GanState, data: Data, mesh: Mesh | None = None, own_images: bool = False
) -> Engine:
    """A compiled chunk of training for all members; what it tells has a row for each of them.

    Args:
      game: the static choices, which all members share.
      states: stacked; their shapes and types count.
      data: arrays or their shapes, from which all draw, each its own batches.
      mesh: devices that share the members, which they divide; None for one device.
      own_images: whether the data are stacked as well, each member's for itself.

    Returns:
      The engine. Its `flops_per_step` are one member's.

    Raises:
      JaxRuntimeError: the device has no memory for it.
    """
    started = time.monotonic()
    of_member = NamedSharding(mesh, PartitionSpec(MEMBER)) if mesh else None
    of_data = NamedSharding(mesh, PartitionSpec(MEMBER) if own_images else PartitionSpec()) if mesh else None

    def shaped(tree: Pytree, sharding: NamedSharding | None) -> Pytree:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    everyone = jax.vmap(partial(chunk, game), in_axes=(0, 0 if own_images else None, None))
    program = jax.jit(everyone, donate_argnums=0, out_shardings=of_member)
    with lowered("matmul"):  # kernels of many members are no convolution that a GPU is fast at
        compiled = program.lower(shaped(states, of_member), shaped(data, of_data), jnp.int32(1)).compile()

    def train_all(states: GanState, data: Data, steps: int) -> Any:
        if mesh is not None:
            states, data = jax.device_put((states, data), (of_member, of_data))
        return compiled(states, data, jnp.int32(steps))

    members = len(states.nimg)
    cost: Any = compiled.cost_analysis() or {}
    flops = float(cost.get("flops", 0.0)) * (mesh.size if mesh else 1) / members
    return Engine(game=game, chunk=train_all, flops_per_step=flops, compile_seconds=time.monotonic() - started)
