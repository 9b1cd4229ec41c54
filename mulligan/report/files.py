"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mulligan.errors import MulliganError


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` at `path`; whoever reads it at any instant sees the old file or the new one, whole.

    Raises:
      MulliganError: the folder cannot be written to, or the disk is full; `path` is then as it was.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner reads
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error


def _umask() -> int:
    """The permissions that this process withholds; the system tells them only when they are set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
