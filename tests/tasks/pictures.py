"""Pictures for the tests of this room: random but repeatable, as arrays and as files."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def noise(n, h=10, w=10, c=3, seed=0):
    """Different uint8 images `[n, h, w, c]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def png(image):
    """The bytes of a PNG of uint8 `[h, w]`, `[h, w, 1]`, `[h, w, 3]` or `[h, w, 4]`."""
    return encoded(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image))


def encoded(image, kind="PNG", **options):
    """The bytes of a Pillow image."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_claiming(side):
    """A small PNG whose header claims to be `side` pixels wide and high."""
    content = png(noise(1)[0])
    header = b"IHDR" + struct.pack(">2I", side, side) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def write_folder(folder, images, names=None):
    """Writes each image as a PNG, and returns the folder."""
    for number, image in enumerate(images):
        path = folder / (names[number] if names else f"{number:03d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return folder


def all_images(task):
    """All images of a task, sorted by their pixels."""
    images = np.concatenate(
        [part.take(np.arange(len(part))).images for part in (task.train, task.validation, task.test)]
    )
    return images[np.lexsort(images.reshape(len(images), -1).T)]


def as_set(images):
    """The set of the images' pixels."""
    return {image.tobytes() for image in images}
