"""Archives as folders: one that is given by itself, or the shards of a set that lie in a folder."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mulligan.errors import MulliganError
from mulligan.tasks.splits import count_sentence
from mulligan.tasks.stored import Listing, StoredFile, is_tar, list_tar, list_zip, one_file, path_of

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
# What lies beside archives without being trained on: words, tables, digests.
BESIDE = (".txt", ".md", ".html", ".pdf", ".csv", ".tsv", ".json", ".jsonl", ".sha256", ".md5")
# What tells one shard of a set from the next: `train-00003-of-00128` is one of `train`.
NUMBER = re.compile(r"[-_. ]*\d+([-_. ]*of[-_. ]*\d+)?$")


def list_file(path: Path, memory: int) -> Listing:
    """The files of an archive, which is known by its content, or the one file that it is.

    Args:
      path: of a file that can be read.
      memory: bytes that a compressed tar may hold.

    Raises:
      MulliganError: the archive is damaged, or made to do harm.
    """
    if zipfile.is_zipfile(path):
        return list_zip(path)
    return list_tar(path, memory) if is_tar(path) else Listing([one_file(path)])


def are_shards(files: Sequence[StoredFile]) -> bool:
    """Whether the files of a folder are archives, and at most words and tables on what is in them."""
    known = (*SUFFIXES, *BESIDE)
    return all(file.name.lower().endswith(known) for file in files) and any(map(_is_archive, files))


def open_shards(listing: Listing, memory: int) -> Listing:
    """The files of all archives in a folder, and those beside them, as those of one set.

    Each archive stands for a folder of its name without its number, in which what it holds is read: `train-0.tar` and
    `train-1.tar` for `train`, `cats.zip` for `cats`, and `0.tar` for the folder that it lies in.

    Args:
      listing: of a folder for which `are_shards` holds.
      memory: bytes that its compressed tars may hold, all together.

    Raises:
      MulliganError: an archive is damaged, or made to do harm.
    """
    archives = [file for file in listing.files if _is_archive(file)]
    files = [file for file in listing.files if not _is_archive(file)]
    notes = (*listing.notes, f"{count_sentence(len(archives), 'archive')} read as one set.")
    folders = list[str]()
    for archive in archives:
        path = Path(path_of(archive))
        inside = list_file(path, memory // len(archives))
        if [file.name for file in inside.files] == [archive.name.rpartition("/")[2]]:
            raise MulliganError(f"{path} cannot be read as an archive: copy it here again, or remove it.")
        files += [StoredFile(f"{archive.name}/{name}", start) for name, start in inside.files]
        folders += [f"{archive.name}/{name}" for name in inside.folders]
        notes += inside.notes
    files.sort(key=lambda file: file.name)
    return Listing(files, tuple(folders), notes, {archive.name: _place(archive.name) for archive in archives})


def _is_archive(file: StoredFile) -> bool:
    return file.name.lower().endswith(SUFFIXES)


def _place(name: str) -> str:
    """The folder that an archive stands for; empty for that of the whole set.

    >>> _place("a/train-00003-of-00128.tar.gz"), _place("cats.zip"), _place("b/0007.tar"), _place("12.tar")
    ('a/train', 'cats', 'b', '')
    """
    folder, _, last = name.rpartition("/")
    suffix = next(suffix for suffix in SUFFIXES if last.lower().endswith(suffix))
    return "/".join(part for part in (folder, NUMBER.sub("", last[: -len(suffix)])) if part)
