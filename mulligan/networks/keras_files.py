"""Python files that make a person's own models: run when they are given, and again for the runs that they began."""

from __future__ import annotations

import hashlib
import runpy
from contextlib import suppress
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, UsageError
from mulligan.files import make_folder, replace_file
from mulligan.networks.keras_models import import_keras_on_jax
from mulligan.places import data_folder

KNOWN = "networks.txt"  # digests of files that this user gave; a run folder from elsewhere has no say in what is run


def run_file(path: Path) -> tuple[Any, Any]:
    """The models that the functions `generator()` and `discriminator()` of a Python file make; the file is run.

    Raises:
      UsageError: no such file, or it lacks one of the two.
      MulliganError: Keras is not installed, or the file fails.
    """
    import_keras_on_jax()  # before the file does so with another backend
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give a Python file with generator() and discriminator().")
    try:
        scope = runpy.run_path(str(path))
        for role in ("generator", "discriminator"):
            if not callable(scope.get(role)):
                raise UsageError(f"{path} has no function {role}(): it needs generator() and discriminator().")
        return scope["generator"](), scope["discriminator"]()
    except UsageError:
        raise
    except Exception as error:  # whatever the person's own code raises
        raise MulliganError(f"{path} fails with {type(error).__name__}: {error}") from error


def remember_file(path: Path) -> dict[str, str]:
    """What a run keeps of the file that it was given; from now on the file may be run again without being given.

    Where the user's folder cannot be written to, the file has to be given again.

    Returns:
      `file`, its path, and `sha256` of its bytes.
    """
    digest = _digest(path)
    folder = data_folder()
    if folder is not None and digest not in _known(folder):
        lines = [*_known(folder), digest]
        with suppress(MulliganError):  # then it has to be given again
            replace_file(make_folder(folder) / KNOWN, "".join(f"{line}\n" for line in lines).encode())
    return {"file": str(path.resolve()), "sha256": digest}


def remembered_file(kept: dict[str, str] | None) -> Path | None:
    """The file that a run was given, where it is still there unchanged and this very user gave it; else None."""
    path, folder = Path(kept["file"]) if kept else None, data_folder()
    if kept is None or path is None or folder is None or not path.is_file():
        return None
    # A run folder from elsewhere could name any file and its digest: only digests that this user gave are trusted.
    return path if _digest(path) == kept["sha256"] and kept["sha256"] in _known(folder) else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _known(folder: Path) -> list[str]:
    try:
        return (folder / KNOWN).read_text().split()
    except OSError:
        return []
