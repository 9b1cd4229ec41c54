"""A few pictures for a trained generator: its shape, its channels, in order, whatever else lies beside them."""

import io
import zipfile

import numpy as np
import pytest
from pictures import png_claiming
from PIL import Image

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.pictures import Fitting, read_pictures
from mulligan.tasks.stored import UnreadableError


def encoded(pixels, form="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, form)
    return content.getvalue()


GRADIENT = np.tile(np.arange(0, 240, 24, dtype=np.uint8)[:, None, None], (1, 10, 3))
RED = np.zeros((10, 10, 3), np.uint8) + np.array([200, 0, 0], np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_get_the_shape_and_the_channels(channels):
    image = Fitting((10, 10, channels))(encoded(RED))
    assert image.shape == (10, 10, channels)
    expected = {1: [60], 3: [200, 0, 0], 4: [200, 0, 0, 255]}[channels]
    assert image[0, 0].tolist() == expected


def test_wide_pictures_are_padded_and_others_cropped_unless_told():
    wide = np.tile(RED, (1, 4, 1))
    assert (Fitting((8, 8, 3))(encoded(wide))[0] == 255).all()
    assert (Fitting((8, 8, 3), "crop")(encoded(wide)) == RED[0, 0]).all()
    assert (Fitting((8, 8, 3), background=(0, 0, 9))(encoded(wide))[0] == [0, 0, 9]).all()
    assert (Fitting((8, 8, 3))(encoded(RED)) == RED[0, 0]).all()


def test_a_folder_an_archive_and_a_file_hold_the_same(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "b.png").write_bytes(encoded(RED))
    (folder / "a.png").write_bytes(encoded(GRADIENT))
    (folder / "notes.txt").write_text("not a picture")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for source in (folder, tmp_path / "photos.zip"):
        names, images, notes = read_pictures(source, Fitting((10, 10, 3)), most=10)
        assert names == ("a.png", "b.png")
        np.testing.assert_array_equal(images, [GRADIENT, RED])
        assert "notes.txt" in notes[0]
    names, images, notes = read_pictures(folder / "b.png", Fitting((10, 10, 3)), most=10)
    assert (names, len(images), notes) == (("b.png",), 1, ())


def test_more_than_are_taken_is_said(tmp_path):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(encoded(RED))
    names, _, notes = read_pictures(tmp_path, Fitting((8, 8, 3)), most=3)
    assert names == ("0.png", "1.png", "2.png")
    assert "holds 5 files: the first 3 are taken" in notes[0]


def test_what_holds_no_pictures_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no file or folder"):
        read_pictures(tmp_path / "none", Fitting((8, 8, 3)), most=3)
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(MulliganError, match="holds no images"):
        read_pictures(tmp_path, Fitting((8, 8, 3)), most=3)


@pytest.mark.parametrize("content", [b"", b"words", encoded(RED)[:45], b"\x89PNG\r\n\x1a\n" + b"\xff" * 50])
def test_damaged_pictures_are_unreadable(content):
    with pytest.raises(UnreadableError):
        Fitting((8, 8, 3))(content)


def test_pictures_of_too_many_pixels_are_not_decoded():
    with pytest.raises(UnreadableError, match="suspiciously large"):
        Fitting((8, 8, 3))(png_claiming(10_000))
