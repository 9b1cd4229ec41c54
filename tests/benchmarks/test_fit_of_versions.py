"""The study of versions of `fit`: each runs by its own commands, and what it draws is read back as it was written."""

import subprocess
import sys
from argparse import ArgumentTypeError, Namespace

import numpy as np
import pytest

from benchmarks.common.results import Bench
from benchmarks.quality import fit_of_versions as study

# A version whose `fit` keeps its images and whose `sample` writes them as they are.
COMMANDS = """
import json, pathlib, sys
import numpy as np
from PIL import Image
words = sys.argv[1:]
if words[0] == "fit":
    run = pathlib.Path(words[words.index("--out") + 1])
    run.mkdir()
    np.save(run / "images.npy", np.load(words[1]))
    print(json.dumps({"kind": "start"}))
    print(json.dumps({"time": words[words.index("--time") + 1], "seed": words[words.index("--seed") + 1]}))
else:
    out = pathlib.Path(words[words.index("-o") + 1])
    out.mkdir()
    for index, image in enumerate(np.load(pathlib.Path(words[1]) / "images.npy")):
        Image.fromarray(image.squeeze()).save(out / f"{index:06d}.png")
"""


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "then" / "mulligan"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(COMMANDS)
    return tmp_path / "then"


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_version_draws_is_what_its_commands_wrote(tmp_path, checkout, channels):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, channels), np.uint8)
    drawn, result = study.Version(checkout, tmp_path / "home").draws(images, 60, 3)
    np.testing.assert_array_equal(drawn, images)
    assert result == {"time": "60s", "seed": "3"}


def test_a_command_that_fails_says_why(tmp_path, checkout, capfd):
    (checkout / "mulligan" / "__main__.py").write_text("raise SystemExit('no such option')")
    with pytest.raises(subprocess.CalledProcessError):
        study.Version(checkout, tmp_path / "home").draws(np.zeros((2, 8, 8, 1), np.uint8), 60, 0)
    assert "no such option" in capfd.readouterr().err


def test_the_table_compares_runs_of_one_family_and_seed(tmp_path, capsys):
    bench = Bench(tmp_path)
    for of, energy in (("now", 0.1), ("then", 0.4)):
        judged = {space: {"energy": energy, "kid": 0.0} for space in study.SPACES}
        key = {"family": "birds", "side": 64, "time": 120, "of": of, "seed": 0}
        bench.once(key, lambda judged=judged: {"judged": judged})
    capsys.readouterr()
    study.table(Namespace(output=tmp_path, versions=("now", "then")))
    assert "median 0.25, mean 0.25 (0.25 to 0.25), 1 runs" in capsys.readouterr().out


def test_a_folder_without_mulligan_is_no_version(tmp_path):
    with pytest.raises(ArgumentTypeError, match="holds mulligan"):
        study._version(f"then={tmp_path}")


def test_versions_run_with_the_interpreter_of_the_study(checkout, tmp_path):
    (checkout / "mulligan" / "__main__.py").write_text("import sys; print(sys.executable)")
    assert study.Version(checkout, tmp_path)._command("fit").strip() == sys.executable
