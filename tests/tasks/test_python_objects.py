"""Images as Python holds them mean the same in every form; stand-ins take the place of other libraries."""

import jax.numpy as jnp
import numpy as np
import pytest
from pictures import encoded, noise, write_folder
from PIL import Image
from test_sources import same_images

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.images import read_task
from mulligan.tasks.kept import KEPT, keep

IMAGES = noise(12)
LABELS = np.arange(12) % 3


class Tensor:
    """As PyTorch's: it becomes an array only when it is detached, and on the host."""

    def __init__(self, values, ready=False):
        self.values, self.ready = values, ready
        self.shape = values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return Tensor(self.values[index])

    def detach(self):
        return Tensor(self.values, self.ready)

    def cpu(self):
        return Tensor(self.values, True)

    def __array__(self, dtype=None, copy=None):
        assert self.ready, "can't convert a device tensor"
        return np.asarray(self.values, dtype)


class MapDataset:
    """As torchvision's: a length, and items of any index; it knows no end."""

    classes = ("ant", "bee", "cow")

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        at = index % len(IMAGES)
        return Tensor(IMAGES[at].transpose(2, 0, 1) / np.float32(255)), int(LABELS[at])


class TensorFlowDataset:
    """As `tf.data`: it is iterated over as arrays, and says whether it ends."""

    def __init__(self, elements, cardinality):
        self.elements, self.size = elements, cardinality

    def cardinality(self):
        return np.int64(self.size)

    def as_numpy_iterator(self):
        return iter(self.elements)


def batches():
    return [(IMAGES[start : start + 5], LABELS[start : start + 5]) for start in (0, 5, 10)]


def loader():
    """As PyTorch's `DataLoader`: batches of tensors, the channels first."""
    return [[Tensor(images.transpose(0, 3, 1, 2) / np.float32(255)), Tensor(labels)] for images, labels in batches()]


PICTURES = [Image.fromarray(image) for image in IMAGES]


@pytest.mark.parametrize(
    "source",
    [
        IMAGES,
        list(IMAGES),
        tuple(IMAGES),
        jnp.asarray(IMAGES),
        [jnp.asarray(image) for image in IMAGES],
        Tensor(IMAGES),
        Tensor(IMAGES.transpose(0, 3, 1, 2)),
        [Tensor(image) for image in IMAGES],
        PICTURES,
        (image for image in IMAGES),
        IMAGES.tolist(),
        {"images": IMAGES},
        {"x": jnp.asarray(IMAGES)},
        [{"image": picture} for picture in PICTURES],
        TensorFlowDataset(list(IMAGES), 12),
        [IMAGES[:5], IMAGES[5:10], IMAGES[10:]],
        IMAGES.astype(np.float32) / 255,
        list(IMAGES.astype(np.float32) / 127.5 - 1),
    ],
)
def test_images_of_every_kind(source):
    same_images(read_task(source), IMAGES)


@pytest.mark.parametrize(
    "source",
    [
        (IMAGES, LABELS),
        (IMAGES, LABELS.tolist()),
        (jnp.asarray(IMAGES), jnp.asarray(LABELS)),
        (Tensor(IMAGES), Tensor(LABELS)),
        (PICTURES, LABELS),
        (list(IMAGES), LABELS[:, None]),
        (IMAGES, np.eye(3)[LABELS]),
        list(zip(IMAGES, LABELS, strict=True)),
        [{"image": image, "label": label} for image, label in zip(PICTURES, LABELS.tolist(), strict=True)],
        TensorFlowDataset(batches(), 3),
        TensorFlowDataset([{"image": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True)], 12),
        batches(),
        loader(),
        MapDataset(),
        {"x_train": IMAGES, "y_train": LABELS},
        {"images": IMAGES, "labels": LABELS},
    ],
)
def test_labels_of_every_kind(source):
    task = read_task(source, labels=True)
    assert len(task.classes) == 3
    owner = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    batch = task.train.take(np.arange(len(task.train)))
    assert [owner[image.tobytes()] for image in batch.images] == batch.labels.tolist()
    assert read_task(source).classes is None


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS, ("0", "1", "2")),
        (LABELS.tolist(), ("0", "1", "2")),
        (jnp.asarray(LABELS), ("0", "1", "2")),
        (LABELS.astype(float), ("0", "1", "2")),
        ([["ant", "bee", "cow"][label] for label in LABELS], ("ant", "bee", "cow")),
        (np.array(["ant", "bee", "cow"])[LABELS], ("ant", "bee", "cow")),
        (np.array([b"ant", b"bee", b"cow"])[LABELS], ("ant", "bee", "cow")),
        (np.array(["ant", "bee", "cow"], object)[LABELS], ("ant", "bee", "cow")),
        (LABELS == 1, ("0", "1")),
        (LABELS - 1, ("-1", "0", "1")),
        (np.eye(3, dtype=int)[LABELS], ("0", "1", "2")),
    ],
)
@pytest.mark.parametrize("source", [IMAGES, list(IMAGES), PICTURES], ids=["array", "list", "pictures"])
def test_labels_given_beside_the_images(source, labels, classes):
    assert read_task(source, labels=labels).classes == classes


def test_class_names_of_a_data_set():
    assert read_task(MapDataset(), labels=True).classes == ("ant", "bee", "cow")


def test_training_and_test_images_as_keras_loads_them():
    more = noise(7, seed=3)
    task = read_task(((IMAGES, LABELS), (more, np.arange(7) % 3)), labels=True)
    assert task.counts == {"train": 12, "validation": 0, "test": 7}
    np.testing.assert_array_equal(task.test.images, more)


def test_paths_in_a_list(tmp_path):
    write_folder(tmp_path, IMAGES)
    same_images(read_task(sorted(tmp_path.iterdir())), IMAGES)
    same_images(read_task([str(path) for path in sorted(tmp_path.iterdir())]), IMAGES)
    with pytest.raises(UsageError, match="there is no file"):
        read_task([tmp_path / "nowhere.png"])


def test_images_of_several_sizes_are_brought_to_one():
    sizes = [(20, 30), (32, 32), (40, 24)]
    pictures = [noise(1, h, w)[0] for h, w in sizes]
    task = read_task(pictures)
    assert task.shape == read_task([Image.fromarray(picture) for picture in pictures]).shape == (24, 24, 3)
    assert task.hash == read_task([Image.fromarray(picture) for picture in pictures]).hash
    assert task.hash == read_task([picture.astype(np.float32) / 255 for picture in pictures]).hash
    assert read_task(pictures, size=16).shape == (16, 16, 3)


def test_pictures_of_other_modes_are_read_as_their_files_are(tmp_path):
    deep = Image.fromarray((np.arange(256).reshape(16, 16) * 16).astype(np.uint16))
    clear = Image.fromarray(noise(1, 16, 16, 4)[0])
    for number, picture in enumerate((deep, clear, clear.convert("CMYK"), clear.convert("P"), clear.convert("1"))):
        (tmp_path / f"{number}.tif").write_bytes(encoded(picture, "PNG" if picture.mode == "P" else "TIFF"))
        found = read_task([picture]).train.images
        np.testing.assert_array_equal(found, read_task(tmp_path / f"{number}.tif").train.images)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ([], "there are no images in it"),
        (iter(()), "there are no images in it"),
        (7, "a int holds no images"),
        (None, "a NoneType holds no images"),
        ([IMAGES[0], "nowhere.png"], "there is no file 'nowhere.png'"),
        ([IMAGES[0], None], "number 1 is a NoneType, which is no image"),
        ({"p": IMAGES, "q": IMAGES}, "several could be the images"),
        (TensorFlowDataset([], -1), "repeats without end"),
        ("", "no data was named"),
        ("  ", "no data was named"),
    ],
)
def test_what_holds_no_images(source, sentence):
    with pytest.raises(MulliganError, match=sentence):
        read_task(source)


def test_what_does_not_end_is_refused_by_its_size():
    def endless():
        while True:
            yield IMAGES[0]

    with pytest.raises(MulliganError, match="does not end, or holds more than the 10,000 bytes"):
        read_task(endless(), memory=10_000)


def test_labels_that_do_not_fit():
    with pytest.raises(UsageError, match="there are 12 images but labels of shape"):
        read_task(IMAGES, labels=[1, 2])
    with pytest.raises(UsageError, match="array has no labels"):
        read_task(IMAGES, labels=True)
    with pytest.raises(UsageError, match="all images are of one class, 7"):
        read_task(IMAGES, labels=np.full(12, 7))
    with pytest.raises(UsageError, match="labels as a list go with images in an array"):
        read_task("digits", labels=[1, 2])


def test_what_is_kept_is_read_again_as_it_was(tmp_path):
    images, labels = noise(130), [f"c{number % 3}" for number in range(130)]
    task = read_task(images, labels=labels, groups=np.arange(130) // 2)
    keep(tmp_path / KEPT, task.collection)
    again = read_task(tmp_path / KEPT, labels=True, groups="groups")
    assert (again.hash, again.counts, again.classes) == (task.hash, task.counts, task.classes)
    np.testing.assert_array_equal(again.test.images, task.test.images)
    np.testing.assert_array_equal(again.train.labels, task.train.labels)


@pytest.mark.parametrize(
    "names",
    [
        ("images", "labels"),
        ("x", "y"),
        ("X", "Y"),
        ("data", "target"),
        ("imgs", "targets"),
        ("arr_0", "arr_1"),
        ("image", "label"),
        ("pixels", "class"),
        ("whatever", "labels"),
        ("x_train", "y_train"),
        ("train_images", "train_labels"),
        ("Xtrain", "ytrain"),
        ("trainX", "trainY"),
    ],
)
def test_names_in_an_npz(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))
    task = read_task(tmp_path / "a.npz", labels=True)
    same_images(task, IMAGES)
    assert task.classes == ("0", "1", "2")


def test_parts_in_an_npz(tmp_path):
    """As MedMNIST has them, with labels in columns."""
    images = noise(60)
    parts = {"train": slice(0, 30), "val": slice(30, 45), "test": slice(45, 60)}
    arrays = {f"{name}_images": images[part] for name, part in parts.items()}
    arrays |= {f"{name}_labels": (np.arange(60) % 3)[part, None] for name, part in parts.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    task = read_task(tmp_path / "a.npz", labels=True)
    assert task.counts == {"train": 30, "validation": 15, "test": 15}
    np.testing.assert_array_equal(task.validation.images, images[30:45])
