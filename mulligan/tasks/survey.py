"""A first look at the files of a source: which are images, how large, and what the others are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mulligan.errors import MulliganError
from mulligan.tasks.decode import Header, header, is_claimed, own_bomb_check
from mulligan.tasks.splits import count_sentence
from mulligan.tasks.stored import StoredFile, UnreadableError
from mulligan.tasks.streaming import THREADS

BLOCK = 1024  # files handed to the threads at a time
PART = 64  # of them, at most, to one thread: a file by itself takes less than handing it over does
SHARE = 10  # one damaged image in so many is too many; as is one image in so many files
Thing = TypeVar("Thing")
Found = TypeVar("Found")


class Refusal(str):
    """Why a file cannot be read. No exception, whose traceback would keep the file's content."""

    __slots__ = ()


@dataclass(frozen=True)
class Survey:
    """The files of a source.

    Attributes:
      images: positions of those that are images, but for those left out.
      headers: of each image.
      damaged: name and reason of what is called an image and cannot be read.
      others: name and reason of what is none.
      notes: one-line sentences on what was left out.
    """

    images: tuple[int, ...]
    headers: tuple[Header, ...]
    damaged: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


def in_threads(work: Callable[[Thing], Found], things: Sequence[Thing]) -> Iterator[Found | Refusal]:
    """`work` on every thing, in order; the reason in place of what cannot be read."""

    def attempt(start: int) -> list[Found | Refusal]:
        found: list[Found | Refusal] = []
        for thing in things[start : start + part]:
            try:
                found.append(work(thing))
            except UnreadableError as error:
                found.append(Refusal(error))
        return found

    part = min(max(len(things) // (4 * THREADS), 1), PART)
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(things), BLOCK):
            for found in pool.map(attempt, range(start, min(start + BLOCK, len(things)), part)):
                yield from found


def survey(files: Sequence[StoredFile], where: str) -> Survey:
    """Reads the headers of all files.

    Pictures that mulligan drew itself are left out beside others, and taken where there are no others.

    Raises:
      MulliganError: no images, too many damaged ones, or hardly any image among the files.
    """
    with own_bomb_check():
        seen = list(in_threads(header, files))
    images = [position for position, found in enumerate(seen) if isinstance(found, Header)]
    damaged, others = refused(files, seen)
    refuse_many(damaged, others, len(files), where)
    # Few images among many other files: the folder above them was meant for something else.
    if len(images) * SHARE < len(others):
        raise MulliganError(
            f"only {len(images):,} of {len(files):,} files in {where} are images: give the folder that holds them."
        )
    own = [position for position in images if seen[position].own]  # pyright: ignore[reportAttributeAccessIssue]
    notes = ()
    if own and len(own) < len(images):
        notes = (f"{count_sentence(len(own), 'picture')} that mulligan drew left out: {files[own[0]].name}.",)
        drawn = set(own)
        images = [position for position in images if position not in drawn]
    headers = tuple(found for position in images if isinstance(found := seen[position], Header))
    return Survey(tuple(images), headers, tuple(damaged), tuple(others), notes)


def refused(
    files: Sequence[StoredFile], found: Sequence[object]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Names and reasons of the files for which a `Refusal` was found: of those meant for images, and of the others."""
    damaged, others = [], []
    for file, reason in zip(files, found, strict=True):
        if isinstance(reason, Refusal):
            (damaged if is_claimed(file) else others).append((file.name, str(reason)))
    return damaged, others


def refuse_many(damaged: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]], files: int, where: str) -> None:
    """Refuses a source without images, or with more than a tenth of them damaged.

    Raises:
      MulliganError: as said.
    """
    if not files:
        raise MulliganError(f"{where} is empty: it holds no files.")
    if len(damaged) + len(others) == files:
        raise MulliganError(f"{where} holds no images; {examples([*damaged, *others])}.")
    claimed = files - len(others)
    if len(damaged) > max(1, claimed / SHARE):
        raise MulliganError(
            f"{len(damaged):,} of {claimed:,} image files in {where} cannot be read, more than a tenth: "
            f"{examples(damaged)}; mend or remove them."
        )


def skip_notes(damaged: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]], files: int) -> tuple[str, ...]:
    """Sentences on the files that were skipped."""
    if not damaged and not others:
        return ()
    skipped = [*damaged, *others]
    return (f"{len(skipped):,} of {count_sentence(files, 'file')} skipped: {examples(skipped)}.",)


def examples(skipped: Sequence[tuple[str, str]]) -> str:
    """The first few names, with reasons; each reason once where there are several."""
    reasons = list(dict.fromkeys(reason for _, reason in skipped))
    first = [next(pair for pair in skipped if pair[1] == reason) for reason in reasons]
    shown = (first if len(first) > 1 else [*skipped])[:3]
    more = [] if len(skipped) <= len(shown) else ["and others"]
    return ", ".join([f"{name} ({reason})" for name, reason in shown] + more)
