"""Files wherever they are stored: a folder, a zip or a tar. Nothing is ever extracted to disk."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mulligan.errors import MulliganError

MOST_BYTES = 2**30  # of one encoded file
MOST_RATIO = 100  # of unpacked to packed bytes; photographs and drawings stay below 10
BOMB_BYTES = 2**20  # unpacked bytes from which the ratio is looked at
CLUTTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # left behind by file managers


class UnreadableError(Exception):
    """This one file cannot be read; the text says why in a few words, without its name."""


class StoredFile(NamedTuple):
    """A file of a folder or an archive: its relative path with forward slashes, and a function that reads it.

    `read` is called from several threads, and raises only `UnreadableError`.
    """

    name: str
    read: Callable[[], bytes]


def list_folder(root: Path) -> list[StoredFile]:
    """All regular files below a folder, sorted by name. Linked folders and hidden files are left out."""
    found = []
    for folder, _, names in os.walk(root, onerror=_unreadable):
        paths = [Path(folder) / name for name in names]
        found += [
            StoredFile(path.relative_to(root).as_posix(), partial(_read, path)) for path in paths if path.is_file()
        ]
    return _tidy(found)


def list_zip(path: Path) -> list[StoredFile]:
    """The files of a zip.

    Raises:
      MulliganError: damaged, encrypted, or made to do harm (a path that leads outside, an absurd ratio).
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise MulliganError(f"{path} cannot be read as a zip: {error}.") from error
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        _refuse_outside(path, entry.filename)
        refuse_bomb(path, entry.filename, entry.file_size, entry.compress_size)
        if entry.flag_bits & 1:
            raise MulliganError(f"{path} is encrypted: unpack it and give the folder.")
    return _tidy(StoredFile(entry.filename, partial(_unzip, archive, entry)) for entry in entries)


def list_tar(path: Path, memory: int) -> list[StoredFile]:
    """The files of a tar, compressed or not, held in memory still encoded, since a tar has no index.

    Raises:
      MulliganError: damaged, made to do harm, or larger than `memory` bytes.
    """
    found, unpacked = [], 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                _refuse_outside(path, member.name)
                if not member.isfile():
                    continue
                unpacked += member.size
                refuse_bomb(path, member.name, unpacked, path.stat().st_size)
                if unpacked > memory:
                    raise MulliganError(f"{path} holds more than {memory:,} bytes: unpack it and give the folder.")
                content = archive.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
                found.append(StoredFile(member.name, partial(bytes, content)))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise MulliganError(f"{path} cannot be read as a tar: {error}.") from error
    return _tidy(found)


def one_file(path: Path) -> StoredFile:
    """A single file."""
    return StoredFile(path.name, partial(_read, path))


def _read(path: Path) -> bytes:
    try:
        _refuse_large(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def _unzip(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    _refuse_large(entry.file_size)
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise UnreadableError(str(error)) from error


def _refuse_large(size: int) -> None:
    if size > MOST_BYTES:
        raise UnreadableError("larger than 1 GiB")


def _tidy(files: Iterable[StoredFile]) -> list[StoredFile]:
    """Without hidden files and clutter, without folders that hold all the others, and sorted."""
    files = [file for file in files if not _clutter(PurePosixPath(file.name))]
    parents = [PurePosixPath(file.name).parent.parts for file in files]
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*parents, strict=False)))
    files = [StoredFile("/".join(PurePosixPath(name).parts[shared:]), read) for name, read in files]
    return sorted(files, key=lambda file: file.name)


def _clutter(name: PurePosixPath) -> bool:
    return any(part in CLUTTER or part.startswith(".") for part in name.parts)


def _refuse_outside(path: Path, name: str) -> None:
    unified = name.replace("\\", "/")
    if ".." in unified.split("/") or unified.startswith("/") or unified[1:3] == ":/":
        raise MulliganError(f"{path} is refused: it holds the path {name!r}, which leads outside of the archive.")


def refuse_bomb(path: Path | str, name: str, unpacked: int, packed: int) -> None:
    """Refuses an archive that unpacks to more than a hundred times its size (and over 1 MiB)."""
    if unpacked > BOMB_BYTES and unpacked > MOST_RATIO * max(packed, 1):
        raise MulliganError(
            f"{path} is refused: {name!r} unpacks to {unpacked // max(packed, 1):,} times its size, as only "
            "a decompression bomb does; if you trust it, unpack it and give the folder."
        )


def _unreadable(error: OSError) -> None:
    raise MulliganError(f"{error.filename} cannot be read: {error.strerror}.") from error
