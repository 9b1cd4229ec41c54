"""Compiled programs onto the disk, and what machine this is."""

from types import SimpleNamespace

import pytest

from mulligan.training import device


def test_a_container_has_no_more_memory_than_its_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    without = device.memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    assert device.memory_bytes() == without
    (tmp_path / "memory.max").write_text("4096\n")
    assert device.memory_bytes() == 4096


@pytest.mark.parametrize(("asked", "folder"), [(None, "3-cores"), ("2", "2-cores"), ("many", "3-cores")])
def test_programs_for_another_number_of_threads_are_kept_apart(monkeypatch, tmp_path, asked, folder):
    chosen = {}
    config = SimpleNamespace(values={"jax_compilation_cache_dir": None}, update=chosen.__setitem__)
    monkeypatch.setattr(device, "jax", SimpleNamespace(config=config))
    monkeypatch.setattr(device, "own_cores", lambda: [4, 5, 6])
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path))
    monkeypatch.delenv("NPROC", raising=False)
    if asked is not None:
        monkeypatch.setenv("NPROC", asked)
    device.cache_programs()
    assert chosen["jax_compilation_cache_dir"] == str(tmp_path / "programs" / folder)
    assert (tmp_path / "programs" / folder).is_dir()
