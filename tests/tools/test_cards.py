"""Weights with a card: as they were in memory, whatever the order of their rows."""

import json

import numpy as np
from safetensors.numpy import load_file

from mulligan.files import with_card
from tools.cards import write_with_card


def test_views_and_single_numbers_are_written_as_they_are(tmp_path, monkeypatch):
    turned, bias = np.arange(6, dtype=np.float16).reshape(2, 3).T, np.float16(2.0)
    write_with_card(tmp_path / "some", {"turned": turned, "bias": np.asarray(bias)}, {"licence": "Apache-2.0"})
    stored = load_file(tmp_path / "some.safetensors")
    np.testing.assert_array_equal(stored["turned"], turned)
    assert stored["bias"].shape == ()
    monkeypatch.setattr("mulligan.files.resources.files", lambda package: tmp_path)
    _, card = with_card("mulligan", "some", "some weights")
    assert list(card) == ["name", "sha256", "licence"]
    assert (card["name"], json.loads((tmp_path / "some.json").read_text())) == ("some", card)
