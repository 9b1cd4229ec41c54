"""Decoding agrees with Pillow's plain route, or with arithmetic on the pixels."""

import io

import numpy as np
import pytest
from pictures import as_set, encoded, noise, png, png_claiming
from PIL import Image, ImageOps, PngImagePlugin

from mulligan.errors import UsageError
from mulligan.tasks.decode import MOST_PIXELS, decode, opaque, upright_size
from mulligan.tasks.framing import WHITE, Frame, Request, choose_frame, resample
from mulligan.tasks.images import read_task
from mulligan.tasks.plain import plain, plain_pixels
from mulligan.tasks.stored import UnreadableError

PINK = (250, 100, 150)


def frame(height, width, fit="crop", background=WHITE):
    return Frame(height, width, fit, background)


def smooth(h, w, seed=0):
    """A photograph-like image, on which resampling methods agree better than on noise."""
    coarse = Image.fromarray(noise(1, 4, 4, seed=seed)[0])
    return coarse.resize((w, h), Image.Resampling.BICUBIC)


def test_rgb_and_grey_come_out_as_they_are():
    colour, grey = noise(1, 9, 12)[0], noise(1, 9, 12, 1)[0]
    np.testing.assert_array_equal(decode(png(colour), frame(9, 12)), colour)
    np.testing.assert_array_equal(decode(png(grey), frame(9, 12)), np.repeat(grey, 3, axis=2))


def test_opacity_is_composited_on_the_background():
    rgba = noise(1, 9, 12, 4)[0]
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + np.array(PINK) * (1 - alpha)
    found = decode(png(rgba), frame(9, 12, background=PINK))
    assert np.abs(found - expected).max() <= 1


def test_a_palette_with_a_transparent_colour():
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8).repeat(4, 0).repeat(4, 1), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    found = decode(encoded(picture, transparency=1), frame(8, 8, background=PINK))
    assert [found[0, 0].tolist(), found[0, 7].tolist(), found[7, 0].tolist()] == [[255, 0, 0], list(PINK), [0, 0, 255]]


def test_sixteen_bit_grey_is_scaled_not_cut():
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        found = decode(encoded(Image.fromarray(values), kind), frame(8, 8))
        np.testing.assert_array_equal(found[..., 0], np.round(values / 257))


def test_float_images_must_lie_between_zero_and_one():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    np.testing.assert_array_equal(np.asarray(opaque(Image.fromarray(values), WHITE)), np.round(values * 255))
    with pytest.raises(UnreadableError, match="grey levels outside 0 to 1"):
        opaque(Image.fromarray(values * 7), WHITE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation):
    picture = smooth(16, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(picture, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))
    assert upright_size(stored) == expected.size == ((24, 16) if orientation < 5 else (16, 24))
    np.testing.assert_array_equal(decode(stored, frame(*expected.size[::-1])), np.asarray(expected))


def test_cmyk_and_bilevel():
    cmyk = smooth(16, 16).convert("CMYK")
    np.testing.assert_array_equal(decode(encoded(cmyk, "TIFF"), frame(16, 16)), np.asarray(cmyk.convert("RGB")))
    bits = noise(1, 8, 8, 1)[0, ..., 0] > 127
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(bits)), frame(8, 8))[..., 0], bits * 255)


def test_shrinking_antialiases():
    """A fine checkerboard becomes even grey; picking every n-th pixel would keep it black and white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode(png(board), frame(8, 8)).astype(int) - 127).max() <= 3


def test_a_large_jpeg_agrees_with_decoding_it_whole():
    """Decoding at a reduced scale first saves most of the time, and may change little."""
    photograph = Image.fromarray(noise(1, 24, 32)[0]).resize((400, 300), Image.Resampling.BICUBIC)
    stored = encoded(photograph, "JPEG", quality=95)
    plain = ImageOps.fit(Image.open(io.BytesIO(stored)), (32, 32), Image.Resampling.BICUBIC)
    assert np.abs(decode(stored, frame(32, 32)).astype(int) - np.asarray(plain)).mean() < 1


def test_crop_keeps_the_centre_and_pad_keeps_all():
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 200
    np.testing.assert_array_equal(decode(png(picture), frame(8, 8)), picture[:, 8:16])
    padded = decode(png(picture), frame(24, 24, "pad", PINK))
    np.testing.assert_array_equal(padded[8:16], picture)
    np.testing.assert_array_equal(padded[:8], np.broadcast_to(PINK, (8, 24, 3)))


def test_arrays_are_resampled_as_pillow_does():
    images = noise(3, 20, 20)
    found = resample(images, frame(8, 8))
    expected = [np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BICUBIC)) for image in images]
    np.testing.assert_array_equal(found, expected)
    assert resample(images[..., :1], frame(8, 8)).shape == (3, 8, 8, 1)
    assert resample(images[:, :10, :, :1], frame(8, 8, "pad", PINK)).shape == (3, 8, 8, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "not an image in a known format"),
        (b"", "not an image in a known format"),
        (png(noise(1, 32, 32)[0])[:300], "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
    ],
)
def test_what_is_no_image(content, reason):
    with pytest.raises(UnreadableError, match=reason):
        decode(content, frame(8, 8))


def test_a_decompression_bomb_is_refused_by_its_header():
    side = int(MOST_PIXELS**0.5) + 1
    bomb = png_claiming(side)
    for read in (upright_size, lambda content: decode(content, frame(8, 8))):
        with pytest.raises(UnreadableError, match="suspiciously large"):
            read(bomb)


@pytest.mark.parametrize(
    ("sizes", "request_", "shape", "fit"),
    [
        ([(28, 20)] * 3, Request(), (20, 28), "crop"),
        ([(28, 20)] * 3, Request(16), (16, 16), "crop"),
        ([(512, 512)] * 3, Request(), (64, 64), "crop"),
        ([(4, 4)] * 3, Request(), (8, 8), "crop"),
        ([(30, 40), (50, 60), (45, 47)], Request(), (40, 40), "crop"),
        ([(30, 100), (90, 20), (45, 47)], Request(), (24, 24), "pad"),
        ([(30, 100), (90, 20), (45, 47)], Request(fit="crop"), (24, 24), "crop"),
        ([(30, 30)] * 9 + [(30, 90)], Request(16), (16, 16), "crop"),
    ],
)
def test_the_frame_follows_the_sizes(sizes, request_, shape, fit):
    found, notes = choose_frame(np.array(sizes), request_)
    assert ((found.height, found.width), found.fit) == (shape, fit)
    assert len(notes) == (0 if sizes[0][::-1] == shape else 1)


def test_the_sentence_says_which():
    cropped = choose_frame(np.array([(30, 40), (60, 60)]), Request(16))[1]
    assert cropped == ("2 images of 30x40 to 60x60: cropped to the centre and resampled to 16x16.",)
    padded = choose_frame(np.array([(30, 40), (60, 60)]), Request(16, "pad", PINK))[1]
    assert "padded with the colour (250, 100, 150) and resampled to 16x16" in padded[0]
    assert choose_frame(np.array([(60, 60), (60, 60)]), Request(16))[1] == ("2 images of 60x60: resampled to 16x16.",)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 7}, "size 7 is out of range"),
        ({"size": 257}, "size 257 is out of range"),
        ({"fit": "stretch"}, "it must be 'crop' or 'pad'"),
        ({"background": (0, 0, 300)}, "red, green and blue from 0 to 255"),
    ],
)
def test_requests_out_of_range(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        Request(**options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_of_every_format_is_that_of_what_is_decoded(kind, orientation):
    """Pillow turns some formats itself, and says so before or after it decodes them."""
    if kind not in Image.SAVE and not (Image.init() and kind in Image.SAVE):
        pytest.skip(f"this Pillow writes no {kind}")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (48, 16), "green")
    picture.paste((0, 0, 255), (0, 0, 16, 16))
    stored = encoded(picture, kind, exif=exif)
    width, height = upright_size(stored)
    assert (width, height) == ((48, 16) if orientation < 5 else (16, 48))
    blue = decode(stored, frame(height, width))[..., 2] > 128  # stretched or cropped, it would be another third
    assert blue.mean() == pytest.approx(1 / 3, abs=0.05)
    first = {1: blue[:, :12], 3: blue[:, -12:], 6: blue[:12], 8: blue[-12:]}[orientation]
    assert first.all()


def drawing(colour, ground=(0, 0, 0, 0)):
    picture = Image.new("RGBA", (16, 16), ground)
    picture.paste(colour, (4, 4, 12, 12))
    return picture


@pytest.mark.parametrize(
    ("colours", "ground"),
    [
        (["red"] * 4, (255, 255, 255)),
        (["white"] * 4, (0, 0, 0)),
        (["white"] * 3 + ["red"], (0, 0, 0)),
        (["white", "black"] * 2, (128, 128, 128)),
        (["black"] * 4, (255, 255, 255)),
        (["#f8f8f8"] * 4, (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("memory", [0, 2**30])
def test_drawings_on_transparency_are_placed_where_they_can_be_seen(tmp_path, colours, ground, memory):
    for number, colour in enumerate(colours):
        picture = drawing(colour)
        picture.putpixel((number, 0), (200, 10, 10, 255))  # no two alike
        (tmp_path / f"{number}.png").write_bytes(encoded(picture))
    task = read_task(tmp_path, memory=memory)
    images = task.train.take(np.arange(len(task.train))).images
    assert {tuple(image[15, 15].tolist()) for image in np.broadcast_to(images, (*images.shape[:3], 3))} == {ground}
    [note] = [note for note in task.notes if "with transparency" in note]
    assert f"placed on the colour {ground}" in note
    assert ("could not be seen" in note) == (ground != WHITE)
    asked = read_task(tmp_path, background="#0a141e", memory=memory)
    assert asked.train.take(np.array([0])).images[0, 15, 15].tolist() == [10, 20, 30]


def test_arrays_with_opacity_choose_their_ground_too():
    white = np.full((5, 16, 16, 4), 255, np.uint8)
    white[..., 3] = noise(5, 16, 16, 1)[..., 0] // 2
    task = read_task(white)
    assert any("on white, 5 of 5 could not be seen" in note for note in task.notes)
    assert len(as_set(task.train.images)) == 5


def test_what_cannot_be_seen_is_counted(tmp_path):
    for number in range(12):
        picture = Image.new("RGB", (16, 16), "white")
        if number % 2:
            picture.paste((number, 100, 100), (4, 4, 12, 12))
        (tmp_path / f"{number}.png").write_bytes(encoded(picture))
    assert "6 images of one colour, with nothing to be seen." in read_task(tmp_path).notes
    assert "6 images of one colour, with nothing to be seen." in read_task(read_task(tmp_path).train.images).notes


@pytest.mark.parametrize(("highest", "white"), [(200, 255), (1000, 1023), (4095, 4095), (16_000, 16_383)])
@pytest.mark.parametrize("memory", [0, 2**30])
def test_fewer_bits_than_sixteen_come_out_bright(tmp_path, highest, white, memory):
    values = np.random.default_rng(0).integers(0, highest + 1, (4, 16, 16)).astype(np.uint16)
    values[:, 0, 0] = highest
    for number, image in enumerate(values):
        (tmp_path / f"{number}.png").write_bytes(encoded(Image.fromarray(image)))
    task = read_task(tmp_path, memory=memory)
    found = task.train.take(np.arange(4)).images[..., 0]
    np.testing.assert_array_equal(found, np.round(values * (255 / white)).astype(np.uint8))
    note = f"4 images of 16 bits hold {white.bit_length()} bits only: level {white:,} is taken for white."
    assert note in task.notes
    np.testing.assert_array_equal(read_task(values).train.images[..., 0], found)


def test_sixteen_bits_that_are_used_are_left_as_they_are(tmp_path):
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 65536, (16, 16)).astype(np.uint16)
        (tmp_path / f"{number}.png").write_bytes(encoded(Image.fromarray(values)))
    assert not [note for note in read_task(tmp_path).notes if "bits" in note]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_picture_of_several_is_taken_and_said(tmp_path, kind):
    for number in range(3):
        first, *others = (Image.fromarray(image) for image in noise(3, 16, 16, seed=number))
        (tmp_path / str(number)).write_bytes(encoded(first, kind, save_all=True, append_images=others))
    assert "3 files with several pictures (animations, stacks): the first of each." in read_task(tmp_path).notes


# --- files that need nothing but decoding


def by_pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("h", "w"), [(16, 24), (181, 203)])  # the larger one in several chunks of lines
def test_plain_files_have_the_pixels_that_pillow_gives(kind, mode, h, w):
    ways = (
        [{}, {"compress_level": 0}] if kind == "PNG" else [{}, {"progressive": True}, {"quality": 97, "subsampling": 0}]
    )
    for seed, options in enumerate(ways):
        content = encoded(smooth(h, w, seed).convert(mode), kind, **options)
        assert plain(content)[:3] == (w, h, mode)
        np.testing.assert_array_equal(plain_pixels(content, w, h), by_pillow(content))
        assert plain_pixels(content, w + 1, h) is None


def test_what_is_not_plain_is_left_to_pillow():
    picture, exif, words = smooth(16, 16), Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    words.add_text("Software", "mulligan")
    others = [
        encoded(picture, "PNG", exif=exif), encoded(picture, "JPEG", exif=exif), encoded(picture, "PNG", pnginfo=words),
        encoded(picture.convert("P")), encoded(picture.convert("RGBA")), encoded(picture.convert("L"), transparency=3),
        encoded(picture.convert("I;16")), encoded(picture.convert("1")), encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture, "JPEG", icc_profile=b"profile"), encoded(picture, "WEBP"), b"",
    ]  # fmt: skip
    assert [plain(content) for content in others] == [None] * len(others)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_of_damaged_files_nothing_is_accepted_that_pillow_refuses(kind):
    content, rng = encoded(smooth(16, 16), kind), np.random.default_rng(0)
    hurt = [content[:length] for length in range(0, len(content), 7)]
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
        hurt.append(bytes(changed))
    accepted = 0
    for each in hurt:
        pixels = plain_pixels(each, 16, 16)
        if pixels is not None:
            accepted += 1
            np.testing.assert_array_equal(pixels, by_pillow(each))
    assert 0 < accepted < len(hurt)


def test_many_plain_files_among_others_are_read_alike(tmp_path, monkeypatch):
    for number in range(70):
        kind, mode = ("png", "jpg")[number % 2], ("L", "RGB")[number % 3 % 2]
        smooth(16, 16, number).convert(mode).save(tmp_path / f"{number:02d}.{kind}")
    smooth(40, 32).save(tmp_path / "70.png")
    read = read_task(tmp_path, size=16)
    monkeypatch.setattr("mulligan.tasks.decode.plain", lambda encoded: None)
    monkeypatch.setattr("mulligan.tasks.decode.plain_pixels", lambda encoded, width, height: None)
    again = read_task(tmp_path, size=16)
    assert (read.hash, read.notes) == (again.hash, again.notes)
    np.testing.assert_array_equal(read.train.images, again.train.images)
