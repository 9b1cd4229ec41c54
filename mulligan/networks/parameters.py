"""A network's parameters by name: what is written to disk and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mulligan.errors import MulliganError
from mulligan.types import Pytree


def named_parameters(module: Pytree) -> dict[str, Array]:
    """Every array of a network (or of any pytree) by its path, in the order of its leaves.

    Example:
      >>> named_parameters({"gen": [jnp.zeros(2), jnp.ones(3)]})
      {'gen.0': Array([0., 0.], dtype=float32), 'gen.1': Array([1., 1., 1.], dtype=float32)}
    """
    return _by_path(module)


def _by_path(module: Pytree) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(module)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def with_parameters(module: Pytree, parameters: Mapping[str, Array | np.ndarray]) -> Pytree:
    """The same network with other parameters, named as by `named_parameters`; NumPy's arrays will do.

    Args:
      module: whose leaves are arrays, or their shapes and types.

    Raises:
      MulliganError: a name is missing or unknown, or an array has another shape or dtype.
    """
    own = _by_path(module)
    problems = [f"{name} is missing" for name in own if name not in parameters]
    problems += [f"{name} is not in this network" for name in parameters if name not in own]
    for name, leaf in own.items():
        given = parameters.get(name)
        if given is not None and (tuple(given.shape), given.dtype) != (leaf.shape, leaf.dtype):
            problems.append(f"{name} is {given.dtype}{list(given.shape)}, not {leaf.dtype}{list(leaf.shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise MulliganError(
            f"these weights are of another network: {', '.join(problems[:3])}{more}; "
            "use the recipe and the image shape that they were trained with."
        )
    # In the order of the network's own leaves, whatever the mapping's.
    return jax.tree.unflatten(jax.tree.structure(module), [jnp.asarray(parameters[name]) for name in own])
