"""JSON documents: sealed ones are what was written or are refused."""

import contextlib
import json

import pytest

from mulligan.documents import read_json, read_sealed, unsealed, write_sealed
from mulligan.errors import MulliganError

DOCUMENT = {"seed": 3, "budget": {"images": 1000}, "shape": (8, 8, 1), "kid": float("nan"), "name": "Wörter"}


@pytest.fixture
def file(tmp_path):
    write_sealed(tmp_path / "run.json", DOCUMENT)
    return tmp_path / "run.json"


def test_what_was_written_is_read(file):
    assert read_sealed(file) == {**DOCUMENT, "shape": [8, 8, 1], "kid": None}


def test_layout_does_not_matter_and_content_does(file):
    document = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(document.items()))))
    assert read_sealed(file)["seed"] == 3
    file.write_text(json.dumps(document | {"seed": 4}))
    with pytest.raises(MulliganError, match=r"run\.json is damaged or was edited"):
        read_sealed(file)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"seed": 3}', '{"sha256": null}'])
def test_what_is_no_sealed_document_is_one_sentence(content, file):
    file.write_text(content)
    with pytest.raises(MulliganError, match=r"run\.json"):
        read_sealed(file)


def test_every_single_bit_that_flips_is_noticed_or_changes_nothing(file):
    whole, content = read_sealed(file), file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with contextlib.suppress(MulliganError):
            assert read_sealed(file) == whole  # only white space changed


def test_a_document_without_a_seal_is_left_as_it_is(file):
    assert unsealed(file, {"a": 1}) == {"a": 1}


def test_what_is_larger_than_any_document_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mulligan.documents.MOST_BYTES", 10)
    (tmp_path / "large.json").write_text("[1, 2, 3, 4, 5]")
    with pytest.raises(MulliganError, match="is larger than"):
        read_json(tmp_path / "large.json")
