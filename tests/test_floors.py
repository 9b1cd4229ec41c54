"""The house of docs/design.md, section 5: imports go down, and rooms on one floor do not know each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mulligan"

# Names on one line are one room and may know each other; a room is a folder or a module of the package.
Floors = list[list[set[str]]]
FLOORS: Floors = [
    [
        {
            "recipe",
            "types",
            "errors",
            "events",
            "commands",
            "interrupt",
            "places",
            "budget",
            "files",
            "grid",
            "documents",
            "schema",
            "tables",
        }
    ],
    [{"game"}, {"networks"}, {"online"}, {"averaging"}, {"schedules"}, {"metrics"}, {"tasks"}],
    [{"training"}],
    [{"meta"}, {"proof"}, {"latent_space"}],
    [{"report"}, {"exports"}, {"serve"}],
    [{"progress", "notebook"}],
    [{"api"}, {"keras"}],
    [{"cli", "experience_cli", "options"}, {"__init__"}],
    [{"__main__"}],
]
META_FLOORS: Floors = [  # inside meta/
    [{"space"}, {"store"}, {"cluster"}],
    [{"experience"}],
    [{"overview"}, {"predict"}, {"initialisation"}, {"schedule_learning"}],
    [{"collect"}, {"race"}],
    [{"planning"}],
    [{"fit"}, {"learn"}, {"score"}],
]
HEAVY = {
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "keras",
    "grain",
    "scipy",
    "sklearn",
    "matplotlib",
    "optuna",
    "ray",
    "evosax",
    "flax",
}
HEAVY |= {
    "sqlalchemy",
    "pyarrow",
    "datasets",
    "tensorboardX",
    "onnx",
    "onnxruntime",
    "tensorflow",
    "torch",
    "wandb",
    "pydantic",
}

RESTRICTED_READERS = ("mulligan.tasks.cifar", "mulligan.metrics.torch_file")


def room(module: str) -> str:
    """`mulligan.tasks.images` -> `tasks`; `mulligan` itself -> `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def place(name: str, floors: Floors) -> tuple[int, int]:
    """Floor of a room, and where on it."""
    return next((f, r) for f, floor in enumerate(floors) for r, rooms in enumerate(floor) if name in rooms)


def module_of(path: Path) -> str:
    """`.../mulligan/tasks/images.py` -> `mulligan.tasks.images`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported anywhere inside `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide where they go"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[str]:
    """Full names of what is imported with the module, not inside functions or for a type checker."""
    for statement in tree.body:
        checking = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)
        if not checking and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield from imports(statement)


def allowed(importer: str, imported: str, floors: Floors = FLOORS) -> bool:
    """May a module of the room `importer` import from the room `imported`?"""
    (floor, where), (other_floor, other_where) = place(importer, floors), place(imported, floors)
    return other_floor < floor or (other_floor, other_where) == (floor, where)


def module_in(name: str) -> str | None:
    """The package's module that an import of `name` reaches: itself, or what it is a name of; None for others."""
    return next((part for part in (name, name.rpartition(".")[0]) if part in MODULES), None)


MODULES = {module_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_room_has_its_floor():
    named = {name for floor in FLOORS for rooms in floor for name in rooms}
    found = {room(module) if module != "mulligan" else "__init__" for module in MODULES}
    assert found == named


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    inside = {name for name in imports(MODULES[module]) if name.split(".")[0] == "mulligan"}
    wrong = {name for name in inside if not allowed(room(module), room(name))}
    assert not wrong, f"{module} may not import {', '.join(sorted(wrong))}"


def test_every_room_of_meta_has_its_floor():
    named = {name for floor in META_FLOORS for rooms in floor for name in rooms}
    assert {module.split(".")[2] for module in MODULES if module.startswith("mulligan.meta.")} == named


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("mulligan.meta.")])
def test_imports_inside_meta_go_down_only(module):
    inside = {name.split(".")[2] for name in imports(MODULES[module]) if name.startswith("mulligan.meta.")}
    wrong = {name for name in inside if not allowed(module.split(".")[2], name, META_FLOORS)}
    assert not wrong, f"{module} may not import meta's {', '.join(sorted(wrong))}"


def test_no_module_imports_itself_by_way_of_others():
    """Cycles are errors also where an import inside a function would hide them."""
    graph = {module: {module_in(name) for name in imports(tree)} - {module, None} for module, tree in MODULES.items()}
    remaining = dict(graph)
    while free := {module for module, needs in remaining.items() if not needs & remaining.keys()}:
        remaining = {module: needs for module, needs in remaining.items() if module not in free}
    assert not remaining, f"modules in or above a cycle: {', '.join(sorted(remaining))}"


@pytest.mark.parametrize(
    "module", ["mulligan", "mulligan.cli", "mulligan.recipe", "mulligan.errors", "mulligan.budget"]
)
def test_what_everything_starts_from_imports_nothing_heavy(module):
    light = {name.split(".")[0] for name in at_import(MODULES[module])}
    assert not light & (HEAVY | {"numpy", "PIL", "rich"})


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) == "tasks"])
def test_tasks_are_read_without_jax(module):
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & {
        "jax",
        "jaxlib",
        "equinox",
        "optax",
    }
    assert not {name.split(".")[0] for name in at_import(MODULES[module])} & HEAVY


@pytest.mark.parametrize("module", MODULES)
def test_nothing_unpickles_but_the_restricted_readers(module):
    """Unpickling runs what a file says. CIFAR-10's batches and PyTorch's weights are pickles; few names are allowed."""
    dangerous = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    found = {name.split(".")[0] for name in imports(MODULES[module])} & dangerous
    assert found <= ({"pickle"} if module in RESTRICTED_READERS else set())
    calls = [ast.unparse(node) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)]
    assert not [
        call for call in calls if call.startswith(("pickle.load", "eval(", "exec(")) or "allow_pickle=True" in call
    ]


@pytest.mark.parametrize(
    ("importer", "imported", "may"),
    [
        ("report", "meta", True),
        ("meta", "report", False),
        ("game", "networks", False),
        ("recipe", "errors", True),
        ("cli", "progress", True),
        ("__init__", "cli", False),
        ("api", "cli", False),
    ],
)
def test_the_rule_itself(importer, imported, may):
    assert allowed(importer, imported) is may


@pytest.mark.parametrize(
    ("importer", "imported", "may"),
    [("race", "predict", True), ("predict", "race", False), ("race", "collect", False), ("fit", "race", True)],
)
def test_the_rule_inside_meta(importer, imported, may):
    assert allowed(importer, imported, META_FLOORS) is may
