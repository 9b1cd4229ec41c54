"""Built-in tasks are what they say, the same every time, and fit to learn from."""

import numpy as np
import pytest
from pictures import as_set
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_sample_image

from mulligan.errors import UsageError
from mulligan.tasks import textures
from mulligan.tasks.builtin import BUILTIN, builtin_task, digits, families, family, names
from mulligan.tasks.glyphs import CHARACTERS, glyphs
from mulligan.tasks.images import read_task
from mulligan.tasks.mixtures import MIXTURES, mixture
from mulligan.tasks.splits import TEST, TRAIN, VALIDATION


def test_digits_are_those_of_scikit_learn():
    collection = digits()
    bunch = load_digits()
    np.testing.assert_array_equal(np.round(collection.images[..., 0] / (255 / 16)), bunch.images)
    np.testing.assert_array_equal(collection.labels, bunch.target)
    seven = digits("7")
    np.testing.assert_array_equal(seven.images, collection.images[bunch.target == 7])


def test_glyphs_are_repeatable_and_told_apart():
    """The centroid of each character's first half recognises the second half above chance."""
    shown = "AOT"
    drawn = [glyphs(character).images for character in shown]
    np.testing.assert_array_equal(glyphs("A").images, drawn[0])
    assert len(as_set(drawn[0])) == len(drawn[0]) == 1024
    centroids = np.stack([images[:512].mean(axis=0) for images in drawn])
    held_out = np.concatenate([images[512:] for images in drawn]).astype(np.float32)
    nearest = np.stack([((held_out - centroid) ** 2).mean(axis=(1, 2, 3)) for centroid in centroids]).argmin(axis=0)
    assert (nearest == np.repeat(np.arange(len(shown)), 512)).mean() > 0.6


@pytest.mark.parametrize("character", ["W", "g", "j", "Q"])
def test_glyphs_stay_inside_the_picture(character):
    """At most a few of the jitters push ink onto the border."""
    images = glyphs(character).images
    inner = images[:, 1:-1, 1:-1].max(axis=(1, 2, 3))
    touching = images.copy()
    touching[:, 1:-1, 1:-1] = 0
    assert (inner > 200).all()
    assert (touching.max(axis=(1, 2, 3)) > 128).mean() < 0.1


def test_texture_splits_share_no_pixel_of_the_photograph():
    for name, region in textures.REGIONS.items():
        covered = {code: np.zeros((region.height, region.width), bool) for code in (TRAIN, VALIDATION, TEST)}
        for code, start, end in textures.STRIPES:
            for top, left in textures._corners(region, start, end):
                row, column = top - region.top, left - region.left
                covered[code][row : row + textures.SIDE, column : column + textures.SIDE] = True
        overlap = sum(mask.astype(int) for mask in covered.values())
        assert overlap.max() == 1, name
        assert overlap.mean() > 0.99, name


def test_textures_are_crops_of_the_photograph():
    collection = textures.textures("petals")
    windows = np.lib.stride_tricks.sliding_window_view(load_sample_image("flower.jpg"), (32, 32), axis=(0, 1))
    known = {np.ascontiguousarray(window.transpose(1, 2, 0)).tobytes() for row in windows[100:220] for window in row}
    first = [image for image in collection.images[:50] if image.tobytes() in known]
    assert len(first) >= 10
    assert len(as_set(collection.images)) == len(collection.images) == 2500


def test_names_and_families():
    assert {"digits", "digits/3", "glyphs", "glyphs/a", "textures/petals"} <= set(names())
    assert list(BUILTIN) == ["digits", "glyphs", "textures"]
    known = family("digits")
    assert [task.name for task in known.tasks] == [f"digits/{digit}" for digit in range(10)]
    assert next(families()).name == "digits"
    with pytest.raises(UsageError, match="there is no built-in family 'letters'"):
        family("letters")


def test_every_character_is_a_member():
    assert len(BUILTIN["glyphs"].members) == len(CHARACTERS) == 62


def test_reading_by_name_and_drawing_agree():
    task = builtin_task("digits", "4")
    read = read_task("digits/4")
    assert (task.hash, task.counts, task.name) == (read.hash, read.counts, read.name)


def test_digits_enlarged():
    task = read_task("digits", size=28, labels=True)
    assert task.shape == (28, 28, 1)
    assert "1,797 images of 8x8: resampled to 28x28." in task.notes
    assert task.classes == tuple("0123456789")


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixture_densities(kind):
    points, known = mixture(kind, 4000, seed=1)
    parts = [multivariate_normal(centre, known.std**2).pdf(points) for centre in known.centres]
    np.testing.assert_allclose(known.log_density(points), np.log(np.mean(parts, axis=0)), rtol=1e-6)
    assert set(known.modes(points).tolist()) - {-1} == set(range(len(known.centres)))
    within = (known.modes(points) >= 0).mean()
    assert within == pytest.approx(1 - np.exp(-4.5), abs=4 * np.sqrt(0.011 / 4000))
    assert known.modes(np.array([[50.0, 50.0]], np.float32)).tolist() == [-1]


def test_an_unknown_mixture():
    with pytest.raises(UsageError, match="there are ring8, grid25"):
        mixture("spiral", 3)
