"""The study of runs that grow: how a contender's seconds are divided, and that its two parts fit together."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.quality import grown_runs as study


@pytest.mark.slow
def test_a_run_that_grows_sees_small_images_and_then_large_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FAKES", 40)
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    judged = SimpleNamespace(train=images, judge=lambda fakes: {"drawn": fakes.shape})
    plain, grown = (study.run(of, judged, 0, 160, tmp_path / "grid.png") for of in ("plain", "0.35/0.5"))
    assert plain["trained"] == [160]
    small, large = grown["trained"]
    assert large == 104
    assert small == int(0.35 * 160 * 1153 / 528)  # of the table, as folded networks take 1.04 times the seconds
    assert plain["judged"] == grown["judged"] == {"drawn": (40, 64, 64, 3)}
    assert (tmp_path / "grid.png").is_file()
