"""Images as Python holds them: arrays of any library, lists, Pillow images, pairs with labels, data sets."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.arrays import collect, from_mapping
from mulligan.tasks.collection import Collection, number_classes
from mulligan.tasks.framing import Request
from mulligan.tasks.image_files import ImageFile, read_image_files
from mulligan.tasks.named_arrays import IMAGE_WORDS, LABEL_WORDS
from mulligan.tasks.splits import TEST, TRAIN
from mulligan.tasks.stored import StoredFile, one_file

CHANNELS = (1, 3, 4)
INFINITE = -1  # cardinality of a tf.data set that repeats without end


class LabelledImage(NamedTuple):
    """One image, an array or a Pillow image, and its label where there is one."""

    image: Any
    label: Any = None


def read_object(source: Any, request: Request, memory: int, labels: ArrayLike | None, groups: str | None) -> Collection:
    """Images that are held in Python.

    Args:
      source: an array of any library, `[n, h, w, c]` and the like; a list of arrays, Pillow images or paths; a pair
        `(images, labels)`, or two of them for training and test; a dict of arrays; or anything that gives images,
        pairs, dicts or batches of them by iteration, as data sets of PyTorch, TensorFlow and Hugging Face do.
      request: the shape asked for.
      memory: bytes above which what is iterated over is refused: it might never end.
      labels: of the images, in place of those that `source` has.
      groups: name of an array, where `source` is a dict.

    Raises:
      UsageError: nothing that holds images.
      MulliganError: the images cannot be used.
    """
    ground = request.background
    if isinstance(source, Mapping):
        return from_mapping({name: _plain(value) for name, value in source.items()}, "the dict", ground, groups, labels)
    if groups is not None:
        raise UsageError("groups by name are of a dict, a file or a folder: give a dict with an array of groups.")
    if isinstance(source, tuple) and len(source) == 2:
        pair = _pair(source, request, memory, labels)
        if pair is not None:
            return pair
    if (array := _as_batch(source)) is not None:
        return collect(array, _plain(labels), background=ground)
    if not any(hasattr(source, way) for way in ("__iter__", "__getitem__", "as_numpy_iterator")):
        raise UsageError(
            f"a {type(source).__name__} holds no images: give an array, a list of images, a folder or a file."
        )
    return _of_examples(list(_examples(source, memory)), request, labels, _class_names(source))


def _pair(source: tuple[Any, Any], request: Request, memory: int, labels: ArrayLike | None) -> Collection | None:
    """Of `(images, labels)`, or of two such pairs, `load_data`'s; None where it is neither."""
    if all(isinstance(part, tuple) and len(part) == 2 for part in source):
        parts = [_pair(part, request, memory, None) for part in source]
        if all(part is not None for part in parts):
            return _train_and_test(*parts)  # pyright: ignore[reportArgumentType]
        return None
    images, given = source
    if isinstance(given, str | os.PathLike | Image.Image) or not hasattr(images, "__len__"):
        return None
    found = np.asarray(_plain(given))
    same = found.ndim in (1, 2) and len(found) == len(images)
    # Two grey images of one shape are a tuple of images, not images and their one-hot labels.
    if not same or (found.ndim == 2 and found.dtype == np.uint8 and found.shape[0] == found.shape[1] > 1):
        return None
    return read_object(images, request, memory, found if labels is None else labels, None)


def _train_and_test(train: Collection, test: Collection) -> Collection:
    held = [part.images for part in (train, test) if isinstance(part.images, np.ndarray)]
    if len(held) < 2 or held[0].shape[1:] != held[1].shape[1:]:
        raise MulliganError("the training and the test images differ in shape: give both the same.")
    split = np.repeat([TRAIN, TEST], [len(images) for images in held])
    images = np.concatenate(held)
    if train.labels is None or test.labels is None or train.classes is None or test.classes is None:
        return Collection(images, split=split, notes=train.notes)
    names = [np.array(part.classes)[part.labels] for part in (train, test)]
    order = tuple(dict.fromkeys((*train.classes, *test.classes)))
    labels, classes = number_classes([order.index(name) for name in np.concatenate(names).tolist()], len(images), order)
    return Collection(images, labels, split, classes, train.notes)


def _plain(value: Any) -> Any:
    """A numpy array of what another library holds, from whatever device; other things as they are."""
    for step in ("detach", "cpu"):  # of a torch tensor
        if hasattr(value, step):
            value = getattr(value, step)()
    if isinstance(value, np.ndarray | Image.Image | str | bytes | os.PathLike) or not hasattr(value, "__array__"):
        return value
    return np.asarray(value)


def _as_batch(source: Any) -> np.ndarray | None:
    """The array of all images, if `source` is one, or a list of equal arrays or of numbers."""
    array = _plain(source)
    if isinstance(array, np.ndarray):
        return array
    leaf = source
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    try:
        return np.asarray(source) if isinstance(source, list | tuple) and isinstance(leaf, int | float) else None
    except ValueError:  # lists of several lengths
        return None


def _examples(source: Any, memory: int) -> Iterator[LabelledImage]:
    """Single images of anything that can be iterated over, as long as they fit into the memory allowed."""
    cardinality = getattr(source, "cardinality", None)
    if callable(cardinality) and int(_plain(cardinality())) == INFINITE:  # pyright: ignore[reportArgumentType]
        raise MulliganError("this data set repeats without end: leave out `.repeat()`.")
    if hasattr(source, "as_numpy_iterator"):
        elements = source.as_numpy_iterator()
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        elements = (source[index] for index in range(len(source)))  # a map-style data set may know no other end
    else:
        elements = iter(source)
    taken = 0
    for element in elements:
        for example in _single(*_parts(element)):
            image = example.image
            taken += image.nbytes if isinstance(image, np.ndarray) else 0
            taken += 4 * image.width * image.height if isinstance(image, Image.Image) else 0
            if taken > memory:
                raise MulliganError(
                    f"this data set does not end, or holds more than the {memory:,} bytes allowed in memory: take a "
                    "part of it, or save the images as files in a folder, which streams."
                )
            yield example


def _parts(element: Any) -> tuple[Any, Any]:
    """An image, or a batch, and its label."""
    if isinstance(element, Mapping):
        images = [name for name in element if name.lower() in IMAGE_WORDS] or list(element)[:1]
        labels = [name for name in element if name.lower() in LABEL_WORDS]
        return element[images[0]], element[labels[0]] if labels else None
    if isinstance(element, tuple | list) and 1 <= len(element) <= 3 and not isinstance(element[0], int | float | list):
        return element[0], element[1] if len(element) > 1 else None
    return element, None


def _single(image: Any, label: Any) -> Iterator[LabelledImage]:
    """One image as it is, or all those of a batch."""
    image, label = _plain(image), _plain(label)
    if isinstance(image, list | tuple):
        image = np.asarray(image)
    if not isinstance(image, np.ndarray):
        yield LabelledImage(image, label)
        return
    labels = None if label is None else np.asarray(label)
    batch = image.ndim > 3
    if image.ndim == 3 and (labels is None or labels.ndim):
        many = labels is not None and labels.ndim == 1 and len(labels) == len(image)
        batch = many or not {image.shape[0], image.shape[2]}.intersection(CHANNELS)
    if not batch:
        yield LabelledImage(image, label)
        return
    for row, one in enumerate(image):
        yield LabelledImage(one, None if labels is None else labels[row])


def _of_examples(
    examples: Sequence[LabelledImage], request: Request, labels: ArrayLike | None, classes: Sequence[str] | None
) -> Collection:
    if not examples:
        raise MulliganError("there are no images in it: the list or data set is empty.")
    held = [example.label for example in examples]
    given: Any = _plain(labels)
    if given is None and all(label is not None for label in held):
        try:
            given = np.asarray(held)
        except ValueError:  # of different lengths: several labels an image
            given = np.array([str(label) for label in held])
    if all(isinstance(example.image, np.ndarray) for example in examples):
        images = [example.image for example in examples]
        if len({(image.shape, image.dtype) for image in images}) == 1:
            return collect(np.stack(images), given, classes=_fitting(classes, given), background=request.background)
    files = [ImageFile(_file(index, example.image)) for index, example in enumerate(_scaled(examples))]
    read = read_image_files(files, request, 2**62, "the list")
    if read.images.shape[0] != len(files) and given is not None:
        raise MulliganError(f"{len(files) - read.images.shape[0]} of the images cannot be read: {read.notes[0]}")
    if given is None:
        return read
    numbered, names = number_classes(given, len(files), _fitting(classes, given))
    return replace(read, labels=numbered, classes=names)


def _fitting(classes: Sequence[str] | None, labels: Any) -> Sequence[str] | None:
    """Names of classes, if the labels are numbers of them."""
    numbers = np.asarray(labels) if labels is not None else np.zeros(0)
    fits = numbers.dtype.kind in "iu" and numbers.ndim == 1 and len(numbers) and numbers.min() >= 0
    return classes if classes and fits and numbers.max() < len(classes) else None


def _scaled(examples: Sequence[LabelledImage]) -> Iterator[LabelledImage]:
    """Arrays of several sizes as bytes, by the range that all of them have together."""
    arrays = [example.image for example in examples if isinstance(example.image, np.ndarray)]
    if any(array.ndim not in (2, 3) for array in arrays):
        shape = next(list(array.shape) for array in arrays if array.ndim not in (2, 3))
        raise MulliganError(f"an image of the shape {shape} is none: it must be [h, w] or [h, w, c].")
    kinds = {array.dtype for array in arrays}
    if len(kinds) > 1:
        raise MulliganError(f"the images differ in their kind of numbers ({', '.join(map(str, kinds))}): give all one.")
    # One range for all: scaled each by its own, a dark image would come out as light as the others.
    flat = np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0, np.uint8)
    levels = collect(flat.reshape(1, -1, 1)).images if flat.size else flat
    ends = iter(np.split(np.asarray(levels).ravel(), np.cumsum([array.size for array in arrays])[:-1]))
    for example in examples:
        if not isinstance(example.image, np.ndarray):
            yield example
            continue
        shape = example.image.shape
        image = next(ends).reshape(shape)
        if len(shape) == 3 and shape[2] not in CHANNELS and shape[0] in CHANNELS:
            image = image.transpose(1, 2, 0)
        yield LabelledImage(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else np.ascontiguousarray(image)))


def _file(index: int, image: Any) -> StoredFile:
    """An image as a file, so that one of Pillow's is read as its file would be."""
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if not path.is_file():
            raise UsageError(f"there is no file {str(image)!r}.")
        return one_file(path)
    if not isinstance(image, Image.Image):
        raise UsageError(
            f"number {index} is a {type(image).__name__}, which is no image: give arrays or Pillow images."
        )
    return StoredFile(f"number {index}", partial(_encoded, image))


def _encoded(image: Image.Image, n: int) -> bytes:
    stream = io.BytesIO()
    exif = image.getexif()
    # PNG has no floats and no 32-bit integers, and TIFF has; both keep every pixel.
    kind, options = ("PNG", {"compress_level": 1}) if image.mode in PNG_MODES else ("TIFF", {})
    image.save(stream, kind, exif=exif, **options) if len(exif) else image.save(stream, kind, **options)
    return stream.getvalue()[:n]


PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


def _class_names(source: Any) -> Sequence[str] | None:
    """The names of the classes that a data set of torchvision or Hugging Face knows."""
    if isinstance(named := getattr(source, "classes", None), list | tuple):
        return [str(name) for name in named]
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        found = [
            feature.names for name, feature in features.items() if name in LABEL_WORDS and hasattr(feature, "names")
        ]
        return next(islice(found, 1), None)
    return None
