"""Files wherever they are stored: a folder, a zip or a tar. Nothing is ever extracted to disk."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mulligan.errors import MulliganError, printable
from mulligan.tasks.splits import count_sentence

MOST_BYTES = 2**30  # of one encoded file
MOST_RATIO = 100  # of unpacked to packed bytes; photographs and drawings stay below 10
BOMB_BYTES = 2**20  # unpacked bytes from which the ratio is looked at
BLOCK = 2**16  # bytes unpacked at a time, so that what is there is counted before it is held
CLUTTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # left behind by file managers
RUN_FILES = ({"run.json", "recipe.json"}, {"task.json", "recipe.json"}, {"generator.json", "generator.safetensors"})
ZIP_UTF8 = 0x800  # flag of an entry: its name is UTF-8
COMPRESSED: dict[bytes, Callable[[io.BufferedReader], io.BufferedIOBase]] = {  # by the first bytes
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
SHOWN = 3  # examples in a sentence
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError, RuntimeError)


class UnreadableError(Exception):
    """This one file cannot be read; the text says why in a few words, without its name."""


class StoredFile(NamedTuple):
    """A file of a folder or an archive: its relative path with forward slashes, and a function that reads it.

    `start(n)` gives its first `n` bytes, or all where it has fewer. It is called from several threads, and raises only
    `UnreadableError`.
    """

    name: str
    start: Callable[[int], bytes]

    def read(self) -> bytes:
        """The whole file.

        Raises:
          UnreadableError: it cannot be read, or has more than `MOST_BYTES`.
        """
        content = self.start(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UnreadableError("larger than 1 GiB")
        return content


class Listing(NamedTuple):
    """The files of a source.

    Attributes:
      files: sorted by name.
      folders: empty ones too.
      notes: sentences on what was left out.
      places: of each archive whose files these are, the folder that it stands for; see `tasks.archives`.
    """

    files: list[StoredFile]
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    places: Mapping[str, str] = MappingProxyType({})

    def placed(self, name: str) -> str:
        """A path among these as it tells classes and splits: with the folder that its archive stands for.

        Example:
          >>> Listing([], places={"train-0.tar": "train"}).placed("train-0.tar/cats/1.png")
          'train/cats/1.png'
        """
        folders = [folder for folder in _folders_of(name) if folder in self.places] if self.places else []
        return name if not folders else f"{self.places[folders[0]]}{name[len(folders[0]) :]}".lstrip("/")


def list_folder(root: Path) -> Listing:
    """All regular files below a folder. Hidden files are left out; linked folders are followed, each folder once.

    Raises:
      MulliganError: a folder cannot be read, or it is a run of mulligan's.
    """
    files: list[StoredFile] = []
    folders, again, dead = [], [], []
    seen = {_identity(str(folder)) for folder in (root.resolve(), *root.resolve().parents)}
    waiting, links = _entries(str(root), ""), []
    while waiting or links:
        followed = not waiting
        name, entry = links.pop(0) if followed else waiting.pop()
        if entry.is_dir() and entry.is_symlink() and not followed:
            links.append((name, entry))  # until all else is read, so that what lies inside is read in place
        elif entry.is_dir():
            if (identity := _identity(entry.path)) not in seen:
                seen.add(identity)
                folders.append(name)
                waiting += _entries(entry.path, name + "/")
            elif followed:
                again.append(name)
        elif entry.is_file():
            files.append(StoredFile(name, partial(_start_of_file, entry.path)))
        elif entry.is_symlink():
            dead.append(name)
    notes = ()
    if again:
        notes += (
            f"{_named(again, 'linked folder')} left out, since what they lead to is read already or lies around.",
        )
    if dead:
        notes += (f"{_named(dead, 'link')} left out, since they lead nowhere.",)
    return _tidy(root, files, folders, notes)


def _entries(path: str, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What lies in a folder, hidden files and clutter aside, with names below the root; the first name comes last."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        raise MulliganError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    return [(prefix + entry.name, entry) for entry in entries if not _clutter(prefix + entry.name)]


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _start_of_file(path: str, n: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            size = min(n, os.fstat(file.fileno()).st_size)  # a buffer of n bytes would be made first
            content = file.read(size)
            while len(content) < size and (more := file.read(size - len(content))):  # the system may give less
                content += more
            return content
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def identity(listing: Listing) -> str:
    """A digest of names, sizes and times of all files, which are files on the disk."""
    hasher = hashlib.sha256(repr((listing.folders, listing.notes)).encode(errors="surrogatepass"))
    for file in listing.files:
        status = os.stat(path_of(file))
        hasher.update(b"%d %d %d " % (status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        hasher.update(file.name.encode(errors="surrogatepass") + b"\0")
    return hasher.hexdigest()


def path_of(file: StoredFile) -> str:
    """Where a file of a folder, or one by itself, lies on the disk."""
    assert isinstance(file.start, partial)
    return file.start.args[0]


def one_file(path: Path) -> StoredFile:
    """A single file."""
    return StoredFile(printable(path.name), partial(_start_of_file, str(path)))


def list_zip(path: Path) -> Listing:
    """The files of a zip.

    Raises:
      MulliganError: damaged, encrypted, or made to do harm (a path that leads outside, an absurd ratio).
    """
    try:
        _archive.cache_clear()  # the file may be another one than it was
        archive = _archive(str(path))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise MulliganError(f"{path} cannot be read as a zip: {error}.") from error
    size = path.stat().st_size
    files, folders, unpacked = [], [], 0
    for entry in archive.infolist():
        name = entry.filename
        if not entry.flag_bits & ZIP_UTF8:  # macOS writes UTF-8 without saying so, and Windows may write backslashes
            with suppress(UnicodeError):
                name = name.encode("cp437").decode("utf-8")
        name = name.replace("\\", "/")
        _refuse_outside(path, name)
        if name.endswith("/"):
            folders.append(name.rstrip("/"))
            continue
        unpacked += entry.file_size
        refuse_bomb(path, name, entry.file_size, entry.compress_size)
        refuse_bomb(path, name, unpacked, size)  # entries may lie about what they take, or share their bytes
        if entry.flag_bits & 1:
            raise MulliganError(f"{path} is encrypted: unpack it and give the folder.")
        files.append(StoredFile(name, partial(_start_of_entry, str(path), entry, min(size, entry.compress_size))))
    return _tidy(path, files, folders)


@lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _start_of_entry(path: str, entry: zipfile.ZipInfo, packed: int, n: int) -> bytes:
    """At most `n` bytes, unpacked block by block; whatever a header says of them, an absurd ratio ends it."""
    content = bytearray()
    try:
        with _archive(path).open(entry) as stream:
            while len(content) < n and (block := stream.read(min(BLOCK, n - len(content)))):
                content += block
                if _is_bomb(len(content), packed):
                    raise UnreadableError(f"unpacks to more than {MOST_RATIO} times its size")
    except BROKEN as error:
        raise UnreadableError(str(error)) from error
    return bytes(content)


def list_tar(path: Path, memory: int) -> Listing:
    """The files of a tar; of a compressed one they are held in memory still encoded, since it has no index.

    Raises:
      MulliganError: damaged, made to do harm, or compressed and larger than `memory` bytes.
    """
    files, folders, notes = [], [], ()
    try:
        with path.open("rb") as file:
            unpacked = _decompressed(file)
            stream = _Counted(unpacked or file, path, memory if unpacked else None)
            # A decompressor reads from front to back alone, which is what "r|" does; "r:" seeks.
            with tarfile.open(fileobj=stream, mode="r|" if unpacked else "r:") as archive:
                while (member := archive.next()) is not None:
                    # Or a kilobyte would stay for each file.
                    archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                    _refuse_outside(path, member.name)
                    if member.isdir():
                        folders.append(member.name)
                    # A sparse file is no stretch of the archive that could be read later.
                    if not member.isfile() or member.issparse():
                        continue
                    if unpacked:
                        content = archive.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
                        files.append(StoredFile(member.name, lambda n, content=content: content[:n]))
                    else:
                        start = partial(_part_of_file, str(path), member.offset_data, member.size)
                        files.append(StoredFile(member.name, start))
                # Where it was cut off between two members, or in the header of one, nothing else tells.
                if not unpacked and file.seek(archive.offset) and len(file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
                    notes = (f"{printable(path.name)} has no end: some of its files may be missing.",)
    except (tarfile.TarError, *BROKEN, ValueError, OverflowError, MemoryError) as error:
        raise MulliganError(f"{path} cannot be read as a tar: {str(error) or 'its names are too long'}.") from error
    return _tidy(path, files, folders, notes)


def is_tar(path: Path) -> bool:
    """Whether a file, compressed or not, begins as a tar does."""
    try:
        with path.open("rb") as file:
            tarfile.TarInfo.frombuf((_decompressed(file) or file).read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, *BROKEN):  # pyright: ignore[reportAttributeAccessIssue]
        return False
    return True


def _decompressed(file: io.BufferedReader) -> io.BufferedIOBase | None:
    """What a compressed file unpacks to; None for one that is not compressed."""
    begins = file.peek(6)
    return next((unpack(file) for magic, unpack in COMPRESSED.items() if begins.startswith(magic)), None)


class _Counted(io.RawIOBase):
    """A stream of which no more is read than there is, or than is allowed, whatever sizes its headers claim.

    tarfile reads a name of any claimed length in one go.
    """

    def __init__(self, stream: io.BufferedIOBase, path: Path, memory: int | None):
        self.stream, self.path, self.memory = stream, path, memory
        self.packed = path.stat().st_size
        self.taken = 0

    def read(self, n: int = -1) -> bytes:
        # A file that is not compressed has no more than its own bytes, whatever a header claims.
        if self.memory is None:
            left = max(self.packed - self.stream.tell(), 0)
            return self.stream.read(left if n < 0 else min(n, left))
        content = self.stream.read(BLOCK if n < 0 else min(n, BLOCK))
        self.taken += len(content)
        refuse_bomb(self.path, self.path.name, self.taken, self.packed)
        if self.taken > self.memory:
            raise MulliganError(f"{self.path} holds more than {self.memory:,} bytes: unpack it and give the folder.")
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _part_of_file(path: str, offset: int, size: int, n: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(min(n, size))
    except (OSError, MemoryError) as error:
        raise UnreadableError(str(error) or "claims an absurd size") from error


def _tidy(source: Path, files: Iterable[StoredFile], folders: Iterable[str], notes: tuple[str, ...] = ()) -> Listing:
    """Without hidden files, clutter and what mulligan wrote itself; with plain, printable names; sorted."""
    plain = [StoredFile(_plain(name), start) for name, start in files]
    seen = [file for file in plain if not _clutter(file.name)]
    # Folders that `mulligan fit` or `Generator.save` wrote are no data; the arms of a race lie in their run.
    inside: dict[str, set[str]] = {}
    for file in seen:
        folder, _, last = file.name.rpartition("/")
        inside.setdefault(folder, set()).add(last)
    written = {folder for folder, names in inside.items() if any(wanted <= names for wanted in RUN_FILES)}
    runs = {folder for folder in written if not written.intersection(_folders_of(folder))}
    if "" in runs:
        raise MulliganError(
            f"{source} is a run of mulligan's, not images: go on with `mulligan resume`, or give the images themselves."
        )
    left = [file for file in seen if not runs.intersection(_folders_of(file.name))]
    held = {folder for file in left for folder in _folders_of(file.name)}
    bare = {_plain(folder) for folder in folders} | held
    # A folder that holds nothing but runs is no empty class.
    around = {folder for run in runs for folder in (run, *_folders_of(run))} - held
    empty = {name for name in bare if not _clutter(name) and not runs.intersection((name, *_folders_of(name)))} - around
    if runs:
        notes = (*notes, f"{_named(sorted(runs), 'run folder')} of mulligan's left out.")
    return Listing(sorted(left, key=lambda file: file.name), tuple(sorted(empty)), notes)


def _folders_of(name: str) -> Iterator[str]:
    """Every folder that a path lies in, the innermost first."""
    while name := name.rpartition("/")[0]:
        yield name


def _plain(name: str) -> str:
    return printable("/".join(part for part in name.split("/") if part not in ("", ".")))


def _clutter(name: str) -> bool:
    return any(part in CLUTTER or part.startswith(".") for part in name.split("/"))


def _named(names: list[str], noun: str) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return f"{count_sentence(len(names), noun)} ({', '.join(map(printable, names[:SHOWN]))}{more})"


def _refuse_outside(path: Path, name: str) -> None:
    unified = name.replace("\\", "/")
    if ".." in unified.split("/") or unified.startswith("/") or unified[1:3] == ":/":
        raise MulliganError(f"{path} is refused: it holds the path {name!r}, which leads outside of the archive.")


def _is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > BOMB_BYTES and unpacked > MOST_RATIO * max(packed, 1)


def refuse_bomb(path: Path | str, name: str, unpacked: int, packed: int) -> None:
    """Refuses an archive that unpacks to more than a hundred times its size (and over 1 MiB).

    Args:
      path: of the archive, for the message.
      name: of what is unpacked.
      unpacked, packed: bytes.

    Raises:
      MulliganError: it does.
    """
    if _is_bomb(unpacked, packed):
        raise MulliganError(
            f"{path} is refused: {name!r} unpacks to {unpacked // max(packed, 1):,} times its size, as only "
            "a decompression bomb does; if you trust it, unpack it and give the folder."
        )
