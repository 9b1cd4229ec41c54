"""Data sets by the names that other libraries give them; stand-ins are the libraries."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.images import read_task

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8) for n in (60, 20))


@pytest.fixture
def keras_datasets(monkeypatch):
    """Stands in for `keras.datasets`."""

    def load_data():
        return (TRAIN, np.arange(60)[:, None] % 3), (TEST, np.arange(20)[:, None] % 3)

    datasets = SimpleNamespace(cifar10=SimpleNamespace(load_data=load_data))
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "keras.datasets", datasets)
    return datasets


def test_a_data_set_of_keras_keeps_its_test_split_and_labels(keras_datasets):
    task = read_task("keras:cifar10", labels=True)
    assert task.name == "keras:cifar10"
    assert task.shape == (8, 8, 3)
    assert task.counts["test"] == 20
    assert task.classes == ("0", "1", "2")


def test_tensorflow_datasets_by_name(monkeypatch):
    sources = {
        "train": [{"image": image, "label": n % 2} for n, image in enumerate(TRAIN)],
        "test": [{"image": image, "label": n % 2} for n, image in enumerate(TEST)],
    }
    library = SimpleNamespace(data_source=lambda name: sources)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", library)
    task = read_task("tfds:some/thing", labels=True)
    assert task.counts["test"] == 20
    assert task.classes == ("0", "1")
    sources["train"][0] = {"image": TRAIN[0][:4], "label": 0}
    with pytest.raises(MulliganError, match="differ in size: save them to a folder"):
        read_task("tfds:some/thing")
    sources["train"][0] = {"text": "no"}
    with pytest.raises(MulliganError, match="holds no images: its examples have text"):
        read_task("tfds:some/thing")


def test_without_a_network_it_says_what_to_do(keras_datasets):
    def load_data():
        raise OSError("Name or service not known\nmore")

    keras_datasets.cifar10.load_data = load_data
    with pytest.raises(
        MulliganError, match=r"not on this machine and could not be fetched \(Name or service not known\)"
    ):
        read_task("keras:cifar10")


def test_an_unknown_name_and_a_missing_library(keras_datasets, monkeypatch):
    with pytest.raises(UsageError, match="Keras has no data set of images 'imdb'; choose keras:mnist, keras:fashion"):
        read_task("keras:imdb")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MulliganError, match=r"tfds:mnist needs tensorflow-datasets: pip install 'mulligan\[tfds\]'"):
        read_task("tfds:mnist")
