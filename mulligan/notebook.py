"""Progress in the cell of a notebook, drawn again in place; no widgets, so it shows in every front end."""

from __future__ import annotations

import base64
import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mulligan.events import Listener, RunEvent, SamplesDrawn, read_event
from mulligan.progress import Standing, announcement

REDRAWN_SECONDS = 0.5


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; nothing is imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


@contextmanager
def notebook_listener(run: Path | None = None) -> Iterator[Listener]:
    """A listener that shows progress in the cell that runs; `run` is the run's folder if there is one already."""
    from IPython.display import display  # pyright: ignore[reportMissingImports]

    view = NotebookView(Standing(run))
    handle = display(view, display_id=True)
    drawn = time.monotonic()

    def hear(document: dict[str, Any]) -> None:
        nonlocal drawn
        news = view.observe(read_event(document))
        # A front end that is sent more than it can draw falls behind and stays so.
        if news or time.monotonic() - drawn >= REDRAWN_SECONDS:
            drawn = time.monotonic()
            handle.update(view)

    try:
        yield hear
    finally:
        handle.update(view)


class NotebookView:
    """A bar, figures, announcements and the newest samples, as HTML and as plain text."""

    def __init__(self, standing: Standing):
        self.standing = standing
        self.announced: list[str] = []
        self.samples: Path | None = None

    def observe(self, event: RunEvent) -> bool:
        """Takes in one event; true when there is something new to read or to see."""
        self.standing.observe(event)
        line = announcement(event)
        if line is not None:
            self.announced.append(line)
        if isinstance(event, SamplesDrawn) and self.standing.run:
            self.samples = self.standing.run / event.path
        return line is not None or isinstance(event, SamplesDrawn)

    def __repr__(self) -> str:
        return "\n".join([*self.announced, " | ".join(self.standing.figures())])

    def _repr_html_(self) -> str:
        said = "".join(f"<div>{html.escape(line)}</div>" for line in self.announced)
        figures = html.escape("  ".join(self.standing.figures()))
        bar = f'<progress value="{self.standing.share():.4f}" max="1"></progress> {figures}'
        picture = ""
        with suppress(OSError):  # the folder may have been moved
            encoded = base64.b64encode(self.samples.read_bytes() if self.samples else b"").decode()
            source = f"data:image/png;base64,{encoded}"
            picture = f'<br><img alt="samples" width="320" src="{source}">' if encoded else ""
        return f"<div>{said}{bar}{picture}</div>"
