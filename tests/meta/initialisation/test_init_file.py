"""Files given for initial weights: what they hold is checked before anything is made of it."""

import copy
import dataclasses

import jax
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.meta.initialisation.adaptation import fresh_initialisation
from mulligan.meta.initialisation.init_file import (
    PretrainedInit,
    read_pretrained,
    shipped_pretrained,
    write_pretrained,
)
from mulligan.meta.initialisation.learn_initialisation import INNER
from mulligan.recipe import Architecture
from mulligan.training import checkpoint

NETS = Architecture("mlp", 4, 4, 1, 1, latent=8)
TOLD = {"tasks": 7, "sources": ["made up"], "descriptor": {"mean": 0.9}, "episodes": 3}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of initial weights."""
    recipe = dataclasses.replace(INNER, batch=4, architecture=NETS)
    learned = fresh_initialisation(NETS, (16, 16, 1), 1e-3, jax.random.key(3))
    path = tmp_path_factory.mktemp("init") / "w.safetensors"
    write_pretrained(path, PretrainedInit(learned, recipe, (16, 16, 1), 2, TOLD))
    return path


def test_what_was_written_is_read(good):
    assert read_pretrained(good).provenance == TOLD
    assert shipped_pretrained() is None or read_pretrained(shipped_pretrained()).updates > 0


DOCUMENTS = {
    "no format": (["format"], None, "format"),
    "a newer format": (["format"], 2, "newer version of mulligan"),
    "format of text": (["format"], "1", "format"),
    "shape of two": (["shape"], [16, 16], "shape"),
    "shape of text": (["shape"], "16x16", "shape"),
    "sides beyond all": (["shape"], [10**9, 10**9, 1], "shape"),
    "another shape": (["shape"], [24, 16, 1], "another network"),
    "no updates": (["updates"], 0, "updates"),
    "updates without end": (["updates"], 10**12, "updates"),
    "updates of a fraction": (["updates"], 2.5, "updates"),
    "recipe of text": (["recipe"], "the default", "recipe"),
    "loss unknown": (["recipe", "loss"], "hingey", "loss"),
    "widths beyond all": (["recipe", "architecture", "gen_width"], 10**9, "gen_width"),
    "another network": (["recipe", "architecture", "gen_width"], 5, "another network"),
    "provenance of text": (["provenance"], "my computer", "provenance"),
    "tasks of text": (["provenance", "tasks"], "many", "tasks"),
    "sources that clear the terminal": (["provenance", "sources"], ["\x1b[2J"], "sources"),
    "no mean": (["provenance", "descriptor"], {}, "mean"),
    "mean of text": (["provenance", "descriptor", "mean"], "light", "mean"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_what_it_says_is_checked_field_by_field(good, tmp_path, case):
    where, value, words = DOCUMENTS[case]
    saved = checkpoint.read(good)
    document = copy.deepcopy(saved.progress)
    inner = document
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = value
    checkpoint.write(tmp_path / "x.safetensors", saved.arrays, document)
    with pytest.raises(MulliganError, match=words) as error:
        read_pretrained(tmp_path / "x.safetensors")
    assert str(error.value).isprintable()


ARRAYS = {
    "not finite": (lambda array: np.full_like(array, np.nan), "not finite"),
    "infinite": (lambda array: np.full_like(array, np.inf), "not finite"),
    "whole numbers": (lambda array: array.astype(np.int32), "int32"),
    "double": (lambda array: array.astype(np.float64), "float64"),
    "transposed": (lambda array: np.ascontiguousarray(array[None]), "another network"),
    "empty": (lambda array: np.zeros(0, np.float16), "another network"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_weights_are_those_of_its_networks(good, tmp_path, case):
    change, words = ARRAYS[case]
    saved = checkpoint.read(good)
    name = next(iter(saved.arrays))
    checkpoint.write(tmp_path / "x.safetensors", saved.arrays | {name: change(saved.arrays[name])}, saved.progress)
    with pytest.raises(MulliganError, match=words):
        read_pretrained(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:4],
        lambda content: b"",
        lambda content: b"\xff" * 8 + content[8:],  # a header of 2**64 bytes
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"not weights at all",
    ],
)
def test_a_damaged_file_is_one_sentence(good, tmp_path, spoil):
    (tmp_path / "x.safetensors").write_bytes(spoil(good.read_bytes()))
    with pytest.raises(MulliganError, match=r"x\.safetensors cannot be used"):
        read_pretrained(tmp_path / "x.safetensors")


def test_other_files_of_weights_are_no_initial_weights(tmp_path):
    for progress in ({}, {"nimg": 0}):
        checkpoint.write(tmp_path / "x.safetensors", {"a": np.zeros(2)}, progress)
        with pytest.raises(MulliganError, match="holds no initial weights"):
            read_pretrained(tmp_path / "x.safetensors")
