"""Names read from the source of a table are those of the table."""

from importlib import import_module

import pytest
from typer.main import get_command

from mulligan import cli
from mulligan.tables import listed, names

SHOWN = {  # the table that an option of a command shows in its help
    ("fit", "strategy"): "training.strategist.MODES",
    ("fit", "race"): "meta.race.allocation.ALLOCATIONS",
    ("export", "to"): "exports.export.FORMATS",
}


@pytest.mark.parametrize("table", SHOWN.values())
def test_names_are_those_of_the_table(table):
    module, _, name = table.rpartition(".")
    assert names(table) == tuple(getattr(import_module(f"mulligan.{module}"), name))


@pytest.mark.parametrize(("command", "option"), SHOWN)
def test_help_lists_the_whole_table(command, option):
    [found] = [each for each in get_command(cli.app).commands[command].params if each.name == option]
    assert found.metavar == listed(SHOWN[command, option])


@pytest.mark.parametrize("table", ["recipe.NOTHING", "networks.layers.PLAIN", "networks.layers.SLOPE"])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(LookupError, match="no table"):
        names(table)
