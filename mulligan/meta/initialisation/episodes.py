"""Episodes: a few images of one task to learn from, and others of it to be judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.task import Task
from mulligan.types import Key

MAX_IMAGES = 64  # images of a task in the pool
POSES = 8  # of a square image: quarter turns of it and of its mirror image


class Episode(NamedTuple):
    """Two sets of images of one task that share none."""

    support: UInt8[Array, "k h w c"]
    query: UInt8[Array, "q h w c"]


class EpisodeSpec(NamedTuple):
    """How an episode is dealt: so many images of each set, and whether a task is first turned and mirrored."""

    support: int
    query: int
    dihedral: bool


def image_pool(tasks: Sequence[Task], least: int) -> UInt8[np.ndarray, "t n h w c"]:
    """The training images of all tasks, as many of each as the smallest that has `least` holds; `MAX_IMAGES` at most.

    Raises:
      MulliganError: fewer than two such tasks, or images of several shapes.
    """
    large = [task for task in tasks if len(task.train) >= least]
    if len(large) < 2:
        raise MulliganError(
            f"initial weights are learned across tasks, and {len(large)} of {len(tasks)} has {least} images: "
            "give a source with classes, as SOURCE@labels."
        )
    shapes = {task.shape for task in large}
    if len(shapes) > 1:
        raise MulliganError(
            f"images have {len(shapes)} shapes, such as {', '.join(map(str, sorted(shapes)[:2]))}: use `size`."
        )
    number = min(MAX_IMAGES, *(len(task.train) for task in large))
    return np.stack([task.train.sample(number, seed=0) for task in large])


def sample_episode(how: EpisodeSpec, pool: UInt8[Array, "t n h w c"], key: Key) -> Episode:
    """An episode of a task drawn at random."""
    task_key, order_key, turn_key = jax.random.split(key, 3)
    images = pool[jax.random.randint(task_key, (), 0, pool.shape[0])]
    order = jax.random.permutation(order_key, images.shape[0])[: how.support + how.query]
    chosen = images[order]
    if how.dihedral:
        chosen = apply_pose(chosen, jax.random.randint(turn_key, (), 0, POSES))
    return Episode(chosen[: how.support], chosen[how.support :])


def apply_pose(images: UInt8[Array, "n h w c"], pose: Any) -> UInt8[Array, "n h w c"]:
    """Square images in one of `POSES`, a traced number: turned by so many quarters, and from 4 on mirrored before."""
    poses = [lambda x, k=k: jnp.rot90(x if k < 4 else x[:, :, ::-1], k, axes=(1, 2)) for k in range(POSES)]
    return jax.lax.switch(pose, poses, images)
