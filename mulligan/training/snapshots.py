"""Snapshots of a run's power averages, from which an average of any width can be rebuilt when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mulligan.averaging.posthoc import Snapshot
from mulligan.averaging.weights import POWER_WIDTHS
from mulligan.errors import MulliganError
from mulligan.files import make_folder
from mulligan.training import checkpoint
from mulligan.types import Pytree

PLANNED = 16  # snapshots a run, evenly spaced in images seen
MOST = 32  # that are kept where the length of the run was not known in advance

Parameters = dict[str, np.ndarray]  # of a generator, by name


class Snapshots:
    """The snapshots in one folder; each holds every power average that the recipe keeps, at one time of the run."""

    def __init__(self, folder: Path, averages: Sequence[str]):
        self.folder = folder
        self.names = [name for name in averages if name in POWER_WIDTHS]

    def due(self, nimg: int, horizon_nimg: float) -> bool:
        """Whether another of the `PLANNED` parts of a run of `horizon_nimg` images is over; not while that is 0."""
        if not self.names or horizon_nimg <= 0:
            return False
        part = horizon_nimg / PLANNED
        return nimg // part > self.newest() // part

    def newest(self) -> int:
        """Images seen at the newest snapshot; 0 where there is none."""
        return max(self._times(), default=0)

    def write(self, nimg: int, averages: dict[str, Pytree]) -> None:
        """Writes one snapshot, whole or not at all; drops every other one where they have become too many."""
        arrays = {
            name: array for kept in self.names for name, array in checkpoint.arrays_of(averages[kept], kept).items()
        }
        make_folder(self.folder)
        checkpoint.write(self._path(nimg), arrays, {})
        times = self._times()
        if len(times) > MOST:
            self._remove(times[-2::-2])

    def forget_after(self, nimg: int) -> None:
        """Removes what belongs to training that the run went back over, and will write again."""
        self._remove([time for time in self._times() if time > nimg])

    def read(self) -> list[Snapshot]:
        """All that are whole, oldest first, with parameters by name."""
        return [snapshot for time in self._times() for snapshot in self._read(time)]

    def _read(self, nimg: int) -> list[Snapshot]:
        try:
            arrays = checkpoint.read(self._path(nimg)).arrays
        except MulliganError:  # an average can be rebuilt without it
            return []
        return [Snapshot(nimg, POWER_WIDTHS[name], _part(arrays, name)) for name in self.names]

    def _remove(self, times: Sequence[int]) -> None:
        for time in times:
            self._path(time).unlink(missing_ok=True)

    def _times(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.safetensors"))

    def _path(self, nimg: int) -> Path:
        return self.folder / f"{nimg:012d}.safetensors"


def _part(arrays: Parameters, name: str) -> Parameters:
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
