"""Weights that ship, with their cards: what `mulligan.files.with_card` reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from mulligan.files import replace_file


def write_with_card(out: Path, arrays: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> None:
    """Writes `OUT.safetensors` and `OUT.json`, and tells their size.

    Args:
      out: without an ending; its name is the card's.
      arrays: by name, in the precision that ships.
      card: all but the name and the digest.
    """
    # Of views the library would write the memory as it lies, whatever their order.
    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    card = {"name": out.name, "sha256": hashlib.sha256(content).hexdigest(), **card}
    replace_file(out.with_suffix(".safetensors"), content)
    replace_file(out.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    print(f"{out.name}: {len(content)} bytes, SHA-256 {card['sha256']}")
