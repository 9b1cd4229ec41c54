"""Checkpoints: one safetensors file each, whole or absent, with its own checksum and the loop's progress inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save

from mulligan.errors import MulliganError
from mulligan.files import replace_file
from mulligan.networks.parameters import named_parameters, with_parameters
from mulligan.types import Pytree

KEPT = 2  # newest checkpoints, besides the good one


class Checkpoint(NamedTuple):
    """What was read: arrays by name and the JSON value that was saved with them."""

    arrays: dict[str, np.ndarray]
    progress: dict[str, Any]


def write(path: Path, arrays: dict[str, Any], progress: dict[str, Any]) -> None:
    """Writes arrays and progress as one file that appears whole or not at all.

    Raises:
      OSError: no space, or no permission; what was there before is left as it was.
    """
    # On the host first: the digest and the file both read every byte.
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    document = json.dumps(progress, sort_keys=True)
    metadata = {"progress": document, "sha256": _digest(arrays, document)}
    replace_file(path, save(arrays, metadata))


def read(path: Path) -> Checkpoint:
    """Reads what `write` wrote.

    Raises:
      MulliganError: missing, torn or altered.
    """
    try:
        arrays = load_file(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        if metadata["sha256"] != _digest(arrays, metadata["progress"]):
            raise ValueError("its checksum does not match")
        return Checkpoint(arrays, json.loads(metadata["progress"]))
    except Exception as error:  # safetensors raises its own kind, which is not exported
        raise MulliganError(f"the checkpoint {path.name} cannot be used: {error}.") from error


def _digest(arrays: dict[str, np.ndarray], document: str) -> str:
    digest = hashlib.sha256(document.encode())
    for name in sorted(arrays):  # a file keeps no order
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each that had to be passed over."""
    lost: list[str] = []
    for path in sorted(folder.glob("*.safetensors"), reverse=True):
        try:
            return read(path), lost
        except MulliganError as error:
            lost.append(str(error))
    return None, lost


def path_of(folder: Path, sequence: int) -> Path:
    """Where checkpoint number `sequence` of a run lies."""
    return folder / f"{sequence:08d}.safetensors"


def prune(folder: Path, keep: Iterable[int]) -> None:
    """Deletes all but the newest checkpoints and those numbered in `keep`.

    Args:
      folder: of the checkpoints of one run.
      keep: numbers of those that stay however old they are.

    Raises:
      OSError: one cannot be deleted.
    """
    kept = {path_of(folder, sequence) for sequence in keep}
    for path in sorted(folder.glob("*.safetensors"))[:-KEPT]:
        if path not in kept:
            path.unlink(missing_ok=True)


def arrays_of(state: Pytree, prefix: str) -> dict[str, np.ndarray]:
    """Every array of a pytree by name; random keys as the integers that they hold.

    Args:
      state: a pytree of arrays.
      prefix: with a dot before each name.
    """
    return {f"{prefix}.{name}": np.asarray(leaf) for name, leaf in named_parameters(_plain(state)).items()}


def require_finite(state: Pytree, where: Path) -> None:
    """Raises `MulliganError` where a weight of a network is no finite number: it draws nothing."""
    for name, leaf in named_parameters(state).items():
        if not np.isfinite(np.asarray(leaf)).all():
            raise MulliganError(f"the weights in {where} are damaged: {name} holds numbers that are not finite.")


def restored(state: Pytree, arrays: dict[str, np.ndarray], prefix: str) -> Pytree:
    """A pytree like `state` with the arrays that `arrays_of` named.

    Raises:
      MulliganError: the arrays are of another network or recipe.
    """
    own = {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
    plain = with_parameters(_plain(state), own)
    return jax.tree.map(
        lambda leaf, like: jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if _is_key(like) else leaf,
        plain,
        state,
    )


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(state: Pytree) -> Pytree:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)
