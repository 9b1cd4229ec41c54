"""What people install: a wheel, in an environment of its own, without what developers need."""

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What tests set for themselves, and people do not (tests/conftest.py).
OF_TESTS = {"PYTHONPATH", "VIRTUAL_ENV", "MULLIGAN_EXPERIENCE", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"}
OF_TESTS |= {"PYTHONDONTWRITEBYTECODE"}  # every command would compile what it imports anew


def declared() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_every_dependency_has_a_minimum():
    assert all(">=" in each and "," not in each for each in declared())


@pytest.mark.slow
def test_an_installed_wheel_trains_as_it_ships_with_the_least_versions_it_asks_for(tmp_path):
    """With the shipped experience, as many samples as ship, and programs compiled as they are for people."""
    clean = {name: value for name, value in os.environ.items() if name not in OF_TESTS}
    clean["MULLIGAN_EXPERIENCE"] = str(tmp_path / "own.db")

    def run(*command: object) -> str:
        done = subprocess.run(
            [*map(str, command)], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    [wheel] = tmp_path.glob("mulligan-*.whl")
    venv.create(tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", programs / "python")
    least = tmp_path / "least.txt"
    least.write_text("\n".join(each.replace(">=", "==") for each in declared()))
    run(*pip, "install", "--quiet", "--no-compile", "-c", least, wheel)

    absent = {"pytest", "hypothesis", "beartype", "ruff", "tensorboardX", "pyarrow"}
    installed = {package["name"] for package in json.loads(run(*pip, "list", "--format", "json"))}
    assert not installed & absent
    assert "Commands:" in run(programs / "mulligan", "--help")
    lines = run(programs / "mulligan", "fit", "digits", "--time", "3s", "--out", "run", "--json").splitlines()
    events = {event["kind"]: event for event in map(json.loads, lines)}
    assert events["plan"]["trials"] > 900
    assert events["plan"]["expected"]["low"] < events["plan"]["expected"]["high"]
    assert events["data"]["counts"] == {"train": 1439, "validation": 179, "test": 179}
    assert json.loads(lines[-1]) == events["final"]
    assert (events["final"]["split"], events["final"]["n_real"]) == ("test", 179)
    assert events["final"]["n_fake"] >= 1000
    listed = json.loads(run(programs / "mulligan", "experience", "list", "--json"))
    assert [(source["name"], source["trials"] > 0) for source in listed["sources"]] == [
        ("shipped", True),
        ("here", True),
    ]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    run(programs / "mulligan", "sample", "run", "-n", "9", "-o", "grid.png")
    assert (tmp_path / "grid.png").exists()
