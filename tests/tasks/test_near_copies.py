"""Near copies are found among others, and come into one split."""

import numpy as np
import pytest
from pictures import noise
from PIL import Image, ImageEnhance

from mulligan.tasks.images import read_task
from mulligan.tasks.near_copies import near_groups
from mulligan.tasks.splits import TEST, TRAIN, assign


def scenes(n, seed=0):
    """Smooth pictures, no two alike."""
    coarse = noise(n, 5, 5, seed=seed)
    return [Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC) for image in coarse]


VARIANTS = [
    lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    lambda picture: picture.resize((24, 24)).resize((32, 32)),
    lambda picture: Image.fromarray(np.asarray(picture) // 9 * 8 + noise(1, 32, 32)[0] // 32),
    lambda picture: picture.crop((1, 1, 31, 31)).resize((32, 32)),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=["darker", "duller", "resampled", "noisy", "cropped"])
def test_variants_are_found_and_strangers_are_not(variant):
    pictures = scenes(80)
    images = np.stack([np.asarray(picture) for picture in [*pictures, *map(variant, pictures)]])
    groups = near_groups(images)
    assert (groups[:80] == groups[80:]).mean() > 0.9
    assert len(np.unique(groups[:80])) == 80


def test_the_split_keeps_them_together():
    pictures = scenes(100)
    images = np.stack([np.asarray(picture) for picture in [*pictures, *map(VARIANTS[0], pictures)]])
    task = read_task(images, groups="near")
    assert task.counts["test"] >= 10
    scene = {image.tobytes(): number % 100 for number, image in enumerate(images)}
    train, test = ({scene[image.tobytes()] for image in part.images} for part in (task.train, task.test))
    assert len(train & test) <= 1
    assert any(note.startswith("split by 10") and "how nearly they look alike" in note for note in task.notes)


def test_flat_images_are_not_all_one_group():
    assert len(np.unique(near_groups(np.full((5, 16, 16, 1), np.arange(5)[:, None, None, None], np.uint8)))) == 5


def test_groups_and_copies_are_joined_whatever_the_order():
    """1 and 2 share a group, 2 and 3 an image: the three stay together."""
    digests = np.arange(200, dtype=np.uint64)
    digests[3] = digests[2]
    groups = np.arange(200)
    groups[2] = groups[1]
    for seed in range(20):
        codes = assign(digests, seed=seed, groups=groups).codes
        assert len(set(codes[1:4].tolist())) == 1
        np.testing.assert_array_equal(assign(digests[::-1], seed=seed, groups=groups[::-1]).codes[::-1], codes)


def test_groups_hold_for_the_sources_own_split():
    codes = assign(np.arange(60, dtype=np.uint64), given=np.repeat([TRAIN, TEST], 30), groups=np.arange(60) % 59).codes
    assert codes[0] not in (TRAIN, TEST)  # of the group of image 59, which is in the test split
