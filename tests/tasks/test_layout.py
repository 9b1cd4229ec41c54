"""Classes and splits read off folders: by the images alone, and refused where they could mean two things."""

import unicodedata

import pytest

from mulligan.errors import MulliganError
from mulligan.tasks.layout import lay_out, split_of
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION


def paths(*folders, each=3):
    """A few images in each folder."""
    return [f"{folder}/{number}.png".removeprefix("/") for folder in folders for number in range(each)]


def told(names, folders=()):
    """Labels and splits, once for each folder of `each` images."""
    layout = lay_out(names, folders, "here")
    return [(layout.labels[slot], layout.splits[slot]) for slot in range(0, len(layout.kept), 3)]


@pytest.mark.parametrize(
    ("name", "code", "rest"),
    [
        ("train", TRAIN, ""),
        ("Training", TRAIN, ""),
        ("train_images", TRAIN, ""),
        ("training_set", TRAIN, ""),
        ("train2017", TRAIN, ""),
        ("TEST", TEST, ""),
        ("testing", TEST, ""),
        ("evaluation", TEST, ""),
        ("dev", VALIDATION, ""),
        ("valid", VALIDATION, ""),
        ("val-images", VALIDATION, ""),
        ("validation", VALIDATION, ""),
        ("trainA", TRAIN, "A"),
        ("test_B", TEST, "B"),
        ("DIV2K_train_HR", TRAIN, "DIV K HR"),
        ("test tubes", TEST, "tubes"),
    ],
)
def test_names_of_splits(name, code, rest):
    assert split_of(name) == (code, rest)


@pytest.mark.parametrize("name", ["cats", "trains", "latest", "contest", "00000", "value", "devices", "train_test"])
def test_names_that_are_none(name):
    assert split_of(name) is None


A, B = ("a", None), ("b", None)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ([""], [(None, None)]),
        (["a", "b"], [A, B]),
        (["images/a", "images/b"], [A, B]),
        (["data/images/a/deep", "data/images/b/deeper/still"], [A, B]),
        (["train/a", "train/b", "test/a", "test/b"], [("a", TRAIN), ("b", TRAIN), ("a", TEST), ("b", TEST)]),
        (["Train/a", "Valid/a", "TEST/b"], [("a", TRAIN), ("a", VALIDATION), ("b", TEST)]),
        (["set/train/a", "set/dev/b"], [("a", TRAIN), ("b", VALIDATION)]),
        (["train", "testing"], [(None, TRAIN), (None, TEST)]),
        (["train/images", "valid/images", "test/images"], [(None, TRAIN), (None, VALIDATION), (None, TEST)]),
        (["train2017", "val2017"], [(None, TRAIN), (None, VALIDATION)]),
        (["train_images/a", "test_images"], [("a", TRAIN), (None, TEST)]),
        (["trainA", "trainB", "testA", "testB"], [("A", TRAIN), ("B", TRAIN), ("A", TEST), ("B", TEST)]),
        (["training_set/training_set/a", "test_set/test_set/b"], [("a", TRAIN), ("b", TEST)]),
        (["X_train_HR", "X_valid_HR"], [(None, TRAIN), (None, VALIDATION)]),
        (["a/train", "a/test", "b/train", "b/test"], [("a", TRAIN), ("a", TEST), ("b", TRAIN), ("b", TEST)]),
        (["bus", "train", "car"], [("bus", None), ("train", None), ("car", None)]),
        (["test tube", "train station"], [("test tube", None), ("train station", None)]),
    ],
)
def test_what_folders_tell(folders, expected):
    assert told(paths(*folders)) == expected


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["train/a", "test/a", "extra"], "images in extra: move those into one of the splits, or elsewhere"),
        (["train", "test", "unlabeled/x"], "images in unlabeled"),
        (["a", "b", "test"], "of which test could be kept back for testing, or a class"),
        (["a", "val"], "of which val could be kept back"),
        (["test", "val"], "put the training images beside them"),
        (["train/a", "train/b", "figures"], "of which train holds folders of its own: give here/train"),
        (["images/a", "images/b", "masks"], "holds images in images and in masks: give here/images"),
        (["JPEGImages", "SegmentationClass"], "give here/JPEGImages"),
        (["train/images", "train/masks", "test/images", "test/masks"], "holds images in images and in masks"),
        (["images/train", "images/test", "labels/train", "labels/test"], "holds images in images and in labels"),
    ],
)
def test_what_could_mean_two_things_is_refused(folders, sentence):
    with pytest.raises(MulliganError) as caught:
        lay_out(paths(*folders), (), "here")
    assert sentence in str(caught.value)


def test_a_few_images_beside_splits_are_left_out_and_many_are_refused():
    names = [*paths("train/a", "test/a"), "logo.png"]
    layout = lay_out(names, (), "here")
    assert layout.kept == tuple(range(6))
    assert layout.notes == ("1 image beside the folders test, train left out: logo.png.",)
    with pytest.raises(MulliganError, match=r"in no folder, such as x0\.png"):
        lay_out([*names[:6], *(f"x{number}.png" for number in range(4))], (), "here")


def test_folders_without_images_are_said():
    layout = lay_out(paths("in/a", "in/b"), ["in", "in/a", "in/b", "in/c", "in/a/deeper", "docs"], "here")
    assert layout.notes == ("no images in c, beside the classes.",)
    layout = lay_out(paths("train/a", "test/a", "train/b"), ["train/a", "train/b", "train/c", "test/a"], "here")
    assert layout.notes == ("no images in c, beside the classes.",)
    assert not lay_out(paths(""), ["docs"], "here").notes


def test_one_name_in_two_spellings_of_its_bytes_is_one_class():
    composed, decomposed = (unicodedata.normalize(form, "Äpfel") for form in ("NFC", "NFD"))
    labels = lay_out(paths(f"train/{composed}", f"test/{decomposed}", "train/b", "test/b"), (), "here").labels
    assert set(labels) == {composed, "b"}
