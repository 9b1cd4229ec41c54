"""What every test runs under: shapes checked at every call, compiled programs kept, cores shared out."""

import gc
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

install_import_hook("mulligan", "typechecker.checked")

# Set before jax is imported, and inherited by the programs that tests start.
PROGRAMS = Path(sys.prefix) / "compiled" / f"jaxlib-{version('jaxlib')}"  # shared by workers and later runs
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
CHEAP = "--xla_backend_optimization_level=0"  # most of a test's time is compiling
if version("jaxlib").startswith("0.10."):  # halves it once more; later versions do not know the flag
    CHEAP += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    CHEAP += " --xla_cpu_prefer_vector_width=128 --xla_embed_ir_in_executable=false"
os.environ.setdefault("XLA_FLAGS", CHEAP)
os.environ.setdefault("KERAS_BACKEND", "jax")

os.environ.setdefault("MULLIGAN_EXPERIENCE", "none")  # runs neither depend on what ran before nor change what is kept

gc.set_threshold(20_000)  # tracing makes many objects that stay, and looking for cycles after each 700 is slow

# Compiling takes its time, and fifty examples a run are thousands in a week.
settings.register_profile("mulligan", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("mulligan")


def pytest_configure(config: pytest.Config) -> None:
    """Gives each parallel worker its own cores, for XLA and BLAS size their thread pools by what they may use."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= workers:
        own = cores[int(worker.removeprefix("gw")) :: workers]
        os.sched_setaffinity(0, own)
        threadpool_limits(len(own), "blas")  # NumPy's threads were there before, and would wait for each other


@pytest.fixture(autouse=True, scope="session")
def nothing_kept() -> Iterator[None]:
    """Nothing that tests read or measure is kept in the user's cache, and nothing is foreseen from what is there."""
    from mulligan.meta.space import prices
    from mulligan.tasks import read_before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_before, "SLOW_SECONDS", float("inf"))
        patch.setattr(read_before, "DISK_SHARE", 0.0)
        patch.setattr(prices, "cache_folder", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def arms_in_turn() -> Iterator[None]:
    """Races train in the test's process, whatever cores it has: what a test replaces is not replaced in others."""
    from mulligan.meta.race import race

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "lanes", lambda task, footprints: 1)
        yield


@pytest.fixture(autouse=True, scope="module")
def few_fakes() -> Iterator[None]:
    """Runs are judged by fewer samples: most of the time of a small run is judging."""
    from mulligan.meta.collect import trial
    from mulligan.training import evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "FAKES", 200)
        patch.setattr(evaluation, "FINAL_FAKES", 300)
        patch.setattr(trial, "FAKES", 100)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker begins one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    _skip_what_needs_an_accelerator(items)


def _skip_what_needs_an_accelerator(items: list[pytest.Item]) -> None:
    """Where there is none."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import jax

    if jax.default_backend() == "cpu":
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator, and this machine has none"))
