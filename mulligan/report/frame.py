"""What every page has around its sections: style, script and navigation, all within the page."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from mulligan.report.markup import Child, element, join


def framed(title: str, sections: Child) -> str:
    """A whole page, that asks for nothing over a network.

    Args:
      title: of the window.
      sections: `section` elements, each with an id and an h2 for the navigation; the first has the id `result`.
    """
    assets = files("mulligan.report") / "assets"
    return Template(assets.joinpath("page.html").read_text("utf-8")).substitute(
        title=element("title", f"{title} · mulligan"),
        style=assets.joinpath("page.css").read_text("utf-8"),
        script=assets.joinpath("page.js").read_text("utf-8"),
        sections=join(sections),
    )
