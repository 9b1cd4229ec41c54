"""Hugging Face data sets: parquet files with encoded images, and data sets of the hub by name."""

from __future__ import annotations

import io
import json
import re
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
SUFFIX = ".parquet"


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
        if not file.name.lower().endswith(SUFFIX):
            continue
        try:
            table = parquet.read_table(io.BytesIO(file.read()))
        except (arrow.ArrowException, UnreadableError, OSError) as error:
            raise MulliganError(f"{file.name} cannot be read as parquet: {error}.") from error
        *folders, last = file.name.split("/")
        parts = [*folders, re.split(r"[-.]", last)[0]]
        split = next((SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS), None)
        images += _images_of_table(table, file.name, split, cached=False)
    return read_image_files(images, source.request, source.memory, source.where, source.shelf)


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
        _images_of_table(part.data.table, f"{name}/{split}", SPLIT_WORDS.get(split), cached=True)
        for split, part in splits.items()
    ]
    return [image for images in found for image in images]


def _images_of_table(table: Any, name: str, split: int | None, cached: bool) -> list[ImageFile]:
    """An image for each row, labelled by the first ClassLabel, else by an integer column `label`.

    Cells may hold the path of a file in place of its bytes; it is followed only where the datasets library `cached` it.
    """
    import pyarrow as arrow

    cells = None
    for field in table.schema:
        # The `Image` feature is a struct of bytes and path; others write the bytes alone.
        encoded = arrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if encoded or arrow.types.is_binary(field.type) or arrow.types.is_large_binary(field.type):
            cells = table[field.name]
            break
    if cells is None:
        raise MulliganError(f"{name} has no column of encoded images; its columns are {', '.join(table.column_names)}.")
    labels = _label_column(table)
    return [
        ImageFile(
            StoredFile(f"{name}#{row}", partial(_start_of_cell, cells, row, cached)),
            None if labels is None else labels[row],
            split,
        )
        for row in range(len(cells))
    ]


def _start_of_cell(cells: Any, row: int, cached: bool, n: int) -> bytes:
    """Of a cell that is bytes, or has the fields `bytes` and `path`."""
    cell = cells[row].as_py()
    encoded = cell["bytes"] if isinstance(cell, dict) else cell
    if cached and encoded is None and isinstance(cell, dict) and cell.get("path"):
        encoded = one_file(Path(cell["path"])).read()
    if encoded is None:
        raise UnreadableError("the row holds no bytes")
    return encoded[:n]


def _label_column(table: Any) -> list[str] | None:
    import pyarrow as arrow

    try:  # the features that the datasets library writes into the schema; other parquet files have none
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        features = {}
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
