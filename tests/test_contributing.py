"""CONTRIBUTING.md names what is there, and every entry of a table has a word in the documentation."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
DOCUMENTED = {
    "game.losses.LOSSES": "dynamics.md",
    "game.penalties.PENALTIES": "dynamics.md",
    "game.dynamics.DYNAMICS": "dynamics.md",
    "averaging.weights.AVERAGES": "averaging.md",
    "tasks.formats.FORMATS": "tasks.md",
    "meta.race.allocation.ALLOCATIONS": "race.md",
    "exports.export.FORMATS": "export.md",
    "training.strategist.MODES": "strategies.md",
}
NAMES = [
    (name, document)
    for table, document in DOCUMENTED.items()
    for name in getattr(import_module(f"mulligan.{table.rpartition('.')[0]}"), table.rpartition(".")[2])
]


@pytest.mark.parametrize(("name", "document"), NAMES)
def test_every_entry_of_a_table_is_documented(name, document):
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / "docs" / document).read_text())


def test_files_that_the_guide_names_are_there():
    named = set(re.findall(r"`((?:mulligan|tests|docs|tools|benchmarks)/[\w/.]*)", GUIDE))
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("table", DOCUMENTED)
def test_tables_are_where_the_guide_says(table):
    module, _, name = table.rpartition(".")
    if f"`{name}`" in GUIDE:
        assert f"mulligan/{module.replace('.', '/')}.py" in GUIDE
