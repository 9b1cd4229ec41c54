"""Writing a file whole or not at all; reading what the package ships only as it was shipped."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` at `path`; whoever reads it at any instant sees the old file or the new one, never a part.

    Raises:
      MulliganError: the folder cannot be written to, or the disk is full; `path` is then as it was.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files that only their owner reads, and the system tells the umask only where it is set.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error


def reserve(handle: int, size: int) -> None:
    """Takes the room of a file on the disk now: what is written into a map kills the process where there is too little.

    Args:
      handle: of the file, open for writing.
      size: bytes.

    Raises:
      OSError: there is too little.
    """
    if hasattr(os, "posix_fallocate"):  # macOS and Windows have none
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
                raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file, made where there is none; the system lets go of it when the process ends, however it does.

    Where a file system has no locks, nothing is held and nobody is refused.

    Raises:
      BlockingIOError: another process holds it, or another thread of this one.
      MulliganError: the file cannot be made.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise MulliganError(f"cannot write {path}: {error.strerror or error}.") from error
    with file:
        _lock(file.fileno())
        yield


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error

else:
    import fcntl

    def _lock(handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # such as some network file systems
            pass


def make_folder(path: Path) -> Path:
    """Makes `path` and its parents where they are not there yet.

    Raises:
      MulliganError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MulliganError(f"cannot make the folder {path}: {error.strerror or error}.") from error
    return path


def with_card(package: str, name: str, what: str) -> tuple[bytes, dict[str, Any]]:
    """What `NAME.safetensors` of an installed package holds, and its card, `NAME.json`.

    Args:
      what: they are of, for people.

    Raises:
      MulliganError: the file's SHA-256 is not the card's.
    """
    room = resources.files(package)
    stored = room.joinpath(f"{name}.safetensors").read_bytes()
    card = json.loads(room.joinpath(f"{name}.json").read_text())
    # A package may be unpacked or patched by others: what is not as it was shipped is not used.
    if hashlib.sha256(stored).hexdigest() != card["sha256"]:
        raise MulliganError(f"the weights of {what} are damaged: install mulligan again.")
    return stored, card
