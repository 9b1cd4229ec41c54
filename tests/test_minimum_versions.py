"""The versions that the project asks for at least are enough: an environment of exactly these trains and draws."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = '{"architecture": {"family": "mlp", "gen_width": 16, "disc_width": 16, "gen_depth": 1, "disc_depth": 1}}'
PIP = ("--disable-pip-version-check", "install", "--quiet", "--no-compile")
OF_TESTS = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}  # every command would compile what it imports anew


def declared() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_every_dependency_has_a_minimum():
    assert all(">=" in each and "," not in each for each in declared())


@pytest.mark.slow
def test_the_least_versions_train_and_draw(tmp_path):
    venv.create(tmp_path / "venv")
    python = str(tmp_path / "venv" / "bin" / "python")
    install = (sys.executable, "-m", "pip", "--python", python, *PIP)
    reached = subprocess.run([*install, "hatchling"], capture_output=True, text=True, check=False, timeout=300)
    if reached.returncode:
        pytest.skip("needs a package index")
    (tmp_path / "least.txt").write_text("\n".join(each.replace(">=", "==") for each in declared()))
    run(*install, "--no-build-isolation", "-c", str(tmp_path / "least.txt"), str(ROOT), folder=tmp_path)
    (tmp_path / "recipe.json").write_text(RECIPE)
    budget = ("--images", "2k", "--recipe", "recipe.json", "--experience", "own.db")
    run(python, "-m", "mulligan", "fit", "digits", *budget, "--out", "run", folder=tmp_path)
    run(python, "-m", "mulligan", "sample", "run", "-n", "4", "-o", "grid.png", folder=tmp_path)
    assert (tmp_path / "grid.png").stat().st_size > 0
    assert "digits" in run(python, "-m", "mulligan", "experience", "list", "--experience", "own.db", folder=tmp_path)


def run(*command: str, folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in OF_TESTS}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
