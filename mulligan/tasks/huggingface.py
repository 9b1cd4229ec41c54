"""Hugging Face data sets: parquet files with encoded images, and data sets of the hub by name."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, first_line, optional_import
from mulligan.tasks.collection import Collection
from mulligan.tasks.image_files import ImageFile, read_image_files
from mulligan.tasks.layout import SPLIT_WORDS
from mulligan.tasks.source import Source
from mulligan.tasks.stored import StoredFile, UnreadableError, one_file

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
HUB_PREFIX = "hf:"


def is_parquet(name: str) -> bool:
    """Whether a file is called like one."""
    return name.lower().endswith(".parquet")


def read_parquet(source: Source) -> Collection:
    """Reads the encoded images of parquet files, whose names tell the split: `data/train-00000-of-00001.parquet`.

    Raises:
      MulliganError: pyarrow is not installed, or a file is damaged or has no column of encoded images.
    """
    with optional_import("pyarrow", "reading parquet", "parquet"):
        import pyarrow as arrow
        from pyarrow import parquet
    images = []
    for file in source.listing.files:
        if not is_parquet(file.name):
            continue
        try:
            table = parquet.read_table(io.BytesIO(file.read()))
        except (arrow.ArrowException, UnreadableError, OSError) as error:
            raise MulliganError(f"{file.name} cannot be read as parquet: {error}.") from error
        images += _images_of_table(table, file.name, _split_of_name(file.name), _embedded)
    return read_image_files(images, source.request, source.memory, source.where)


def read_hub(name: str) -> list[ImageFile]:
    """The encoded images of a data set of the Hugging Face hub, downloaded by the `datasets` library.

    Raises:
      MulliganError: the library is not installed, or the data set cannot be loaded.
    """
    with optional_import("datasets", f"reading {name} from the hub", "datasets"):
        import datasets  # pyright: ignore[reportMissingImports]
    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # network, permissions, scripts: whatever the library raises
        reason = first_line(error)
        raise MulliganError(f"the data set {name!r} cannot be loaded from the hub: {reason}") from error
    found = [
        _images_of_table(part.data.table, f"{name}/{split}", SPLIT_WORDS.get(split), _embedded_or_cached)
        for split, part in splits.items()
    ]
    return [image for images in found for image in images]


def _split_of_name(name: str) -> int | None:
    *folders, last = name.split("/")
    parts = [*folders, re.split(r"[-.]", last)[0]]
    return next((SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS), None)


def _images_of_table(table: Any, name: str, split: int | None, content: Callable[[Any], bytes]) -> list[ImageFile]:
    """An image for each row, labelled by the first ClassLabel, else by an integer column `label`.

    `content` takes a cell of the image column to the encoded bytes.
    """
    features = _features(table.schema)
    cells = _encoded_column(table, name)
    labels = _label_column(table, features)
    return [
        ImageFile(
            StoredFile(f"{name}#{row}", partial(_start_of_cell, content, cells, row)),
            None if labels is None else labels[row],
            split,
        )
        for row in range(len(cells))
    ]


def _features(schema: Any) -> dict[str, Any]:
    """The features that the datasets library writes into the schema; empty in other parquet files."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}


def _encoded_column(table: Any, name: str) -> Any:
    import pyarrow as arrow

    for field in table.schema:
        encoded = arrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if encoded or arrow.types.is_binary(field.type) or arrow.types.is_large_binary(field.type):
            return table[field.name]
    raise MulliganError(f"{name} has no column of encoded images; its columns are {', '.join(table.column_names)}.")


def _start_of_cell(content: Callable[[Any], bytes], cells: Any, row: int, n: int) -> bytes:
    return content(cells[row].as_py())[:n]


def _embedded(cell: Any) -> bytes:
    """The bytes in a cell, which is bytes, or has the fields `bytes` and `path`; the path is never followed."""
    encoded = cell["bytes"] if isinstance(cell, dict) else cell
    if encoded is None:
        raise UnreadableError("the row holds no bytes")
    return encoded


def _embedded_or_cached(cell: Any) -> bytes:
    """As `_embedded`, or the file that the datasets library downloaded and left outside of its table."""
    if isinstance(cell, dict) and cell["bytes"] is None and cell.get("path"):
        return one_file(Path(cell["path"])).read()
    return _embedded(cell)


def _label_column(table: Any, features: dict[str, Any]) -> list[str] | None:
    import pyarrow as arrow

    named = [column for column, feature in features.items() if isinstance(feature, dict) and "names" in feature]
    plain = [column for column in ("label", "labels") if column in table.column_names]
    column = next(iter([*named, *plain]), None)
    if column is None or not arrow.types.is_integer(table.schema.field(column).type):
        return None
    names = features.get(column, {}).get("names")
    values = table[column].to_pylist()
    if any(value is None for value in values):
        return None
    return [names[value] if names and 0 <= value < len(names) else str(value) for value in values]
