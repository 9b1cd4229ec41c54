"""Names of the entries of a table, such as `meta.race.allocation.ALLOCATIONS`, without importing its module.

The command line shows them in its help, which must not wait for JAX: they are read from the source, where a table is
a literal dict or tuple.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent


def names(table: str) -> tuple[str, ...]:
    """The names in a table of the package, in their order.

    Raises:
      LookupError: the module assigns no such table, or not as a literal whose names are literals.

    Example:
      >>> names("meta.race.allocation.ALLOCATIONS")
      ('ftrl', 'halving', 'uniform', 'single')
    """
    module, _, name = table.rpartition(".")
    tree = ast.parse((PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
    for statement in tree.body:
        # With an annotation it is another kind of statement, which has one target.
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(statement, "value", None)
            entries = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", None)
            if entries and all(isinstance(entry, ast.Constant) for entry in entries):
                return tuple(str(entry.value) for entry in entries if isinstance(entry, ast.Constant))
    raise LookupError(f"{table} is no table with literal names")


def listed(table: str) -> str:
    """The names as help shows them: `a|b|c`.

    Raises:
      LookupError: as `names` does.
    """
    return "|".join(names(table))
