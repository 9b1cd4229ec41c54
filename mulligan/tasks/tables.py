"""Classes and splits that tables beside image files tell: `labels.csv`, Hugging Face's metadata, `dataset.json`.

Where there is no table, classes may stand in a file beside each image.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mulligan.errors import MulliganError
from mulligan.tasks.layout import SPLIT_WORDS
from mulligan.tasks.stored import StoredFile, UnreadableError
from mulligan.tasks.survey import Refusal, in_threads

STYLEGAN = "dataset.json"  # as StyleGAN's dataset tool writes it: folders are mere shards
SIDECAR = ".cls"  # beside each image its class, as WebDataset has it
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
TABLES = ("metadata.csv", "metadata.jsonl", "labels.csv", "dataset.json")  # that tell of images wherever they lie
DELIMITERS = ",;\t|"
MOST_BYTES = 2**28  # of one table
MOST_CLASS = 256  # bytes of a class in a file of its own
MOST_TABLES = 64  # more are an image's own each, and no table
DEEPEST = 3  # folders above a table
LEAST = 0.5  # share of the rows that must name an image for a file to be a table of the images
FILE_COLUMNS = ("file_name", "filename", "file", "image_path", "image_name", "image", "img", "filepath", "path", "name")
FILE_COLUMNS += ("image_id", "img_name", "id", "fname")
LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "category_name",
    "target",
    "class_id",
    "label_id",
)
SPLIT_COLUMNS = ("split", "subset", "partition", "set")
NO_LABELS = ("text", "caption", "prompt", "url", "bbox")
Row = Mapping[str, Any]


@dataclass
class Told:
    """What tables tell of images, by position; `names` and `paths` are the tables' own."""

    labels: dict[int, str] = field(default_factory=dict)
    splits: dict[int, int] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    shards: bool = False  # whether folders are no classes, since a table names the images
    contradiction: str = ""  # which tables disagree on a class
    damaged: list[str] = field(default_factory=list)  # names of tables that cannot be read


def read_tables(files: Sequence[StoredFile], images: Sequence[str], groups: str | None = None) -> Told:
    """Reads the tables among `files` that tell of `images`, which are paths as the files' own.

    Args:
      files: all files of a source.
      images: names of those that are images.
      groups: a column whose values are groups that the split keeps together.

    Raises:
      MulliganError: two tables, or two rows, put an image into different splits.
    """
    told, finder = Told(), _Finder(images)
    candidates = [file for file in files if file.name.lower().endswith(SUFFIXES) and file.name.count("/") < DEEPEST]
    for file in sorted(candidates, key=lambda file: file.name.lower().endswith(".json"))[:MOST_TABLES]:
        folder, _, last = file.name.rpartition("/")
        told.shards = told.shards or last.lower() == STYLEGAN
        before = len(told.names)
        rows = _rows(file)
        if rows is None and last.lower() in TABLES:
            told.damaged.append(last)
        _take(told, rows or [], finder, folder, last, groups)
        if len(told.names) > before or last.lower() == STYLEGAN:
            told.paths.add(file.name)
    if not told.labels:
        _take_sidecars(told, files, images)
    return told


def _take_sidecars(told: Told, files: Sequence[StoredFile], images: Sequence[str]) -> None:
    """Adds the classes in files that are called as the images are, if most of these have one."""
    sidecars = {file.name.removesuffix(SIDECAR): file for file in files if file.name.endswith(SIDECAR)}
    beside = [(position, sidecars.get(name.rpartition(".")[0])) for position, name in enumerate(images)]
    found = [(position, file) for position, file in beside if file is not None]
    if not found or len(found) < LEAST * len(images):
        return
    told.paths.update(file.name for file in sidecars.values())
    for (position, _), text in zip(found, in_threads(_sidecar, [file for _, file in found]), strict=True):
        if not isinstance(text, Refusal):
            told.labels[position] = text
    told.names.append(f"the {SIDECAR} files")


def _sidecar(file: StoredFile) -> str:
    """The class in a file of its own.

    Raises:
      UnreadableError: there is none.
    """
    try:
        text = _text(file.start(MOST_CLASS).decode())
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise UnreadableError("no class")
    return text


class _Finder:
    """Finds an image by what a table calls it: its path, or its file name with or without suffix."""

    def __init__(self, images: Sequence[str]):
        self.paths: dict[str, int] = {}
        self.short: dict[str, int | None] = {}  # None for names that several images have
        for position, name in enumerate(images):
            plain = unicodedata.normalize("NFC", name)
            self.paths[plain] = position
            last = plain.rpartition("/")[2]
            for key in {last, last.rpartition(".")[0]}:
                self.short[key] = None if key in self.short else position

    def find(self, folder: str, cell: Any) -> int | None:
        if not isinstance(cell, str | int):
            return None
        name = unicodedata.normalize("NFC", str(cell).strip()).replace("\\", "/").removeprefix("./")
        inside = f"{folder}/{name}" if folder else name
        found = self.paths.get(inside, self.paths.get(name))
        return found if found is not None else self.short.get(name.rpartition("/")[2])


def _take(told: Told, rows: Sequence[Row], finder: _Finder, folder: str, name: str, groups: str | None) -> None:
    """Adds what a table's rows tell, if they are of the images."""
    column = _file_column(rows, finder, folder)
    if column is None:  # also where there are no rows
        return
    found = [(position, row) for row in rows if (position := finder.find(folder, row.get(column))) is not None]
    if len(found) < LEAST * len(rows):
        return
    columns = list(dict.fromkeys(key for row in rows[:100] for key in row))
    told.names.append(name)
    told.columns.update(columns)
    _fill(told, found, _named(columns, SPLIT_COLUMNS), "splits")
    below = sum(name.startswith(f"{folder}/") for name in finder.paths) if folder else len(finder.paths)
    # In a table of the whole data set, the one column beside the files is that of the classes, whatever it is called.
    others = [other for other in columns if other != column and _named([other], SPLIT_COLUMNS) is None]
    others = [other for other in others if other.lower().strip() not in NO_LABELS]
    only = others[0] if others and len(columns) == 2 and len(found) >= LEAST * below else None
    _fill(told, found, _named(columns, LABEL_COLUMNS) or only, "labels")
    _fill(told, found, groups if groups in columns else None, "groups")


def _fill(told: Told, found: Sequence[tuple[int, Row]], column: str | None, kind: str) -> None:
    values: dict[int, Any] = getattr(told, kind)
    if column is None:
        return
    for position, row in found:
        cell = row.get(column)
        # Splits are told by name alone: numbers mean different things in different data sets.
        value = SPLIT_WORDS.get(str(cell).strip().lower()) if kind == "splits" else _text(cell)
        if value is None:
            continue
        if values.setdefault(position, value) == value or kind == "groups":
            continue
        tables = told.names[-2:]
        told.contradiction = f"{' and '.join(tables)} contradict{'s itself' if len(tables) == 1 else ' each other'}"
        if kind == "splits":
            raise MulliganError(f"{told.contradiction} in the split of an image: keep one of them.")


def _file_column(rows: Sequence[Row], finder: _Finder, folder: str) -> str | None:
    """The column that names images: by what it is called, or else by what it holds."""
    columns = list(dict.fromkeys(key for row in rows[:100] for key in row))
    named = [column for wanted in FILE_COLUMNS for column in columns if column.lower().strip() == wanted]
    some = rows[:: max(len(rows) // 200, 1)]
    for column in [*named, *(column for column in columns if column not in named)]:
        cells = [row.get(column) for row in some]
        names = cells if column in named else [cell for cell in cells if "." in str(cell)]  # 1, 2, 3 may be anything
        if some and sum(finder.find(folder, cell) is not None for cell in names) >= LEAST * len(some):
            return column
    return None


def _named(columns: Iterable[str], wanted: Sequence[str]) -> str | None:
    called = {column.lower().strip(): column for column in columns}
    return next((called[name] for name in wanted if name in called), None)


def _text(cell: Any) -> str | None:
    """A class as text; None for what is none: an empty cell, numbers between integers, several labels."""
    if isinstance(cell, list) and len(cell) == 1:
        return _text(cell[0])
    if isinstance(cell, list):
        numbers = [value for value in cell if isinstance(value, int | float)]
        one_hot = len(numbers) == len(cell) and sorted(numbers)[-1:] == [1] and sum(numbers) == 1
        return str(numbers.index(1)) if one_hot else None
    if cell is None or isinstance(cell, dict):
        return None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else None
    return unicodedata.normalize("NFC", str(cell).strip()) or None


def _rows(file: StoredFile) -> list[Row] | None:
    """The rows of a table; None where the file is none, or damaged."""
    try:
        content = file.start(MOST_BYTES)
        # Spreadsheets save text as UTF-16, or as UTF-8 with a byte order mark.
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        return _json_rows(text) if file.name.lower().endswith((".json", ".jsonl")) else _csv_rows(text)
    except (UnreadableError, ValueError, csv.Error, RecursionError):
        return None


def _csv_rows(text: str) -> list[Row]:
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    if not lines:
        return []
    # A first line without any word of a header is a row already.
    known = {*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS}
    has_header = any(cell.lower().strip() in known for cell in lines[0])
    header = lines[0] if has_header else [f"column {number}" for number in range(len(lines[0]))]
    return [dict(zip(header, line, strict=False)) for line in lines[has_header:]]


def _json_rows(text: str) -> list[Row]:
    """Rows of JSON lines, of a list of objects, of StyleGAN's `labels`, or of an object from names to classes."""
    stripped = text.lstrip()
    try:
        content = json.loads(stripped)
    except ValueError:
        if not stripped.startswith("{") or "\n" not in stripped:
            raise
        return [row for line in stripped.splitlines() if line.strip() and isinstance(row := json.loads(line), dict)]
    if isinstance(content, dict) and isinstance(content.get("labels"), list):
        pairs = [pair for pair in content["labels"] if isinstance(pair, list) and len(pair) == 2]
        content = [{"file": name, "label": label} for name, label in pairs]
    elif isinstance(content, dict):
        if all(isinstance(value, str | int) for value in content.values()):
            content = [{"file": name, "label": value} for name, value in content.items()]
        else:
            content = [content]
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
