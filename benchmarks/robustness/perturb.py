"""Whether the tests hold the formulas: perturbs each formula once and tells which perturbations no test notices.

    .venv/bin/python benchmarks/robustness/perturb.py
    .venv/bin/python benchmarks/robustness/perturb.py --only online/simplex.py --show

The perturbations are listed in `mutants.py`. Each is made in a copy of the package, in a folder that is deleted, and
the tests named beside it are run there until one fails. Before that they are run on the copy as it is, and must pass.
Hypothesis draws the same examples every time. Ends with status 1 when a perturbation survives.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.places import ROOT
from benchmarks.robustness.mutants import MUTANTS, TESTS, Mutant

COPIED = ("mulligan", "tests", "benchmarks", "tools")
LOADED = ("jax", "equinox", "optax", "scipy.optimize", "hypothesis", "jaxtyping", "beartype", "pytest")
TOO_LONG = 900.0  # seconds, after which a test counts as failed: a perturbed loop may never end
NO_FORMULA = ("NameError", "SyntaxError", "AttributeError", "TypeCheckError")  # a perturbation that cannot run at all


class Outcome(NamedTuple):
    """What the tests made of it."""

    noticed: bool
    seconds: float
    output: str


def perturbed(source: str, mutant: Mutant) -> str:
    """The source with the perturbation made.

    Raises:
      ValueError: the text is not there exactly once.

    >>> perturbed("w = a + b", Mutant("some.py", "a + b", "a - b"))
    'w = a - b'
    """
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file} has {mutant.old!r} {source.count(mutant.old)} times; it must be there once.")
    return source.replace(mutant.old, mutant.new)


def pytest_in(folder: str, tests: Sequence[str], output: str) -> None:
    """Runs these tests of the copy until one fails; ends the process with pytest's status."""
    import pytest
    from hypothesis import Phase, settings

    # That there is a failure is enough: a simpler one need not be looked for.
    settings.register_profile("brief", phases=(Phase.explicit, Phase.generate), database=None)
    settings.load_profile("brief")
    os.chdir(folder)
    sys.path[:] = [folder, *(path for path in sys.path if Path(path) not in (ROOT, Path(__file__).parent))]
    with open(output, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not slow", *tests])
    package = sys.modules.get("mulligan")
    if package and not str(package.__file__).startswith(folder):
        status = 99
    os._exit(int(status))


def test(context: ForkServerContext, folder: Path, tests: Sequence[str]) -> Outcome:
    """Runs the tests in a process of its own, which begins with everything but the package loaded."""
    began, output = time.monotonic(), folder / "output"
    process = context.Process(target=pytest_in, args=(str(folder), tests, str(output)))
    process.start()
    process.join(TOO_LONG)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode not in (0, 1, 2, -9):  # passed, failed, could not be imported, took too long
        raise SystemExit(f"pytest ended with status {process.exitcode}:\n{output.read_text()}")
    return Outcome(process.exitcode != 0, time.monotonic() - began, output.read_text())


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """A copy of the package and its tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "copy"
        leave = shutil.ignore_patterns("__pycache__", "results", ".venv", ".pytest_cache")
        for part in COPIED:
            shutil.copytree(ROOT / part, folder / part, ignore=leave)
        shutil.copy(ROOT / "pyproject.toml", folder)
        yield folder


def forked() -> ForkServerContext:
    """Processes that begin with the libraries loaded; compiled programs are shared among them."""
    programs = Path(sys.prefix) / "compiled" / f"jaxlib-{version('jaxlib')}"  # those of the tests (tests/conftest.py)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(programs))
    os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    os.environ |= {"CI": "perturb", "MULLIGAN_EXPERIENCE": "none", "PYTHONDONTWRITEBYTECODE": "1"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    return context


def main() -> None:

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(TESTS), default=list(TESTS), help="files of the package")
    parser.add_argument("--matching", default="", help="only perturbations whose text holds this")
    parser.add_argument("--show", action="store_true", help="print which test failed, too")
    chosen = parser.parse_args()
    context, survivors, tried = forked(), [], 0
    with copied() as folder:
        for file in chosen.only:
            if test(context, folder, TESTS[file]).noticed:
                raise SystemExit(f"{' '.join(TESTS[file])} fail as they are:\n{(folder / 'output').read_text()}")
        for mutant in (m for m in MUTANTS if m.file in chosen.only and chosen.matching in m.old + m.new):
            path = folder / "mulligan" / mutant.file
            source = path.read_text()
            path.write_text(perturbed(source, mutant))
            outcome = test(context, folder, TESTS[mutant.file])
            path.write_text(source)
            if any(f"E   {error}" in outcome.output or f".{error}: " in outcome.output for error in NO_FORMULA):
                raise SystemExit(f"this perturbation does not run:\n{told(mutant, outcome)}\n{outcome.output}")
            tried += 1
            print(told(mutant, outcome), flush=True)
            if chosen.show:
                print(*(line for line in outcome.output.splitlines() if line.startswith("FAILED")), sep="\n")
            survivors += [] if outcome.noticed else [mutant]
    print(f"\n{tried} perturbations, {len(survivors)} of which no test noticed.")
    sys.exit(bool(survivors))


def told(mutant: Mutant, outcome: Outcome) -> str:
    """A line for each perturbation."""
    verdict = "noticed " if outcome.noticed else "SURVIVES"
    old, new = (" ".join(text.split()) for text in (mutant.old, mutant.new))
    return f"{verdict} {outcome.seconds:5.1f}s {mutant.file}: {old}  ->  {new}"


if __name__ == "__main__":
    main()
