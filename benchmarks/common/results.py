"""Results of long benchmarks, kept one a line as they come, so that what is done is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulligan.training.device import machine


class Bench:
    """What is known so far, and where it is kept."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.results: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def known(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The result of this key, where there is one."""
        of_key = (each for each in self.results if all(each.get(name) == value for name, value in key.items()))
        return next(of_key, None)

    def once(self, key: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of this key; works it out where it is not there."""
        if (found := self.known(key)) is not None:
            return found
        began = time.monotonic()
        result = {**key, **work(), "seconds": round(time.monotonic() - began, 1), "machine": machine()}
        self.results.append(result)
        with self.path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps({name: value for name, value in result.items() if name != "machine"}), flush=True)
        return result
