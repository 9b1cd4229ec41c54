"""HTML that is safe by construction: text is escaped unless it is already `Html`."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
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
    opening = name
    for key, value in attributes.items():
        if value is not None and value is not False:
            opening += " " + key.rstrip("_").replace("_", "-")
            opening += "" if value is True else f'="{html.escape(str(value))}"'
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


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]], numbers: Collection[int] = ()) -> Html:
    """A table that scrolls by itself where it is too wide.

    Args:
      heads: of the columns.
      rows: cells, as many as there are heads.
      numbers: columns, from 0 on, whose cells are aligned as figures.
    """
    kinds = ["number" if place in numbers else None for place in range(len(heads))]
    head = [element("th", name, class_=kind) for name, kind in zip(heads, kinds, strict=True)]
    body = [
        element("tr", [element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)]) for row in rows
    ]
    return element("div", element("table", element("tr", head), body), class_="scroll")
