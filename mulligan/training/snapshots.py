"""Snapshots of a run's power averages, from which an average of any width can be rebuilt when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mulligan.averaging.posthoc import Snapshot
from mulligan.averaging.weights import POWER_WIDTHS
from mulligan.errors import MulliganError
from mulligan.files import make_folder
from mulligan.training import checkpoint
from mulligan.types import Pytree

PLANNED = 16  # snapshots a run, evenly spaced in images seen
MOST = 32  # that are kept where the length of the run was not known in advance


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
        return max((int(path.stem) for path in self._paths()), default=0)

    def write(self, nimg: int, averages: dict[str, Pytree]) -> None:
        """Writes one snapshot, whole or not at all; drops every other one where they have become too many.

        Raises:
          OSError: it cannot be written.
        """
        parts = [checkpoint.arrays_of(averages[kept], kept) for kept in self.names]
        arrays = {name: array for part in parts for name, array in part.items()}
        make_folder(self.folder)
        checkpoint.write(self.folder / f"{nimg:012d}.safetensors", arrays, {})
        # Every other one goes, counted from the newest, which stays: what is left is spaced evenly still.
        paths = self._paths()
        for path in paths[-2::-2] if len(paths) > MOST else ():
            path.unlink(missing_ok=True)

    def forget_after(self, nimg: int) -> None:
        """Removes what belongs to training that the run went back over, and will write again."""
        for path in self._paths():
            if int(path.stem) > nimg:
                path.unlink(missing_ok=True)

    def read(self) -> list[Snapshot]:
        """All that are whole, oldest first, with parameters by name."""
        found = []
        for path in self._paths():
            try:
                arrays = checkpoint.read(path).arrays
            except MulliganError:  # an average can be rebuilt without it
                continue
            for name in self.names:
                prefix = f"{name}."
                own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
                found.append(Snapshot(int(path.stem), POWER_WIDTHS[name], own))
        return found

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"), key=lambda path: int(path.stem))
