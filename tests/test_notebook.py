"""Progress in a notebook: one cell, drawn again in place."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from mulligan import api
from mulligan.notebook import in_notebook


class ZMQInteractiveShell:  # named as that of the kernel
    pass


class TerminalInteractiveShell:
    pass


@pytest.fixture
def shell(monkeypatch):
    """Stands in for IPython: a function that says which shell runs; `drawn` holds what its cell showed."""
    drawn = []
    handle = SimpleNamespace(update=lambda view: drawn.append(view._repr_html_()))

    def display(view, display_id):
        drawn.append(view._repr_html_())
        return handle

    def use(kind):
        ipython = ModuleType("IPython")
        ipython.get_ipython = kind
        displayed = ModuleType("IPython.display")
        displayed.display = display
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", displayed)
        return drawn

    return use


def test_only_a_kernel_is_a_notebook(shell):
    assert not in_notebook()
    for kind, expected in ((TerminalInteractiveShell, False), (lambda: None, False), (ZMQInteractiveShell, True)):
        shell(kind)
        assert in_notebook() is expected


def test_a_cell_shows_how_far_it_is_what_is_said_and_the_samples(shell, tmp_path):
    drawn = shell(ZMQInteractiveShell)
    (tmp_path / "run.json").write_text(json.dumps({"budget": {"images": 100}}))
    Image.new("L", (8, 8)).save(tmp_path / "grid.png")

    with api._listening(None) as listen:
        for event in (
            {"kind": "samples", "nimg": 0, "seconds": 0.0, "run": str(tmp_path), "path": "grid.png"},
            {"kind": "note", "nimg": 0, "seconds": 0.0, "text": "<few> images"},
            {"kind": "chunk", "nimg": 50, "seconds": 1.0, "images_per_second": 50.0},
        ):
            listen(event)
    assert "&lt;few&gt; images" in drawn[-1]
    assert 'value="0.5000"' in drawn[-1]
    assert "data:image/png;base64," in drawn[-1]


@pytest.mark.parametrize("kind", [ZMQInteractiveShell, TerminalInteractiveShell])
def test_a_listener_of_ones_own_is_asked_instead(shell, kind):
    drawn, told = shell(kind), []
    with api._listening(told.append) as listen:
        listen({"kind": "x"})
    assert (told, drawn) == ([{"kind": "x"}], [])
