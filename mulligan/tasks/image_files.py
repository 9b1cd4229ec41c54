"""Image files to a collection: headers first, then classes and the frame, then all pixels, in memory or streamed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from mulligan.errors import MulliganError
from mulligan.tasks.collection import UNLABELLED, Collection
from mulligan.tasks.decode import DEEP, Look, are_flat, depth, look
from mulligan.tasks.framing import WHITE, Frame, Request, choose_frame, choose_ground
from mulligan.tasks.layout import lay_out
from mulligan.tasks.read_before import Shelf, rows_with_channels
from mulligan.tasks.source import Source
from mulligan.tasks.splits import TRAIN, are_grey, count_sentence, digests_of
from mulligan.tasks.stored import StoredFile, UnreadableError
from mulligan.tasks.streaming import HELD_SHARE, STREAMED, StreamedImages
from mulligan.tasks.survey import Refusal, Survey, in_threads, refuse_many, skip_notes, survey
from mulligan.tasks.tables import read_tables

BLOCK_PIXELS = 2**20  # of decoded images that are looked at at a time


class ImageFile(NamedTuple):
    """An encoded image, with its class and split (a code of `tasks.splits`) where the source tells them."""

    file: StoredFile
    label: str | None = None
    split: int | None = None
    group: str | None = None


def read_listing(source: Source) -> Collection:
    """Images of a folder or archive, with the classes and splits that tables or folders tell.

    Raises:
      MulliganError: no images, many damaged ones, or folders or tables that could mean several things.
    """
    listing, where, groups = source.listing, source.where, source.groups
    found = survey(listing.files, where)
    files = [listing.files[position] for position in found.images]
    names = [file.name for file in files]
    known = set(names)
    told = read_tables([file for file in listing.files if file.name not in known], names, groups)
    placed = [listing.placed(name) for name in names]
    layout = lay_out(placed, [listing.placed(folder) for folder in listing.folders], where)
    images = []
    for position, in_folder, split in zip(layout.kept, layout.labels, layout.splits, strict=True):
        label = told.labels.get(position) if told.labels or told.shards else in_folder
        group = placed[position].rpartition("/")[0] if groups == "folder" else told.groups.get(position)
        images.append(ImageFile(files[position], label, told.splits.get(position, split), group))
    kept = replace(
        found,
        headers=tuple(found.headers[position] for position in layout.kept),
        others=tuple(pair for pair in found.others if pair[0] not in told.paths),
    )
    notes = (*listing.notes, *found.notes, *layout.notes)
    if told.names:
        kinds = [kind for kind, values in (("classes", told.labels), ("splits", told.splits)) if values]
        columns = ", ".join(sorted(told.columns))
        nothing = f"{', '.join(told.names)} names the images, but no classes: its columns are {columns}."
        notes += (f"{' and '.join(kinds)} are those in {', '.join(told.names[:3])}." if kinds else nothing,)
    read = _decoded(images, kept, len(listing.files), source.request, source.memory, where, notes, source.shelf)
    if told.contradiction:
        return replace(read, labels=None, classes=None, unlabelled=told.contradiction)
    if told.damaged:
        damage = f"{', '.join(told.damaged)} cannot be read: damaged, or no table."
        said = read.unlabelled or (damage if read.labels is None else "")
        read = replace(read, notes=(*read.notes, damage), unlabelled=said)
    if read.labels is None and not read.unlabelled and told.shards:
        return replace(read, unlabelled="dataset.json holds no classes, and the folders beside it are none")
    return read


def read_image_files(
    images: Sequence[ImageFile], request: Request, memory: int, where: str, shelf: Shelf | None = None
) -> Collection:
    """Decodes image files into one shape; grey when every pixel of every image is.

    Files that are no images, or damaged ones, are skipped and counted in a note.

    Args:
      images: the files.
      request: the shape asked for.
      memory: bytes that images may take in memory: with more than a share of it in decoded RGB pixels they stream;
        all are decoded once even then.
      where: the source, for messages.
      shelf: where decoded pixels are written that are to stream; None to stream from the files.

    Raises:
      MulliganError: no images, or more than one file and more than a tenth of all skipped.
    """
    found = survey([image.file for image in images], where)
    return _decoded(
        [images[position] for position in found.images], found, len(images), request, memory, where, (), shelf
    )


def _decoded(
    images: Sequence[ImageFile],
    found: Survey,
    files: int,
    request: Request,
    memory: int,
    where: str,
    notes: tuple[str, ...],
    shelf: Shelf | None,
) -> Collection:
    sizes = np.array([(header.width, header.height) for header in found.headers])
    frame, frame_notes = choose_frame(sizes, request)
    shape = (len(images), frame.height, frame.width, 3)
    pixels, streamed = None, math.prod(shape) > memory // HELD_SHARE
    if not streamed:
        pixels = np.empty(shape, np.uint8)
    elif shelf is not None:
        pixels = shelf.array(shape)
    reading = _Reading(images, frame, pixels)
    reading.read(range(len(images)))
    ground_notes = reading.choose_ground(request)
    # Only now is it known which files are damaged: a header may be whole where the pixels are not.
    damaged = (*found.damaged, *((images[slot].file.name, str(reason)) for slot, reason in reading.refused.items()))
    refuse_many(damaged, found.others, files, where)
    whole = np.array([slot for slot in range(len(images)) if slot not in reading.refused], np.int64)
    read = [images[slot] for slot in whole]
    labels, classes, unlabelled = _classes(read)
    splits = None
    if any(image.split is not None for image in read):  # an image outside of the split folders trains
        splits = np.array([TRAIN if image.split is None else image.split for image in read])
    notes = (*skip_notes(damaged, found.others, files), *notes, *frame_notes, *ground_notes, *reading.notes())
    notes += (STREAMED,) if streamed else ()
    known = reading.digests[whole] if streamed else None
    groups = _groups(read)
    return Collection(
        reading.collected(whole), labels, splits, classes, notes, groups=groups, unlabelled=unlabelled, known=known
    )


@dataclass
class _Reading:
    """Decodes files into a frame, again where the first look shows that another ground or depth is wanted.

    Attributes:
      images: the files.
      frame: their common shape.
      pixels: where they are kept, in memory or on the disk; None to keep the digests alone.
    """

    images: Sequence[ImageFile]
    frame: Frame
    pixels: UInt8[np.ndarray, "n h w 3"] | None
    deepest: int = DEEP
    refused: dict[int, Refusal] = field(default_factory=dict)
    frames: int = 0
    deep: dict[int, int] = field(default_factory=dict)  # highest level of 16-bit grey, by slot
    visible: dict[int, tuple[float, ...]] = field(default_factory=dict)  # of what has transparency, by slot
    flat: set[int] = field(default_factory=set)
    coloured: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.digests = np.zeros(len(self.images), np.uint64)
        self.held = self.pixels is not None and not isinstance(self.pixels, np.memmap)

    def read(self, slots: Sequence[int]) -> None:
        """Decodes these files, and keeps what is to be known of each."""
        looks = in_threads(
            lambda image: look(image.file.read(), self.frame, self.deepest), [self.images[slot] for slot in slots]
        )
        rows = max(BLOCK_PIXELS // (self.frame.height * self.frame.width), 1)
        for start in range(0, len(slots), rows):
            block = dict(zip(slots[start : start + rows], looks, strict=False))
            self.refused |= {slot: seen for slot, seen in block.items() if isinstance(seen, Refusal)}
            whole = {slot: seen for slot, seen in block.items() if isinstance(seen, Look)}
            self.deep |= {slot: seen.deepest for slot, seen in whole.items() if seen.deepest}
            self.visible |= {slot: seen.visible for slot, seen in whole.items() if seen.visible}
            self.frames += sum(seen.frames for seen in whole.values())
            at, shape = np.array(list(whole), np.int64), (-1, self.frame.height, self.frame.width, 3)
            pixels = np.array([seen.pixels for seen in whole.values()], np.uint8).reshape(shape)
            if not self.held:
                self.digests[at] = digests_of(pixels)
            if self.pixels is not None:
                self.pixels[at] = pixels
            # One that is read again may be seen on another ground where it was not on the first.
            for found, are in ((self.flat, are_flat(pixels)), (self.coloured, ~are_grey(pixels))):
                found.difference_update(whole)
                found.update(at[are].tolist())

    def collected(self, whole: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w c"] | StreamedImages:
        """The images of these slots, with as many channels as they need."""
        channels = 3 if self.coloured else 1
        side = (self.frame.height, self.frame.width, channels)
        if isinstance(self.pixels, np.memmap):
            self.pixels.flush()
            read = partial(rows_with_channels, str(self.pixels.filename), channels)
            return StreamedImages(side, read, whole, at_once=True)
        if self.pixels is not None:
            pixels = self.pixels if len(whole) == len(self.pixels) else self.pixels[whole]
            return pixels if channels == 3 else np.ascontiguousarray(pixels[..., :1])
        files = [image.file for image in self.images]
        read = partial(_read_again, files, self.frame, self.deepest, channels)
        return StreamedImages(side, read, whole)

    def choose_ground(self, request: Request) -> tuple[str, ...]:
        """Reads again what is not seen well on the first ground, or at the first depth, and says so."""
        notes, again, frames = (), set(), self.frames
        if self.deep and (level := depth(max(self.deep.values()))) < DEEP:
            self.deepest, again = level, set(self.deep)
            bits = level.bit_length()
            counted = count_sentence(len(self.deep), "image")
            notes += (f"{counted} of 16 bits hold {bits} bits only: level {level:,} is taken for white.",)
        if self.visible:
            counted = count_sentence(len(self.visible), "image")
            ground, vanished = choose_ground(tuple(self.visible.values()))
            if request.background is None and ground != WHITE:
                self.frame, again = replace(self.frame, background=ground), again | set(self.visible)
                reason = f": on white, {vanished:,} of them could not be seen"
            else:
                ground, reason = request.ground, ""
            notes += (f"{counted} with transparency placed on the colour {ground}{reason}.",)
        self.read(sorted(again - set(self.refused)))
        # They were counted by the first look.
        self.frames = frames
        return notes

    def notes(self) -> tuple[str, ...]:
        frames = f"{count_sentence(self.frames, 'file')} with several pictures (animations, stacks): the first of each."
        flat = f"{count_sentence(len(self.flat), 'image')} of one colour, with nothing to be seen."
        return tuple(note for found, note in ((self.frames, frames), (self.flat, flat)) if found)


def _read_again(
    files: Sequence[StoredFile], frame: Frame, deepest: int, channels: int, index: int
) -> UInt8[np.ndarray, "h w c"]:
    """No closure, which could not be sent to another process."""
    try:
        return look(files[index].read(), frame, deepest).pixels[..., :channels]
    except UnreadableError as error:
        raise MulliganError(f"{files[index].name} was read before and no longer can be: {error}.") from error


def _classes(
    images: Sequence[ImageFile],
) -> tuple[Integer[np.ndarray, " n"] | None, tuple[str, ...] | None, str]:
    """Labels and class names, UNLABELLED for images without, or why there are none; numbers sort as such."""
    names = Counter(image.label for image in images if image.label is not None)
    if not names:
        return None, None, ""
    # Such are identifiers, and no classes.
    if len(names) == len(images) > 1:
        return None, None, "every image has a class of its own"
    ordered = tuple(sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))
    position = {name: label for label, name in enumerate(ordered)}
    labels = [UNLABELLED if image.label is None else position[image.label] for image in images]
    return np.array(labels, np.int32), ordered, ""


def _groups(images: Sequence[ImageFile]) -> Integer[np.ndarray, " n"] | None:
    """Numbers of the groups; an image in none is a group of its own. None where there are no groups."""
    if all(image.group is None for image in images):
        return None
    names: dict[str | int, int] = {}
    return np.array(
        [
            names.setdefault(slot if image.group is None else image.group, len(names))
            for slot, image in enumerate(images)
        ]
    )
