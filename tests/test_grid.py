"""Grids: pixel by pixel on small cases, shapes on all."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mulligan.errors import MulliganError
from mulligan.grid import grid, png, save_grid, terminal_thumbnail


def test_colour_grid_pixel_by_pixel():
    images = np.arange(3 * 1 * 2 * 3, dtype=np.uint8).reshape(3, 1, 2, 3)
    sheet = grid(images, columns=2, scale=1, gap=1)
    clear = [0, 0, 0, 0]
    first, second, third = [[[*pixel, 255] for pixel in image[0].tolist()] for image in images]
    golden = [[*first, clear, *second], [clear] * 5, [*third, clear, clear, clear]]
    np.testing.assert_array_equal(sheet, np.array(golden, np.uint8))


def test_enlarging_repeats_pixels_and_keeps_the_alpha_of_the_image():
    image = np.array([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], np.uint8)
    sheet = grid(image, scale=2)
    np.testing.assert_array_equal(sheet[:, :2], np.broadcast_to(image[0, 0, 0], (2, 2, 4)))
    np.testing.assert_array_equal(sheet[:, 2:], np.broadcast_to(image[0, 0, 1], (2, 2, 4)))


@given(
    n=st.integers(1, 7),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 4]),
    columns=st.integers(1, 9),
    scale=st.integers(1, 3),
    gap=st.integers(0, 2),
)
def test_every_image_is_where_its_row_and_column_say(n, height, width, channels, columns, scale, gap):
    images = np.random.default_rng(n).integers(0, 256, (n, height, width, channels), np.uint8)
    sheet = grid(images, columns, scale, gap)
    columns = min(columns, n)
    rows = -(-n // columns)
    across, down = width * scale + gap, height * scale + gap
    assert sheet.shape == (rows * down - gap, columns * across - gap, 2 if channels == 1 else 4)
    for index, image in enumerate(images):
        top, left = index // columns * down, index % columns * across
        corner = sheet[top : top + height * scale : scale, left : left + width * scale : scale]
        np.testing.assert_array_equal(corner[..., :channels], image)


@pytest.mark.parametrize(
    ("n", "height", "width", "shape"),
    [
        (64, 28, 28, (8 * 84, 8 * 84)),
        (10, 8, 8, (3 * 64, 4 * 64)),
        (16, 32, 64, (6 * 32, 3 * 64)),
        (1, 8, 17, (32, 68)),
    ],
)
def test_by_default_images_are_visible_and_the_grid_is_about_square(n, height, width, shape):
    assert grid(np.zeros((n, height, width, 1), np.uint8), gap=0).shape == (*shape, 2)


def test_a_saved_grid_is_the_grid(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 1), np.uint8)
    save_grid(tmp_path / "grid.png", images, columns=3)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), grid(images, columns=3))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_where_nothing_can_be_written_the_error_says_so(tmp_path):
    with pytest.raises(MulliganError, match="cannot write"):
        save_grid(tmp_path / "absent" / "grid.png", np.zeros((1, 2, 2, 1), np.uint8))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_grid(tmp_path / "grid.png", np.zeros((1, 2, 2, 1), np.uint8))
    before = (tmp_path / "grid.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(MulliganError, match="No space left"):
        save_grid(tmp_path / "grid.png", np.full((1, 2, 2, 1), 9, np.uint8))
    assert (tmp_path / "grid.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_every_pixel(channels):
    image = np.random.default_rng(0).integers(0, 256, (3, 2, channels), np.uint8)
    back = np.asarray(Image.open(io.BytesIO(png(image))))
    np.testing.assert_array_equal(back.reshape(image.shape), image)


@given(height=st.integers(1, 30), width=st.integers(1, 30), columns=st.integers(1, 20))
def test_a_thumbnail_has_the_asked_width_and_the_image_s_proportions(height, width, columns):
    lines = terminal_thumbnail(np.zeros((height, width, 3), np.uint8), columns).split("\n")
    assert len(lines) == max(1, round(columns * height / width / 2))
    assert {line.count("▀") for line in lines} == {columns}


def test_a_thumbnail_shows_upper_pixels_in_front_and_lower_behind():
    image = np.array([[[255, 0, 0], [1, 2, 3]], [[0, 0, 255], [4, 5, 6]]], np.uint8)
    colours = re.findall(r"38;2;([\d;]+);48;2;([\d;]+)m", terminal_thumbnail(image, 2))
    assert colours == [("255;0;0", "0;0;255"), ("1;2;3", "4;5;6")]


def test_transparent_parts_of_a_thumbnail_are_black():
    image = np.array([[[200, 200, 200, 0]], [[200, 200, 200, 255]]], np.uint8)
    assert "38;2;0;0;0;48;2;200;200;200m" in terminal_thumbnail(image, 1)
