"""Clip art to learn from: which pictures are taken, and how they lie in their squares."""

import numpy as np
import pytest
from PIL import Image

from tools.openclipart import LEFT_OUT, WITHIN, clipart, letterboxed

RED = (255, 0, 0, 255)


def drawing(size=(80, 60), box=(10, 10, 70, 40), ground=(0, 0, 0, 0)) -> Image.Image:
    picture = Image.new("RGBA", size, ground)
    picture.paste(RED, box)
    return picture


@pytest.mark.parametrize("ground", [(0, 0, 0, 0), (255, 255, 255, 255)], ids=["transparent", "white"])
@pytest.mark.parametrize(("box", "ink"), [((10, 10, 70, 40), (60, 30)), ((10, 10, 20, 50), (15, 60))])
def test_ink_lies_in_the_middle_as_large_as_the_margin_leaves_it(ground, box, ink):
    shown = letterboxed(drawing(box=box, ground=ground), 64)
    assert shown.shape == (64, 64, 3)
    rows, columns = (np.flatnonzero((shown[..., 1] < 128).any(axis)) for axis in (1, 0))
    assert (len(columns), len(rows)) == ink
    for found in (rows, columns):
        assert abs(found[0] - (63 - found[-1])) <= 1
    assert (shown[32, 32] == RED[:3]).all()
    assert (shown[0] == 255).all()


def test_a_picture_without_ink_is_none():
    assert letterboxed(Image.new("RGBA", (64, 64)), 32) is None


def test_every_drawing_is_taken_once_without_what_is_nearly_alike_small_or_long(tmp_path):
    folder = tmp_path / WITHIN
    pictures = {
        "animals/cat.png": drawing(),
        "unsorted/the_same_cat.png": drawing(),
        "tools/hammer.png": drawing(box=(10, 10, 20, 50)),
        f"{LEFT_OUT[0]}/europe/one.png": drawing(box=(0, 0, 80, 60)),
        "special/small.png": drawing(size=(80, 40)),
        "special/long.png": drawing(size=(400, 60), box=(0, 0, 400, 60)),
        "special/blank.png": Image.new("RGBA", (80, 60)),
    }
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    found = clipart(tmp_path, 32)
    assert found.shape == (2, 32, 32, 3)
    assert (
        found == np.stack([letterboxed(pictures[name], 32) for name in ("animals/cat.png", "tools/hammer.png")])
    ).all()
