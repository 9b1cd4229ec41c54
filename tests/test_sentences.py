"""Every sentence that names an option or a command names one that is there, where the sentence is said."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from mulligan import cli

PACKAGE = Path(__file__).resolve().parents[1] / "mulligan"
OPTION = re.compile(r"(?<![\w-])(?:(?P<command>[a-z]+) )?(?P<option>--[a-z][a-z-]*)(?![a-z:-])")
PROGRAM = typer.main.get_command(cli.app)
FOUND = PROGRAM.commands | {f"experience {name}": of for name, of in PROGRAM.commands["experience"].commands.items()}
COMMANDS = {name: {word for option in command.params for word in option.opts} for name, command in FOUND.items()}

# Which commands say what a module raises; a room stands for all of its modules that are not named themselves.
SAID_BY = {
    "mulligan.api": {"fit"},
    "mulligan.experience_cli": {"experience remove"},
    "mulligan.exports": {"export"},
    "mulligan.meta.fit": {"fit"},
    "mulligan.meta.collect": {"learn"},
    "mulligan.meta.initialisation.episodes": {"learn"},
    "mulligan.meta.initialisation.few_images": {"fit"},
    "mulligan.meta.initialisation.growth": {"fit"},
    "mulligan.meta.initialisation.init_file": {"fit"},
    "mulligan.meta.planning": {"fit"},
    "mulligan.meta.race.on_cluster": {"fit"},
    "mulligan.networks.architecture": {"fit"},
    "mulligan.networks.keras_models": {"resume", "average", "sample", "export", "serve", "score", "report"},
    "mulligan.serve": {"serve"},
    "mulligan.tasks": {"fit", "learn", "score"},
    "mulligan.training.class_balance": {"fit"},
    "mulligan.training.run": {"fit", "demo"},
}


@cache
def sentences() -> list[tuple[str, str]]:
    """Every text in the package, with its module, that is no docstring, no help and no option alone."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found += [(module, text) for text in _texts(ast.parse(path.read_text())) if not OPTION.fullmatch(text)]
    return found


def _texts(tree: ast.AST) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    standing = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    helping = {id(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg in ("help", "epilog")}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if id(node) in standing | helping:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def said_by(module: str) -> set[str]:
    """The commands that say what this module raises."""
    known = [name for name in SAID_BY if module == name or module.startswith(f"{name}.")]
    assert known, f"{module} names an option: enter in SAID_BY which commands say its sentences"
    return SAID_BY[max(known, key=len)]


# As the command line says them: parameters in backticks are its options.
NAMING = [(module, said) for module, text in sentences() if OPTION.search(said := cli.as_options(text))]


@pytest.mark.parametrize(("module", "text"), NAMING)
def test_a_sentence_names_options_that_its_commands_have(module, text):
    for found in OPTION.finditer(text):
        commands = [found["command"]] if found["command"] in COMMANDS else said_by(module)
        for command in commands:
            assert found["option"] in COMMANDS[command], f"`mulligan {command}` says: {text}"


def test_there_are_sentences_to_check():
    assert len(NAMING) > 10


def test_the_library_names_parameters_and_no_options():
    """But inside a command, such as `mulligan fit --recipe`, and where it is the command line that must be used."""
    allowed = ("mulligan.cli", "mulligan.experience_cli", "mulligan.networks.keras_models")
    named = [
        (module, text)
        for module, text in sentences()
        for found in OPTION.finditer(re.sub(r"`mulligan [^`]*`", "", text))
        if module not in allowed and found["command"] not in COMMANDS
    ]
    assert not named


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_its_own_options_or_those_of_a_command_it_names(command):
    found = FOUND[command]
    texts = [
        found.help or "",
        *(option.help or "" for option in found.params if isinstance(option, typer.core.TyperOption)),
    ]
    for named in (match for text in texts for match in OPTION.finditer(text)):
        assert named["option"] in COMMANDS[named["command"] if named["command"] in COMMANDS else command]


@pytest.mark.parametrize("text", sorted({text for _, text in sentences() if "`mulligan " in text}))
def test_a_command_that_is_named_exists(text):
    for name in re.findall(r"`mulligan ([a-z]+)", text):
        assert name in COMMANDS
