"""The documentation: its commands, options, targets, code and links are real."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from mulligan import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/README.md")]
}
PROMISES = ("docs/design.md", "docs/log/")  # tell of what is planned, or was tried
COMMANDS = typer.main.get_command(cli.app).commands


def found(pattern: str) -> list[tuple[str, str]]:
    """(document, what the pattern's group caught) in all documents that tell of what there is."""
    pairs = [(name, re.findall(pattern, text, re.MULTILINE)) for name, text in DOCUMENTS.items()]
    return [(name, part) for name, parts in pairs if not name.startswith(PROMISES) for part in parts]


CALLS = found(r"`(mulligan [^`]+)`") + found(r"^ *(mulligan .+)$")  # inside sentences, and in blocks
PYTHON = found(r"^```python\n((?:.*\n)*?)```$")


@pytest.mark.parametrize(("document", "line"), CALLS)
def test_commands_and_options_exist(document, line):
    words = shlex.split(line, comments=True)[1:]
    command = COMMANDS[words[0]]
    for name in words[1:2] if hasattr(command, "commands") else []:
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", ">"}
    assert {word for word in words[1:] if word.startswith("-")} <= known


def test_readme_shows_every_command():
    shown = {line.split()[1] for document, line in CALLS if document == "README.md"}
    assert shown | {"demo"} == set(COMMANDS)


@pytest.mark.parametrize(("document", "target"), found(r"(?:^|`)make (\w+)"))
def test_make_targets_exist(document, target):
    assert target in re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_local_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", DOCUMENTS[name])
    missing = [link for link in links if "://" not in link and not (ROOT / name).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize(("document", "code"), PYTHON)
def test_python_compiles(document, code):
    compile(code, document, "exec")


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path, monkeypatch):
    """As written, but for the time that it takes."""
    from PIL import Image
    from sklearn.datasets import load_digits

    (tmp_path / "photos").mkdir()
    for index, image in enumerate(load_digits().images[:200]):
        Image.fromarray((16 * image).clip(0, 255).astype("uint8")).save(tmp_path / "photos" / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    [code] = [code for document, code in PYTHON if document == "README.md"]
    assert 'time="10m"' in code
    scope = {}
    exec(code.replace('time="10m"', 'images="2k"'), scope)
    assert scope["images"].shape == (64, 8, 8, 1)
    assert (scope["again"].sample(64, seed=0) == scope["images"]).all()
