"""What people install: a wheel, in an environment of its own, without what developers need."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_an_installed_wheel_trains(tmp_path):
    def run(*command: object) -> str:
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(
            [*map(str, command)], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    [wheel] = tmp_path.glob("mulligan-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt", wheel)

    absent = {"pytest", "hypothesis", "beartype", "ruff", "tensorboardX", "pyarrow"}
    installed = {package["name"] for package in json.loads(run(programs / "pip", "list", "--format", "json"))}
    assert not installed & absent
    assert "Commands:" in run(programs / "mulligan", "--help")
    events = run(programs / "mulligan", "fit", "digits", "--time", "3s", "--out", "run", "--json").splitlines()
    assert json.loads(events[-1])["kind"] == "final"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    run(programs / "mulligan", "sample", "run", "-n", "9", "-o", "grid.png")
    assert (tmp_path / "grid.png").exists()
