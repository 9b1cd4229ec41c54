"""A made-up run, written once and copied for each test that wants to change it."""

import shutil
from pathlib import Path

import pytest
from fake_run import write_fake_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return write_fake_run(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of the test's own."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def light(run: Path) -> Path:
    """The same with only three of its sample grids, and no more pictures: quick to draw."""
    for path in sorted((run / "samples").glob("*.png"))[3:]:
        path.unlink()
    shutil.rmtree(run / "final")
    return run
