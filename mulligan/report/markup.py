"""HTML that is safe by construction: text is escaped unless it is already `Html`."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Iterable[Any] | None  # an iterable is of children
VOID = frozenset({"img", "input", "br", "meta"})  # elements without an end tag


def element(name: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element.

    Args:
      name: of the tag.
      children: `Html` goes in as it is, other text escaped; None is nothing; lists are flattened.
      attributes: `class_` is `class`, `data_x` is `data-x`; True is one without value, None and False none.

    Example:
      >>> element("p", "a < b", element("b", "!"), class_="note", hidden=True)
      '<p class="note" hidden>a &lt; b<b>!</b></p>'
    """
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Children one after another."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(html.escape(children))
    return Html("".join(join(child) for child in children))


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
