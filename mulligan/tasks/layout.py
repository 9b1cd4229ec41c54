"""Classes and splits that the folders of image files tell; what could mean two things is refused, not guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from mulligan.errors import MulliganError
from mulligan.tasks.splits import NAMES, TEST, TRAIN, VALIDATION, count_sentence

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), TRAIN),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation", "holdout"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), VALIDATION),
}
CONTAINERS = {"images", "image", "imgs", "img", "jpegimages", "pngimages"}  # of images of every class, beside others
FILLERS = CONTAINERS | {"set", "data", "split"}  # words beside a split's own that say nothing
FEW = 3  # images beside the folders that may be left out, or a hundredth of all
SHOWN = 4  # names in a sentence


@dataclass(frozen=True)
class Layout:
    """What the folders of `n` images tell.

    Attributes:
      kept: positions of the images that belong to the data set.
      labels: class of each of those, or None.
      splits: code of each of those, or None; one None trains.
      notes: one-line sentences on what was left out.
    """

    kept: tuple[int, ...]
    labels: tuple[str | None, ...]
    splits: tuple[int | None, ...]
    notes: tuple[str, ...] = ()


def split_of(name: str) -> tuple[int, str] | None:
    """The split that a folder's name tells, and the rest of the name.

    Example:
      >>> split_of("train2017"), split_of("testA"), split_of("DIV2K_valid_HR"), split_of("cats")
      ((0, ''), (1, 'A'), (2, 'DIV K HR'), None)
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    found = [word.lower() for word in words if word.lower() in SPLIT_WORDS]
    if len(found) != 1:
        return None
    return SPLIT_WORDS[found[0]], " ".join(word for word in words if word.lower() not in {*found, *FILLERS})


def lay_out(names: Sequence[str], folders: Iterable[str], where: str) -> Layout:
    """Reads classes and splits off the paths of images.

    Folders that hold all the images do not count. Then, where some folders at the top are called like `train` and some
    like `test` or `val`, these are splits, and what is in them classes; or each class holds such splits. Else the first
    folder of a path is the image's class.

    Args:
      names: paths with forward slashes, of files that are images.
      folders: all folders of the source, those without images too.
      where: the source, for messages.

    Raises:
      MulliganError: the folders could mean several things; the sentence says which, and how to choose.
    """
    paths = [[unicodedata.normalize("NFC", part) for part in name.split("/")[:-1]] for name in names]
    shared = _shared(paths)
    paths = [path[len(shared) :] for path in paths]
    tops = sorted({path[0] for path in paths if path})
    where = "/".join((where.rstrip("/"), *shared))
    told = {top: split for top in tops if (split := split_of(top)) is not None}
    if _are_splits(told):
        return _in_splits(names, paths, told, tops, [folder.split("/")[len(shared) :] for folder in folders], where)
    _refuse_half_splits(told, tops, paths, where)
    _refuse_containers(tops, where)
    # Splits that every class holds, as `cats/train/1.png`.
    second = {path[1] for path in paths if len(path) > 1}
    told = {name: split for name in second if (split := split_of(name)) is not None}
    whole = len(told) == len(second) and all(len(path) > 1 for path in paths) and _are_splits(told)
    inner = {name: code for name, (code, _) in told.items()} if whole else None
    labels = tuple(path[0] if path else None for path in paths)
    splits = tuple(None if inner is None else inner[path[1]] for path in paths)
    parts = [folder.split("/") for folder in folders]
    beside = {part[-1] for part in parts if tuple(part[:-1]) == shared}
    return Layout(tuple(range(len(names))), labels, splits, _missing(beside, labels))


def _shared(paths: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The folders that hold all the images, one in the other."""
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
    return tuple(level[0] for level in levels)


def _are_splits(told: dict[str, tuple[int, str]]) -> bool:
    """Whether there is a part to train on and one kept back of the same kind: `trainA` and `testA`."""
    rests = {code: {rest for other, rest in told.values() if other == code} for code in NAMES}
    held = rests[TEST] | rests[VALIDATION]
    return bool(rests[TRAIN]) and bool(held) and (held <= rests[TRAIN] or rests[TRAIN] == {""} or held == {""})


def _in_splits(
    names: Sequence[str],
    paths: Sequence[Sequence[str]],
    told: dict[str, tuple[int, str]],
    tops: Sequence[str],
    folders: Iterable[Sequence[str]],
    where: str,
) -> Layout:
    extra = [top for top in tops if top not in told]
    if extra:
        raise MulliganError(
            f"{where} holds splits ({_listed(list(told))}) and, beside them, images in {_listed(extra)}: move those "
            "into one of the splits, or elsewhere."
        )
    loose = [position for position, path in enumerate(paths) if not path]
    if len(loose) > max(FEW, len(names) // 100):
        raise MulliganError(
            f"{where} holds splits ({_listed(list(told))}) and, beside them, {count_sentence(len(loose), 'image')} in "
            f"no folder, such as {names[loose[0]]}: move those into one of the splits, or elsewhere."
        )
    kept = [position for position, path in enumerate(paths) if path]
    inside = []
    for top, *rest in (paths[position] for position in kept):
        again = bool(rest) and split_of(rest[0]) == split_of(top)  # train/train/cats, as some archives unpack
        inside.append(rest[again:])
    shared = _shared(inside)
    inside = [path[len(shared) :] for path in inside]
    _refuse_containers(sorted({path[0] for path in inside if path}), where)
    kinds = [told[paths[position][0]] for position in kept]
    trained = {rest for code, rest in kinds if code == TRAIN}
    # trainA and trainB are two domains, as of CycleGAN: the letter is the class of what lies in no folder below.
    domains = len(trained) > 1
    labels = tuple(
        path[0] if path else (rest if domains else None) for path, (_, rest) in zip(inside, kinds, strict=True)
    )
    # A folder that lies empty beside the classes of a split may be a class whose images are missing.
    inner = {folder[1] for folder in folders if len(folder) == 2 and folder[0] in told and not shared}
    left = f"{count_sentence(len(loose), 'image')} beside the folders {_listed(list(told))} left out: "
    notes = (left + _listed([names[position] for position in loose]) + ".",) if loose else ()
    return Layout(tuple(kept), labels, tuple(code for code, _ in kinds), (*notes, *_missing(inner, labels)))


def _refuse_half_splits(
    told: dict[str, tuple[int, str]], tops: Sequence[str], paths: Sequence[Sequence[str]], where: str
) -> None:
    """Refuses folders of which some could be splits: to take them for classes might train on test images."""
    plain = {top: code for top, (code, rest) in told.items() if not rest}
    held = [top for top, code in plain.items() if code != TRAIN]
    parts = [top for top in plain if top not in held and any(path[0] == top and path[1:] for path in paths if path)]
    if held and len(tops) > 1:
        others = [top for top in tops if top not in held]
        meant = f"the images in {_listed(others)} into a folder train" if others else "the training images beside them"
        raise MulliganError(
            f"{where} holds {_listed(tops)}, of which {_listed(held)} could be kept back for testing, or a class: put "
            f"{meant}, or give the class another name."
        )
    if parts and len(tops) > 1 and not all(len(path) > 1 for path in paths if path):
        raise MulliganError(
            f"{where} holds {_listed(tops)}, of which {parts[0]} holds folders of its own: give {where}/{parts[0]} if "
            "that is the data set, or move the others into it."
        )


def _refuse_containers(tops: Sequence[str], where: str) -> None:
    """Refuses `images/` beside other folders with images: masks and figures are no class."""
    held = [top for top in tops if top.lower() in CONTAINERS]
    if held and len(tops) > 1:
        others = _listed([top for top in tops if top not in held])
        raise MulliganError(
            f"{where} holds images in {held[0]} and in {others}: give {where}/{held[0]} if only those are meant; if "
            f"they are classes, give {held[0]} another name."
        )


def _missing(folders: Iterable[str], labels: Sequence[str | None]) -> tuple[str, ...]:
    """A sentence on folders beside the classes that hold no images, for a class may be missing."""
    classes = {label for label in labels if label is not None}
    bare = sorted({unicodedata.normalize("NFC", folder) for folder in folders} - classes)
    return (f"no images in {_listed(bare)}, beside the classes.",) if classes and bare else ()


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])
