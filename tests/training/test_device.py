"""What machine this is."""

from mulligan.training import device


def test_a_container_has_no_more_memory_than_its_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    without = device.memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    assert device.memory_bytes() == without
    (tmp_path / "memory.max").write_text("4096\n")
    assert device.memory_bytes() == 4096
