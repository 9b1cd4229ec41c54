"""Image files to a collection: headers first, then the frame, then all pixels, in memory or streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Integer, UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.decode import decode, own_bomb_check, upright_size
from mulligan.tasks.framing import Frame, Request, choose_frame
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION, count_sentence, digest, is_grey
from mulligan.tasks.stored import StoredFile, UnreadableError
from mulligan.tasks.streaming import THREADS, StreamedImages

SPLIT_FOLDERS = {
    "train": TRAIN,
    "training": TRAIN,
    "test": TEST,
    "testing": TEST,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
}
BLOCK = 1024  # files handed to the threads at a time
Read = TypeVar("Read")
Outcome = UnreadableError | None  # of reading one file


class ImageFile(NamedTuple):
    """An encoded image, with its class and split (a code of `tasks.splits`) where the source tells them."""

    file: StoredFile
    label: str | None = None
    split: int | None = None


def by_folder(files: Sequence[StoredFile]) -> list[ImageFile]:
    """Reads classes and splits off the paths: the first folder of a path is its class.

    When there is a folder `train`, and every folder at the top is called like a split, these are splits, and
    the folders in them are classes.
    """
    parts = [file.name.split("/") for file in files]
    tops = {part[0].lower() for part in parts if len(part) > 1}
    if "train" in tops and tops <= set(SPLIT_FOLDERS):
        return [
            ImageFile(
                file,
                part[1] if len(part) > 2 else None,
                SPLIT_FOLDERS.get(part[0].lower()) if part[1:] else None,
            )
            for file, part in zip(files, parts, strict=True)
        ]
    return [ImageFile(file, part[0] if len(part) > 1 else None) for file, part in zip(files, parts, strict=True)]


def read_image_files(images: Sequence[ImageFile], request: Request, memory: int, where: str) -> Collection:
    """Decodes image files into one shape; grey when every pixel of every image is.

    Files that are no images, or damaged ones, are skipped and counted in a note.

    Args:
      images: the files.
      request: the shape asked for.
      memory: bytes of decoded RGB pixels above which they stay in their files and stream; all are decoded
        once even then.
      where: the source, for messages.

    Raises:
      MulliganError: no images, or more than one file and more than a tenth of all skipped.
    """
    with own_bomb_check():
        sizes = list(_in_threads(upright_size, images))
    skipped = _skipped(images, sizes)
    _refuse_many(skipped, len(sizes), where)
    images = _readable(images, sizes)
    frame, notes = choose_frame(np.array([size for size in sizes if not isinstance(size, UnreadableError)]), request)
    streamed = len(images) * frame.height * frame.width * 3 > memory
    pixels, outcomes = (_stream if streamed else _load)(images, frame)
    skipped += _skipped(images, outcomes)
    _refuse_many(skipped, len(sizes), where)
    images = _readable(images, outcomes)
    labels, classes, label_notes = _classes(images)
    notes = (*_skip_notes(skipped, len(sizes)), *notes, *label_notes, *_stream_notes(streamed))
    return Collection(pixels, labels, _splits(images), classes, notes)


def _in_threads(work: Callable[[bytes], Read], images: Sequence[ImageFile]) -> Iterator[Read | UnreadableError]:
    """`work` on the content of every file, in order; the error in place of a file that cannot be read."""

    def attempt(image: ImageFile) -> Read | UnreadableError:
        try:
            return work(image.file.read())
        except UnreadableError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(images), BLOCK):
            yield from pool.map(attempt, images[start : start + BLOCK])


def _load(images: Sequence[ImageFile], frame: Frame) -> tuple[UInt8[np.ndarray, "n h w c"], list[Outcome]]:
    """All pixels in memory, and what became of each file."""
    pixels = np.empty((len(images), frame.height, frame.width, 3), np.uint8)
    outcomes: list[Outcome] = []
    grey = True
    for slot, decoded in enumerate(_in_threads(lambda encoded: decode(encoded, frame), images)):
        if isinstance(decoded, UnreadableError):
            outcomes.append(decoded)
            continue
        outcomes.append(None)
        pixels[slot] = decoded
        grey = grey and is_grey(decoded)
    whole = np.array([outcome is None for outcome in outcomes])
    pixels = pixels if whole.all() else pixels[whole]
    return np.ascontiguousarray(pixels[..., :1]) if grey else pixels, outcomes


def _stream(images: Sequence[ImageFile], frame: Frame) -> tuple[StreamedImages, list[Outcome]]:
    """All digests, with the pixels left in their files, and what became of each file."""

    def look(encoded: bytes) -> tuple[int, bool]:
        pixels = decode(encoded, frame)
        return digest(pixels), is_grey(pixels)

    seen = list(_in_threads(look, images))
    whole = [(slot, *found) for slot, found in enumerate(seen) if not isinstance(found, UnreadableError)]
    channels = 1 if all(grey for _, _, grey in whole) else 3

    def read(index: int) -> UInt8[np.ndarray, "h w c"]:
        file = images[index].file
        try:
            return decode(file.read(), frame)[..., :channels]
        except UnreadableError as error:
            raise MulliganError(f"{file.name} was read before and no longer can be: {error}.") from error

    indices = np.array([slot for slot, _, _ in whole], np.int64)
    digests = np.array([hashed for _, hashed, _ in whole], np.uint64)
    outcomes = [found if isinstance(found, UnreadableError) else None for found in seen]
    return StreamedImages((frame.height, frame.width, channels), read, indices, digests), outcomes


def _readable(images: Sequence[ImageFile], outcomes: Sequence[object]) -> list[ImageFile]:
    pairs = zip(images, outcomes, strict=True)
    return [image for image, outcome in pairs if not isinstance(outcome, UnreadableError)]


def _skipped(images: Sequence[ImageFile], outcomes: Sequence[object]) -> list[tuple[str, str]]:
    """Name and reason of each file that could not be read."""
    pairs = zip(images, outcomes, strict=True)
    return [(image.file.name, str(error)) for image, error in pairs if isinstance(error, UnreadableError)]


def _refuse_many(skipped: list[tuple[str, str]], files: int, where: str) -> None:
    if not files:
        raise MulliganError(f"{where} is empty: it holds no files.")
    if len(skipped) == files:
        raise MulliganError(f"{where} holds no images; {_examples(skipped)}.")
    if len(skipped) > max(1, files / 10):
        raise MulliganError(
            f"{len(skipped):,} of {files:,} files in {where} are no readable images, more than a tenth: "
            f"{_examples(skipped)}; remove them, or give the folder that holds the images."
        )


def _examples(skipped: list[tuple[str, str]]) -> str:
    more = [] if len(skipped) <= 3 else ["..."]
    return ", ".join([f"{name} ({reason})" for name, reason in skipped[:3]] + more)


def _skip_notes(skipped: list[tuple[str, str]], files: int) -> tuple[str, ...]:
    if not skipped:
        return ()
    return (f"{len(skipped):,} of {count_sentence(files, 'file')} skipped: {_examples(skipped)}.",)


def _stream_notes(streamed: bool) -> tuple[str, ...]:
    return ("the images are larger than the memory allowed, so they stream from their files.",) if streamed else ()


def _classes(
    images: Sequence[ImageFile],
) -> tuple[Integer[np.ndarray, " n"] | None, tuple[str, ...] | None, tuple[str, ...]]:
    """Labels and class names, when every image has one; class names that are numbers sort as numbers."""
    names = [image.label for image in images if image.label is not None]
    if not names:
        return None, None, ()
    if len(names) < len(images):
        outside = count_sentence(len(images) - len(names), "image")
        return None, None, (f"{outside} outside of the class folders, so there are no labels.",)
    ordered = tuple(sorted(set(names), key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))
    position = {name: label for label, name in enumerate(ordered)}
    labels, classes = number_classes(np.array([position[name] for name in names]), len(images), ordered)
    return labels, classes, ()


def _splits(images: Sequence[ImageFile]) -> Integer[np.ndarray, " n"] | None:
    """Split codes; an image outside of the split folders trains."""
    if all(image.split is None for image in images):
        return None
    return np.array([TRAIN if image.split is None else image.split for image in images])
