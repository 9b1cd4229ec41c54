"""Progress in a notebook: one cell, drawn again in place."""

import ast
import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from small_projections import small_projections

from mulligan import api
from mulligan.networks.architecture import build
from mulligan.notebook import in_notebook
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


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


def test_a_generator_shows_itself():
    network = build(ARCHITECTURE, (8, 10, 1), 2, jax.random.key(0)).gen
    generator = Generator(Recipe(architecture=ARCHITECTURE), (8, 10, 1), ("cat", "dog"), network)
    assert repr(generator) == "<mulligan generator: 10x8x1, 2 classes>"
    with Image.open(io.BytesIO(generator._repr_png_())) as picture:
        assert picture.size == (8 * 60 + 7 * 2, 3 * 48 + 2 * 2)


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path, monkeypatch, shell):
    """Cell by cell, as written but for the time that it takes; each cell's last value is what it shows."""
    monkeypatch.chdir(tmp_path)
    drawn, scope, shown = shell(ZMQInteractiveShell), {}, []
    cells = json.loads((Path(__file__).parents[1] / "examples" / "notebook.ipynb").read_text())["cells"]
    with small_projections(steps=20):
        for cell in cells:
            if cell["cell_type"] == "code":
                tree = ast.parse("".join(cell["source"]).replace('time="2m"', 'images="3k"'))
                last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
                exec(compile(tree, "cell", "exec"), scope)
                shown.append(None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), scope))
    assert "<progress" in drawn[-1]
    assert "data:image/png" in drawn[-1]
    assert repr(shown[1]).startswith("<mulligan generator: 16x16x1, 10 classes, KID@")
    assert shown[3] == ((8, 16, 16, 1), np.uint8)
    assert (tmp_path / "walk.gif").is_file()
    assert "licence of the images: CC-BY-4.0" in (tmp_path / "gan" / "card.md").read_text()
