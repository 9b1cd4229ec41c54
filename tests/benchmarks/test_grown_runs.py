"""The study of runs that grow: how a contender's seconds are divided, and that its two parts fit together."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.common.speeds import images_in
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


def test_images_may_be_halved_again():
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    found, fresh = study.parts("0.15+0.25/0.3", images, 160)
    assert fresh == 0.3
    assert [part.images.shape[1:3] for part in found] == [(16, 16), (32, 32), (64, 64)]
    assert [part.recipe.architecture.gen_width for part in found] == [32, 16, 8]
    speeds = [images_in(1, part.images.shape[1], part.recipe.architecture) for part in found]
    seconds = [part.nimg / speed for part, speed in zip(found, speeds, strict=True)]
    assert np.array(seconds) / sum(seconds) == pytest.approx([0.15, 0.25, 0.6], abs=0.01)
    assert sum(seconds) == pytest.approx(160 / speeds[-1], rel=0.02)
    rates = [part.recipe.hyperparameters.gen_lr for part in found]
    assert rates[0] > rates[1] > rates[2]
