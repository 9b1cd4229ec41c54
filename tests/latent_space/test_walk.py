"""An animation that begins where it ends, in every format, and what is refused."""

import shutil
import subprocess
from itertools import pairwise

import jax
import numpy as np
import pytest
from PIL import Image

from mulligan import api
from mulligan.errors import MulliganError, UsageError
from mulligan.latent_space.walk import sheets
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


@pytest.fixture(scope="module")
def generator():
    network = build(ARCHITECTURE, (8, 9, 1), 2, jax.random.key(0)).gen
    network = jax.tree.map(lambda leaf: 3 * leaf, network)
    return Generator(Recipe(architecture=ARCHITECTURE), (8, 9, 1), ("cat", "dog"), network)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_is_written(generator, tmp_path, suffix):
    out = api.walk(generator, tmp_path / "new" / f"walk.{suffix}", n=2, seconds=0.4)
    with Image.open(out) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (10, 0)
        assert picture.size == (9 * 8 + 2 + 9 * 8, 8 * 8)
        frames = []
        for index in range(picture.n_frames):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("L"), float))
        assert picture.info["duration"] == 40
    around = [*frames, frames[0]]
    strides = [np.abs(after - before).mean() for before, after in pairwise(around)]
    assert 0 < strides[-1] < 2 * max(strides[:-1])


def test_classes_take_turns_or_are_one(generator):
    shown = sheets(generator, 2, 6, 0.3, seed=0, truncation=1.0, labels=None)
    one = sheets(generator, 2, 6, 0.3, seed=0, truncation=1.0, labels=0)
    width = shown.shape[2] // 2
    np.testing.assert_array_equal(shown[:, :, :width], one[:, :, :width])
    assert (shown[:, :, width:] != one[:, :, width:]).any()
    still = sheets(generator, 1, 6, 0.3, seed=0, truncation=0.0, labels=0)
    assert np.ptp(still, axis=0).max() == 0


def test_mp4_needs_ffmpeg(generator, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MulliganError, match=r"needs the program ffmpeg, .*write a \.webp"):
        api.walk(generator, tmp_path / "walk.mp4", n=1, seconds=0.1)
    fails = tmp_path / "ffmpeg"
    fails.write_text("#!/bin/sh\necho 'Unknown encoder' >&2\nexit 1\n")
    fails.chmod(0o755)
    with pytest.raises(MulliganError, match="ffmpeg could not write the walk"):
        api.walk(generator, tmp_path / "walk.mp4", n=1, seconds=0.1)
    assert not (tmp_path / "walk.mp4").exists()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffmpeg is not installed")
def test_ffmpeg_writes_every_frame(generator, tmp_path):
    out = api.walk(generator, tmp_path / "walk.mp4", n=1, seconds=0.4)
    asked = "ffprobe -v error -count_frames -show_entries stream=nb_read_frames,width,height,codec_name -of csv=p=0"
    told = subprocess.run([*asked.split(), str(out)], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "h264,72,64,10"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("walk.png", {}, "end it in .gif, .webp or .mp4"),
        ("walk", {}, "end it in .gif, .webp or .mp4"),
        ("walk.gif", {"n": 65}, "1 to 64 images"),
        ("walk.gif", {"seconds": 0}, "at most 120 seconds"),
        ("walk.gif", {"seconds": float("nan")}, "at most 120 seconds"),
        ("walk.gif", {"truncation": 4}, "between 0 and 3"),
        ("walk.gif", {"label": "cow"}, "no class 'cow'"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(generator, tmp_path, name, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        api.walk(generator, tmp_path / name, **options)
