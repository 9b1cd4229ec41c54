"""Which image goes into which split, and the hashes that the answer rests on."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int8, Int64, Integer, UInt8, UInt64

from mulligan.errors import MulliganError

TRAIN, TEST, VALIDATION = 0, 1, 2  # codes of the `split` array in an .npz
DROPPED = -1
CAP = 5000  # most images that a made validation or test split takes
FEWEST = 20  # images kept back, in both splits together, below which none are: fewer cannot judge
BLOCK = 2**22  # bytes of pixels that one thread hashes at a time
THREADS = os.cpu_count() or 1
NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}


class Assignment(NamedTuple):
    """A code for each image (TRAIN, TEST, VALIDATION or DROPPED), and sentences on how it came about."""

    codes: Int8[np.ndarray, " n"]
    notes: tuple[str, ...]


class Parts(NamedTuple):
    """Indices of the images of each split, ascending, and sentences on how they came about."""

    train: Int64[np.ndarray, " a"]
    validation: Int64[np.ndarray, " b"]
    test: Int64[np.ndarray, " c"]
    notes: tuple[str, ...]


def digest(image: UInt8[np.ndarray, "h w c"]) -> int:
    """64-bit BLAKE2b of an image's pixels. A grey image has the same digest with one channel or three."""
    return int(_digests_of_block(image[None])[0])


def are_grey(images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
    """Whether all channels of each image agree in every pixel."""
    first = images[..., 0]
    return np.all([(images[..., other] == first).all(axis=(1, 2)) for other in range(images.shape[3])], axis=0)


def digests_of(images: UInt8[np.ndarray, "n h w c"]) -> UInt64[np.ndarray, " n"]:
    """The digest of every image; of a mapped file no more than a few blocks are in memory at a time."""
    rows = max(1, BLOCK // max(images[:1].nbytes, 1))
    blocks = [images[start : start + rows] for start in range(0, len(images), rows)]
    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate([np.zeros(0, np.uint64), *pool.map(_digests_of_block, blocks)])


def _digests_of_block(images: UInt8[np.ndarray, "n h w c"]) -> UInt64[np.ndarray, " n"]:
    """The digest of each, with the channels compared all at once."""
    images = np.ascontiguousarray(images)
    grey = are_grey(images)
    first = np.ascontiguousarray(images[..., 0])
    hashed = (
        hashlib.blake2b(first[row] if same else images[row], digest_size=8).digest() for row, same in enumerate(grey)
    )
    return np.frombuffer(b"".join(hashed), "<u8").astype(np.uint64)


def content_hash(
    shape: tuple[int, int, int], digests: UInt64[np.ndarray, " n"], labels: Integer[np.ndarray, " n"] | None
) -> str:
    """A stable name for a set of images with labels, whatever their order: 16 hexadecimal digits."""
    labels = np.zeros(len(digests), np.int32) if labels is None else labels
    # By digest, then label, and in one byte order: the name is the same whatever the order and the machine.
    order = np.lexsort((labels, digests))
    hasher = hashlib.sha256(repr(tuple(int(side) for side in shape)).encode())
    hasher.update(digests[order].astype("<u8").tobytes())
    hasher.update(labels[order].astype("<i4").tobytes())
    return hasher.hexdigest()[:16]


def split(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"] | None = None,
    given: Integer[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Parts:
    """Splits images into train, validation and test that share no image.

    Where `given` (0 train, 1 test, 2 validation) has a split it stands, except that training images which
    also occur in another split are dropped, and validation images which also occur in the test split. What
    it lacks is taken from train at random: a tenth each, at most 5000, stratified by label; nothing where that leaves
    fewer than `FEWEST` images kept back, or a class without a training image. Copies of one image stay together.

    Args:
      images: `n >= 1` images.
      labels: of any integers; they stratify.
      given: codes of a split that the source brings.
      seed: of the random part.

    Raises:
      MulliganError: no images, or `given` has other codes or no training images.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 1), np.uint8)
      >>> [len(part) for part in split(images)[:3]]
      [400, 50, 50]
    """
    codes, notes = assign(digests_of(images), labels, given, seed)
    train, validation, test = (np.flatnonzero(codes == code) for code in (TRAIN, VALIDATION, TEST))
    return Parts(train, validation, test, notes)


def assign(
    digests: UInt64[np.ndarray, " n"],
    labels: Integer[np.ndarray, " n"] | None = None,
    given: Integer[np.ndarray, " n"] | None = None,
    seed: int = 0,
    groups: Integer[np.ndarray, " n"] | None = None,
) -> Assignment:
    """As `split`, from the images' digests alone; images of one group (a number each) stay together as copies do.

    Raises:
      MulliganError: as `split` does.
    """
    if not len(digests):
        raise MulliganError("there are no images to split.")
    if groups is not None:
        digests = _joined(digests, groups)
    codes, notes = (np.zeros(len(digests), np.int8), ()) if given is None else _without_leaks(given, digests)
    wanted = [code for code in (VALIDATION, TEST) if not (codes == code).any()]
    if not wanted:
        return Assignment(codes, (*notes, f"the source's own split: {_counts(codes)}."))
    carved = _carve(codes, digests, labels, wanted, seed)
    if np.isin(carved, (VALIDATION, TEST)).sum() < FEWEST:
        missing = " or ".join(NAMES[code] for code in wanted)
        images = count_sentence(int((codes == TRAIN).sum()), "training image")
        return Assignment(codes, (*notes, f"{images}, too few to split: all of them train, with no {missing} split."))
    taken = " and ".join(NAMES[code] for code in wanted)
    return Assignment(carved, (*notes, f"{taken} taken from train at random (seed {seed}): {_counts(carved)}."))


def _joined(digests: UInt64[np.ndarray, " n"], groups: Integer[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """A number for each image, equal where copies or groups connect two: the lowest is handed on until all agree."""
    ways = [np.unique(way, return_inverse=True)[1] for way in (groups, digests)]
    joined = np.arange(len(digests))
    while True:
        before = joined
        for way in ways:
            lowest = np.full(way.max() + 1, len(digests))
            np.minimum.at(lowest, way, joined)
            joined = lowest[way]
        if (joined == before).all():
            # the number must not depend on the order of the files, so it is the lowest digest that is joined
            lowest = np.full(len(digests), np.iinfo(np.uint64).max, np.uint64)
            np.minimum.at(lowest, joined, digests)
            return lowest[joined]


def _without_leaks(
    given: Integer[np.ndarray, " n"], digests: UInt64[np.ndarray, " n"]
) -> tuple[Int8[np.ndarray, " n"], tuple[str, ...]]:
    """The given codes, less the images that would leak from one split into another."""
    unknown = sorted(set(np.unique(given).tolist()) - set(NAMES))
    if unknown:
        raise MulliganError(f"'split' holds {unknown[0]}; it takes 0 for train, 1 for test and 2 for validation.")
    codes = given.astype(np.int8)
    # Of copies the test split keeps its own, then the validation split: what judges stays whole.
    in_test = np.isin(digests, digests[codes == TEST])
    codes[(codes != TEST) & in_test] = DROPPED
    codes[(codes == TRAIN) & np.isin(digests, digests[codes == VALIDATION])] = DROPPED
    if not (codes == TRAIN).any():
        raise MulliganError("the source's split leaves no training images that are not in its other splits.")
    dropped = int((codes == DROPPED).sum())
    if not dropped:
        return codes, ()
    return codes, (f"{count_sentence(dropped, 'image')} dropped that the source has in several splits.",)


def _carve(
    codes: Int8[np.ndarray, " n"],
    digests: UInt64[np.ndarray, " n"],
    labels: Integer[np.ndarray, " n"] | None,
    wanted: list[int],
    seed: int,
) -> Int8[np.ndarray, " n"]:
    """Moves a tenth of the training images, at most CAP, into each wanted split; copies move together.

    No class loses its last training image.
    """
    train = np.flatnonzero(codes == TRAIN)
    _, first, group, sizes = np.unique(digests[train], return_index=True, return_inverse=True, return_counts=True)
    label = np.zeros(len(train), np.int64) if labels is None else np.unique(labels[train], return_inverse=True)[1]
    # Copies are a group, which moves as a whole: the labels in group order, and where each group ends.
    members, ends = label[np.argsort(group, kind="stable")], np.cumsum(sizes)
    left = np.bincount(label)
    room = dict.fromkeys(wanted, min(CAP, len(train) // 10))
    group_codes = np.full(len(first), TRAIN, np.int8)
    for chosen in _stratified_order(label[first], np.random.default_rng(seed)).tolist():
        fitting = [code for code in wanted if sizes[chosen] <= room[code]]
        gone = np.bincount(members[ends[chosen] - sizes[chosen] : ends[chosen]], minlength=len(left))
        if fitting and (gone < left)[gone > 0].all():
            group_codes[chosen] = fitting[0]
            room[fitting[0]] -= int(sizes[chosen])
            left -= gone
        if not any(room.values()):
            break
    carved = codes.copy()
    carved[train] = group_codes[group]
    return carved


def _stratified_order(labels: Integer[np.ndarray, " n"], rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """A random order of which every stretch has about the classes' shares.

    It sorts by `(rank in class + u) / class size`, with `u` uniform in [0, 1) for each.
    """
    _, label = np.unique(labels, return_inverse=True)
    shuffled = rng.permutation(len(label))
    together = shuffled[np.argsort(label[shuffled], kind="stable")]
    sizes = np.bincount(label)
    rank = np.arange(len(label)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return together[np.argsort((rank + rng.random(len(label))) / np.repeat(sizes, sizes), kind="stable")]


def count_sentence(n: int, noun: str) -> str:
    """`n` things in words.

    Example:
      >>> count_sentence(1688, "image"), count_sentence(1, "image")
      ('1,688 images', '1 image')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _counts(codes: Int8[np.ndarray, " n"]) -> str:
    return ", ".join(f"{(codes == code).sum():,} {name}" for code, name in NAMES.items())
