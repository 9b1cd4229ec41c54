"""The list of perturbations keeps up with the code that it perturbs."""

from pathlib import Path

import pytest

import mulligan
from benchmarks.common.places import ROOT
from benchmarks.robustness.mutants import MUTANTS, TESTS, Mutant
from benchmarks.robustness.perturb import perturbed

PACKAGE = Path(mulligan.__file__).parent


def test_every_perturbation_changes_the_source_as_it_is():
    for mutant in MUTANTS:
        source = (PACKAGE / mutant.file).read_text()
        assert perturbed(source, mutant) != source
        compile(perturbed(source, mutant), mutant.file, "exec")


def test_every_file_of_the_mathematical_core_is_perturbed():
    core = {f"{part}/{path.name}" for part in ("online", "averaging") for path in (PACKAGE / part).glob("[!_]*.py")}
    assert core | {"game/dynamics.py", "game/lookahead.py"} <= {mutant.file for mutant in MUTANTS}
    assert all((ROOT / test).is_file() for tests in TESTS.values() for test in tests)


@pytest.mark.parametrize("source", ["a - b", "a + b + a + b"])
def test_a_text_that_is_not_there_once_is_refused(source):
    with pytest.raises(ValueError, match="must be there once"):
        perturbed(source, Mutant("some.py", "a + b", "a - b"))
