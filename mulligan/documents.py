"""JSON files: read however an editor or a shell wrote them, written whole, and sealed where nobody should edit them."""

from __future__ import annotations

import codecs
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError
from mulligan.files import replace_file

MOST_BYTES = 64 * 2**20  # of a document; a recipe with the configurations of Keras models is the largest there is
SEAL = "sha256"  # the key of a document's checksum
MARKS = {  # what files that are not UTF-8 begin with; the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_json(path: Path) -> Any:
    """The value in a JSON file: UTF-8, or what begins with a byte order mark, as PowerShell and some editors write it.

    Raises:
      MulliganError: missing, too large, or no JSON.
    """
    try:
        # One byte more than is allowed tells a file that is too large from one that is just as large.
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise MulliganError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a name that no file can have
        raise MulliganError(f"{str(path)!r} cannot be the name of a file: {error}.") from error
    if len(content) > MOST_BYTES:
        raise MulliganError(f"{path} is larger than {MOST_BYTES >> 20} MB, which no document of mulligan's is.")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return json.loads(content.decode(encoding))
    except RecursionError as error:
        raise MulliganError(f"{path} is damaged: its brackets are nested too deeply.") from error
    except ValueError as error:
        raise MulliganError(f"{path} is damaged: it is not JSON ({error}).") from error


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """Writes a document whole or not at all, with a checksum of its content under the key `sha256`.

    Raises:
      MulliganError: the folder cannot be written to, or the disk is full.
    """
    plain = finite(document)
    replace_file(path, (json.dumps({**plain, SEAL: _checksum(plain)}, indent=2) + "\n").encode())


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` was given.

    Raises:
      MulliganError: as `read_json`; or it is not what was written.
    """
    document = read_json(path)
    if not isinstance(document, dict) or SEAL not in document:
        raise MulliganError(f"{path} is damaged: it has no checksum.")
    return unsealed(path, document)


def unsealed(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A document without its checksum, where it has one.

    Raises:
      MulliganError: the checksum is of another document.
    """
    content = {name: value for name, value in document.items() if name != SEAL}
    if SEAL in document and document[SEAL] != _checksum(content):
        raise MulliganError(f"{path} is damaged or was edited: its checksum does not match.")
    return content


def _checksum(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical text, however it is laid out in the file."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def finite(value: Any) -> Any:
    """As JSON gives the value back: null for numbers that JSON cannot hold, lists for tuples.

    Example:
      >>> finite({"kid": float("nan"), "n": [1, 2.5], "shape": (28, 28, 1)})
      {'kid': None, 'n': [1, 2.5], 'shape': [28, 28, 1]}
    """
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
