"""What is read from a file is checked once, at the door: against the annotations of the type that it is to become.

`Within`, `Named` and `ByName` are put into annotations, where they also say to people what a field may hold. What
passed is trusted everywhere behind. Importing this module imports neither pydantic nor jax.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from mulligan.errors import MulliganError, printable

T = TypeVar("T")
SHOWN = 60  # characters of a value that a sentence repeats
WORDS = {  # pydantic's kinds of errors, in place of its own words
    "greater_than_equal": "it must be {ge:g} at least",
    "less_than_equal": "it can be {le:g} at most",
    "finite_number": "it must be a finite number",
    "int_type": "it must be a whole number",
    "float_type": "it must be a number",
    "string_type": "it must be text",
    "bool_type": "it must be true or false",
    "tuple_type": "it must be a list",
    "dict_type": "it must be an object",
    "dataclass_type": "it must be an object",
    "arguments_type": "it must be a list",
    "too_long": "it must have {max_length} entries at most",
    "literal_error": "it must be {expected}",
}


@dataclass(frozen=True)
class Within:
    """A number from `low` to `high`, both of them included."""

    low: float
    high: float

    def check(self, number: Any) -> int | float:
        """Of either kind, which it stays.

        Raises:
          ValueError: none, or out of range.
        """
        if isinstance(number, bool) or not isinstance(number, int | float) or not self.low <= number <= self.high:
            raise ValueError(f"it must be a number from {self.low:g} to {self.high:g}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        if source is int:
            return core_schema.int_schema(ge=int(self.low), le=int(self.high))
        # A float stays a float and an int an int, since a recipe is hashed by its JSON.
        if source == int | float:
            return core_schema.no_info_plain_validator_function(self.check)
        return core_schema.float_schema(ge=self.low, le=self.high, allow_inf_nan=False)


class _Check:
    """Something in an annotation whose `check` returns the value, or raises `ValueError` with what it must be."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class Named(_Check):
    """A name in a table, such as `game.losses.LOSSES`, that is looked at when it is needed; or one of `also`."""

    table: str
    also: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    def names(self) -> list[str]:
        module, _, table = self.table.rpartition(".")
        found = getattr(import_module(f"mulligan.{module}"), table)
        return [*self.also, *(name for name in found if name not in self.but)]

    def check(self, name: str) -> str:
        if name not in (known := self.names()):
            raise ValueError(f"{_near(name, known)}choose {_listed(known)}")
        return name


@dataclass(frozen=True)
class OneOf:
    """One of these texts."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class Line(_Check):
    """Text of one line that a terminal may show, of so many characters at most."""

    longest: int
    shortest: int = 1

    def check(self, text: str) -> str:
        if not self.shortest <= len(text) <= self.longest:
            raise ValueError(f"it must have {self.shortest} to {self.longest} characters")
        if printable(text) != text:
            raise ValueError("it holds characters that no terminal should be shown")
        return text


@dataclass(frozen=True)
class Checked(_Check):
    """A value that passes this `check` as well."""

    check: Callable[[Any], Any]


@dataclass(frozen=True)
class Once(_Check):
    """A tuple in which nothing is twice."""

    def check(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("it names something twice; leave one out")
        return values


@dataclass(frozen=True)
class ByField:
    """A named tuple that is an object in JSON, never a list."""

    def check(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("it must be an object")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class ByName:
    """Pairs of a name and a value, by name: what is an object in JSON, and can be hashed."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        pair, _ = get_args(source)
        name, value = get_args(pair)
        pairs = core_schema.dict_schema(handler.generate_schema(name), handler.generate_schema(value))
        return core_schema.no_info_after_validator_function(lambda found: tuple(sorted(found.items())), pairs)


def read(kind: type[T], document: Any, what: str, extra: Literal["forbid", "ignore"] = "forbid") -> T:
    """The JSON value `document` as a `kind`: a dataclass, a named tuple, a typed dictionary.

    Args:
      what: it is, for people: `the recipe`.
      extra: what becomes of fields that the `kind` does not have.

    Raises:
      MulliganError: it is none; the sentence names the first field that is wrong.

    Example:
      >>> from mulligan.recipe import Form
      >>> read(Form, {"kind": "linear", "final": "half"}, "the schedule")
      Traceback (most recent call last):
      mulligan.errors.MulliganError: the schedule's final is "half": it must be a number.
    """
    from pydantic import ValidationError

    try:
        text = json.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise MulliganError(f"{what} is not made of plain JSON values: {error}.") from error
    try:
        return _adapter(kind).validate_json(text, strict=True, extra=extra)
    except ValidationError as error:
        raise MulliganError(_sentence(kind, error.errors(include_url=False)[0], what)) from error


@lru_cache(maxsize=64)
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _sentence(kind: type, error: Any, what: str) -> str:
    """What pydantic found, for the person who wrote the document."""
    *parents, last = error["loc"] or ("",)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _fields(kind, parents)
        return f"{_of(what, parents)} has no field {last!r}; {_near(str(last), known)}it has {_listed(known)}."
    if error["type"] in ("missing", "missing_argument"):
        return f"{_of(what, parents)} has no {last}, which it needs."
    where = _of(what, error["loc"])
    if error["type"] == "json_invalid":
        return f"{what} cannot be read: {error['ctx']['error']}."
    if error["type"] == "value_error":
        return f"{where} is {_shown(error['input'])}: {error['ctx']['error']}."
    words = str(WORDS.get(error["type"], error["msg"].replace("Input", "it", 1))).format(**error.get("ctx", {}))
    return f"{where} is {_shown(error['input'])}: {words}."


def _of(what: str, location: Iterable[Any]) -> str:
    """Where in a document: `the recipe's architecture.latent`."""
    parts = [str(part) for part in location if part != "[key]"]
    path = ".".join(part if part.isprintable() else ascii(part) for part in parts)
    return f"{what}'s {path}" if path else what


def _fields(kind: Any, location: Iterable[Any]) -> list[str]:
    """The fields of what stands at a place in a `kind`; keys of dictionaries and places in lists change nothing."""
    record = _record(kind)
    for part in location:
        record = _record(get_type_hints(record).get(str(part))) or record
    return list(get_type_hints(record))


def _record(kind: Any) -> Any:
    """The first type with fields inside a type, such as `Form` in `tuple[tuple[str, Form], ...]`."""
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return kind
    return next(filter(None, map(_record, get_args(kind))), None)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(str(name), list(known), 1)
    return f"did you mean {close[0]!r}? " if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name or "nothing" for name in names)
